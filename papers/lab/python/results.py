"""What :func:`~attnlab.papers.lab.python.calls.reproduce` returns: verdicts, the runs they were judged on, figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from attnlab.analysis.figures.html import figure_html
from attnlab.analysis.verdicts.html import FONT, verdict_html, verdict_table
from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.python.names import Named, unknown

_COLUMNS = (
    "id", "seed", "scale", "verdict", "as_expected", "expected", "kind", "judged_by", "level", "of", "measured", "predicted",
    "margin", "relation", "n", "unit", "twin", "twin_verdict", "resolves", "tightness", "reason", "seconds",
)  # fmt: skip


@dataclass(frozen=True)
class ClaimResult:
    """One claim judged: its verdict and numbers, and the runs that it was judged on.

    ``record`` is what ``--json`` prints. ``runs`` holds every set of replicas that the claim asked for, in order: a mapping
    from names to arrays with the replica axis first, with ``.setting`` and ``.name``.
    """

    record: dict[str, Any]
    runs: tuple[Any, ...] = ()

    @property
    def id(self) -> str:
        """``paper.claim``."""
        return self.record["id"]

    @property
    def outcome(self) -> str:
        """HOLDS, REFUTED, UNDECIDED, VACUOUS or INVALID."""
        return self.record["verdict"]

    @property
    def holds(self) -> bool:
        """Whether the verdict is HOLDS."""
        return self.outcome == "HOLDS"

    @property
    def as_expected(self) -> bool:
        """Whether it is what the paper expects: HOLDS, or REFUTED for a published statement known to be false."""
        return self.record["as_expected"]

    @property
    def predicted(self) -> float | None:
        """What the theory says, if it is one number."""
        return self.record["predicted"]

    @property
    def measured(self) -> float | None:
        """What was measured, if it is one number."""
        return self.record["measured"]

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval of the measured number."""
        found = self.record["interval"]
        return None if found is None or None in found else (found[0], found[1])

    @property
    def parts(self) -> tuple[dict[str, Any], ...]:
        """The records of the verdicts that it was combined from."""
        return tuple(self.record["parts"])

    def __bool__(self) -> bool:
        raise TypeError(f"a verdict has no truth value (this one is {self.outcome}): use .holds or .as_expected")

    def __repr__(self) -> str:
        from attnlab.papers.lab.commands.verdict_text import verdict_lines

        return "\n".join(verdict_lines(self.record))

    def _repr_html_(self) -> str:
        return f'<div style="{FONT}">{escape(self.record["statement"])}</div>{verdict_html(self.record)}'


@dataclass(frozen=True)
class FigureResult:
    """One figure drawn: its files (PNG, PDF, SVG, CSV) and its caption."""

    id: str
    files: tuple[Path, ...]
    caption: str
    scale: str

    @property
    def png(self) -> Path:
        """The picture."""
        return self.files[0]

    def data(self) -> dict[str, np.ndarray]:
        """What the figure shows, column by column: the CSV beside it."""
        table = np.genfromtxt(self.files[3], delimiter=",", names=True, dtype=None, encoding="utf-8")
        columns = {name: np.atleast_1d(table[name]) for name in table.dtype.names}
        return Named(columns, f"column in the data of {self.id}")

    def _repr_html_(self) -> str:
        return figure_html(self.png.read_bytes(), self.caption)


@dataclass(frozen=True)
class Figures(Mapping[str, FigureResult]):
    """The figures that were drawn, by id or unambiguous name; ``failed`` says of the others why there is none."""

    drawn: Mapping[str, FigureResult]
    failed: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> FigureResult:
        found, lost = ([each for each in kind if _names(name, each)] for kind in (self.drawn, self.failed))
        if len(found) == 1:
            return self.drawn[found[0]]
        if found:
            raise KeyError(f"{len(found)} figures are called {name!r}; use one of {', '.join(found)}")
        if lost:
            raise KeyError(f"figure {name!r} failed: {self.failed[lost[0]]}")
        raise unknown("figure", name, _as_asked(name, self.drawn))

    def __iter__(self) -> Iterator[str]:
        return iter(self.drawn)

    def __len__(self) -> int:
        return len(self.drawn)


@dataclass(frozen=True)
class Results(Mapping[str, ClaimResult]):
    """The verdicts and figures of one or several runs; ``results["risk"]`` is the claim of that id or unambiguous name.

    With several seeds choose one by :meth:`at`.
    """

    claims: tuple[ClaimResult, ...]
    figures: Figures
    runs: tuple[dict[str, Any], ...]
    elsewhere: tuple[dict[str, str], ...] = ()
    _seed: int | None = field(default=None, repr=False)

    @property
    def status(self) -> int:
        """The exit status that the command line would have: 0 all as expected, 1 a contradiction, 3 undecided."""
        statuses = {run["status"] for run in self.runs}
        return next((status for status in (2, 1, 3) if status in statuses), 0)

    @property
    def as_expected(self) -> bool:
        """Whether every verdict is as its paper expects."""
        return self.status == 0

    def at(self, seed: int) -> Results:
        """The claims of one seed."""
        claims = tuple(claim for claim in self.claims if claim.record["seed"] == seed)
        if not claims:
            raise UsageError(
                f"no claims at seed {seed}; the seeds are {sorted({c.record['seed'] for c in self.claims})}"
            )
        return Results(claims, self.figures, tuple(r for r in self.runs if r["seed"] == seed), self.elsewhere, seed)

    def __getitem__(self, name: str) -> ClaimResult:
        found = [claim for claim in self.claims if _names(name, claim.id)]
        if len(found) == 1:
            return found[0]
        if not found:
            raise unknown("claim", name, _as_asked(name, (claim.id for claim in self.claims)))
        seeds = sorted({claim.record["seed"] for claim in found})
        how = f".at(seed) with seed in {seeds}" if len(seeds) > 1 else f"one of {[claim.id for claim in found]}"
        raise KeyError(f"{len(found)} claims are called {name!r}; use {how}")

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(claim.id for claim in self.claims))

    def __len__(self) -> int:
        return len({claim.id for claim in self.claims})

    def records(self) -> list[dict[str, Any]]:
        """The plain records of all claims: what ``--json`` prints."""
        return [claim.record for claim in self.claims]

    def arrays(self) -> dict[str, np.ndarray]:
        """The records as arrays, one entry per claim: numbers as floats (NaN where there is none), words as strings.

        ``low`` and ``high`` are the ends of the interval.
        """
        rows = [_row(claim.record) for claim in self.claims]
        columns = {name: _column([row[name] for row in rows]) for name in rows[0]} if rows else {}
        return Named(columns, "column of the records")

    def to_pandas(self) -> Any:
        """The records as a pandas table, one row per claim."""
        try:
            import pandas
        except ImportError:
            raise UsageError(
                "to_pandas() needs pandas: pip install pandas; .arrays() gives the same as arrays"
            ) from None
        return pandas.DataFrame([_row(claim.record) for claim in self.claims])

    def __repr__(self) -> str:
        from attnlab.papers.lab.commands.report_text import summary

        return "\n\n".join(
            summary(
                {
                    "claims": [claim.record for claim in self.claims if claim.record["seed"] == run["seed"]],
                    "figures": [
                        *({"id": each.id, "files": [str(p) for p in each.files]} for each in self.figures.values()),
                        *({"id": name, "files": [], "failed": why} for name, why in self.figures.failed.items()),
                    ],
                    "elsewhere": list(self.elsewhere),
                    "run": run,
                }
            )
            for run in self.runs
        )

    def _repr_html_(self) -> str:
        table = verdict_table(self.records()) if self.claims else ""
        return table + "".join(figure._repr_html_() for figure in self.figures.values())


def _names(name: str, full: str) -> bool:
    """Whether a name is this id, or what stands behind its paper's key."""
    return name in (full, full.partition(".")[2])


def _as_asked(name: object, ids: Iterable[str]) -> list[str]:
    """The ids as they may be asked for: whole, or without the paper if the name has none."""
    return [each if "." in str(name) else each.partition(".")[2] for each in ids]


def _row(record: dict[str, Any]) -> dict[str, Any]:
    interval = record["interval"] or (None, None)
    return {name: record.get(name) for name in _COLUMNS} | {"low": interval[0], "high": interval[1]}


def _column(values: list[Any]) -> np.ndarray:
    if all(isinstance(value, bool) for value in values):
        return np.array(values)
    if all(value is None or isinstance(value, (int, float)) for value in values):
        return np.array([np.nan if value is None else value for value in values], dtype=float)
    return np.array(["" if value is None else str(value) for value in values])
