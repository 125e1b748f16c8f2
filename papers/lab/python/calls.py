"""``reproduce`` and its neighbours as Python calls, for scripts and notebooks.

    from attnlab.papers.lab import reproduce

    results = reproduce("he2025.debiased_gd", scale="smoke")
    results["debiased_gd"].measured

No main guard is needed: workers import the module of a simulation, never the script or the cell that made the call. A
simulation that is defined in a script or a cell has no module to import; it runs in this process, is not stored, and the
display says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attnlab.papers.lab import places, registry
from attnlab.papers.lab.declare import DECLARED, SCALES, Claim, Item, Paper, PaperFigure, Scale
from attnlab.papers.lab.errors import UsageError, nearest
from attnlab.papers.lab.python.names import Named

Target = str | Paper | Claim | PaperFigure | Callable[..., Any] | Path


def reproduce(
    targets: Target | Sequence[Target],
    *,
    scale: Scale = "desk",
    overrides: Mapping[str, Any] | None = None,
    seed: int | Sequence[int] = 0,
    replicas: int | None = None,
    workers: int | None = None,
    device: str = "auto",
    on: str | None = None,
    out: str | Path | None = None,
    progress: bool = True,
) -> Any:
    """Predict, measure, compare and draw: ``attnlab reproduce`` from Python.

    Args:
        targets: what the command line takes ("he2025.risk", "all", a path), a Paper, a Claim, a figure, the function of a
            claim, or several of these.
        scale: "smoke", "desk" or "paper".
        overrides: fields of the setting, for example ``{"dim": 7}``; every claim that has the field gets it.
        seed: seed of all simulations, or several: one run for each.
        replicas: their number per simulation; by default the setting's, and more for an undecided claim.
        workers: local processes; by default one per core.
        device: "auto", "cpu" or "cuda".
        on: address of a Dask scheduler, for example ``"tcp://scheduler:8786"``.
        out: results folder; by default ``$ATTNLAB_HOME`` or ``./attnlab-results``.
        progress: whether to show what runs.

    Returns:
        :class:`~attnlab.papers.lab.python.results.Results`: verdicts, the runs they were judged on, figures. A contradiction is
        a result, not an exception: see ``.as_expected`` and ``.status``.

    Raises:
        UsageError: a bad target, key, value or environment.
    """
    from attnlab.papers.lab.python.results import ClaimResult, FigureResult, Figures, Results
    from attnlab.papers.lab.run.display import Display
    from attnlab.papers.lab.run.fingerprint import forget
    from attnlab.papers.lab.run.folder import default_folder
    from attnlab.papers.lab.run.plan import carry_out

    if scale not in SCALES:
        raise UsageError(f"scale={scale!r} is unknown{nearest(str(scale), SCALES)}; use one of {', '.join(SCALES)}")
    for name, value in (("replicas", replicas), ("workers", workers)):
        if value is not None and not (isinstance(value, int) and value >= 1):
            raise UsageError(f"{name}={value!r} is not a whole number of at least 1")
    seeds = _seeds(seed)
    chosen: list[Any] = [targets] if _is_one(targets) else list(targets)  # type: ignore[arg-type]
    plan = {
        "targets": [_target(each) for each in chosen],
        "overrides": {str(key): _text(value) for key, value in (overrides or {}).items()},
        "scale": scale,
        "replicas": replicas,
        "device": device,
    }
    forget()  # files may have been edited since the last call
    claims: list[ClaimResult] = []
    figures: dict[str, FigureResult] = {}
    failed: dict[str, str] = {}
    runs, elsewhere = [], ()
    for one in seeds:
        kept: dict[str, list[Any]] = {}
        result = carry_out(
            plan | {"seed": one},
            Path(out) if out is not None else default_folder(),
            workers=workers,
            address=on,
            display=Display(quiet=not progress),
            keep=kept.__setitem__,
        )
        records = [Named(record, f"entry in the record of {record['id']}") for record in result["claims"]]
        claims += [ClaimResult(record, tuple(kept.get(record["id"], ()))) for record in records]
        for row in result["figures"]:
            files = tuple(Path(file) for file in row["files"])
            if row["failed"]:
                failed[row["id"]] = row["failed"]
                continue
            figures[row["id"]] = FigureResult(row["id"], files, row["caption"], row["scale"])
        runs.append(result["run"])
        elsewhere = tuple(result["elsewhere"])
    return Results(tuple(claims), Figures(figures, failed), tuple(runs), elsewhere)


def show(*targets: Target) -> Any:
    """Statement, formula, assumptions, source, settings and rule of papers, claims and figures: ``attnlab show``.

    Returns what prints as the command does and reads as a page in a notebook; ``.record`` is what ``--json`` prints.
    """
    from attnlab.papers.lab.commands.describe import description
    from attnlab.papers.lab.python.pages import Shown

    names = [_target(each) for each in targets]
    record, text = description(names, registry.select(names), {})
    return Shown(record, text)


def papers() -> dict[str, Paper]:
    """All papers by key: those of attnlab, of installed packages, of ``ATTNLAB_PAPERS``, and those reproduced from objects."""
    return Named({key: registry.load(key) for key in registry.paper_keys()}, "paper")


def load_paper(target: str | Path) -> Paper:
    """One paper by key, unambiguous prefix or path."""
    found = registry.select([str(target)]).papers
    if len(found) != 1:
        raise UsageError(f"{str(target)!r} names {len(found)} papers ({', '.join(p.key for p in found)}); name one")
    return found[0]


def _is_one(targets: Any) -> bool:
    return isinstance(targets, (str, Path, Paper, Claim, PaperFigure)) or callable(targets)


def _target(each: Target) -> str:
    """A target as the command line would have it; objects become known to the registry."""
    if isinstance(each, Path):
        return str(each.resolve())
    if isinstance(each, str):
        return places.absolute(each)
    if isinstance(each, Paper):
        return registry.target_of(each)
    for paper in list(DECLARED.values()):
        items: list[Item] = [*paper.claims.values(), *paper.figures.values()]
        for item in items:
            if item is each or item.function is each:
                home = registry.target_of(paper)
                return f"{home}::{item.name}" if places.is_path(home) else f"{home}.{item.name}"
    raise UsageError(f"{each!r} is no target: give a name, a path, a Paper, a Claim, or the function of a claim")


def _seeds(seed: int | Sequence[int]) -> list[int]:
    seeds = [seed] if isinstance(seed, int) else list(seed)
    if not seeds or not all(isinstance(s, int) and not isinstance(s, bool) and 0 <= s < 2**63 for s in seeds):
        raise UsageError(f"seed={seed!r} must be a whole number of at least 0 and below 2^63, or several of them")
    return seeds


def _text(value: Any) -> str:
    """A value of an override as the command line would have it."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else repr(tuple(value) if isinstance(value, list) else value)
