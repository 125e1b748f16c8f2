"""What a paper claims, written down once: settings at three scales, claims with their twins, figures.

A paper module makes one :class:`Paper` and registers functions on it::

    paper = Paper(key="he2025_icl_regression", title="...", sources=[Source(...)], statements={1: "..."})
    DESK = paper.scales(smoke=..., desk=..., paper=...)

    @paper.claim("risk", source="Theorem 4.1", statements=[4])
    def risk(setting, lab):
        \"\"\"What is claimed, in one sentence.\"\"\"
        runs = lab.simulate(train, setting)
        return agrees(runs["risk"], predicted, within=margin, twin=...)

A claim function gets its setting and the :class:`~attnlab.papers.lab.run.workbench.Lab` and returns a
:class:`~attnlab.analysis.verdicts.verdict.Verdict`; a statement about all inputs is registered by :meth:`Paper.for_all` instead.
A figure function returns a :class:`~attnlab.analysis.figures.plate.Plate`.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from attnlab.analysis.verdicts.verdict import KINDS, NoRival, Outcome, Verdict
from attnlab.papers.lab.conditions import Covered, outside, uncovered, value_of
from attnlab.papers.lab.scales import SCALES, Scale
from attnlab.simulators.ensemble.setting import with_named_fields

Kind = Literal["published", "identity", "construction", "anchor", "extrapolation"]
_LEVELS = "for all inputs: every form of the statement at its level, and its twin refuted there"


@with_named_fields
@dataclass(frozen=True)
class Source:
    """One publication: enough for a reference line and a BibTeX entry."""

    authors: str
    title: str
    year: int
    venue: str = ""
    arxiv: str = ""
    doi: str = ""

    def __post_init__(self) -> None:
        if not (self.authors and self.title and self.year):
            raise ValueError(f"a source needs authors, title and year, got {self!r}")

    def reference(self) -> str:
        """One line: authors, title, venue, year, identifiers."""
        ids = [f"arXiv {self.arxiv}"] * bool(self.arxiv) + [f"doi:{self.doi}"] * bool(self.doi)
        return ", ".join(filter(None, [self.authors, f"“{self.title}”", self.venue, str(self.year), *ids]))

    def bibtex(self, key: str) -> str:
        """A BibTeX entry under ``key``."""
        kind = "inproceedings" if self.venue else "misc"
        rows = {
            "author": self.authors.replace(", ", " and "),
            "title": "{" + self.title + "}",
            "year": str(self.year),
            "booktitle": self.venue,
            "eprint": self.arxiv,
            "archiveprefix": "arXiv" if self.arxiv else "",
            "doi": self.doi,
        }
        body = ",\n".join(f"  {name} = {{{value}}}" for name, value in rows.items() if value)
        return f"@{kind}{{{key},\n{body}\n}}"


@with_named_fields
@dataclass(frozen=True)
class Scales:
    """One setting (a simulator's frozen dataclass) for each scale."""

    smoke: Any
    desk: Any
    paper: Any

    def at(self, scale: Scale) -> Any:
        """The setting at ``scale``."""
        return getattr(self, scale)


@dataclass(frozen=True)
class Claim:
    """A statement of the literature with the function that predicts, measures and judges it.

    ``kind`` says whose statement it is: ``published`` (the paper makes it, at conditions that it allows), ``identity``
    (theory against theory), ``construction``, ``anchor`` (our value against a published number) or ``extrapolation``
    (we formulate it). Only ``published`` counts as HOLDS of a paper. ``reads`` names the fields of the setting that the
    prediction depends on, ``covers`` the values of fields that it covers; outside them the claim is VACUOUS.
    """

    paper: str
    name: str
    function: Callable[..., Any]
    setting: Scales
    statements: tuple[int, ...]
    source: str
    formula: str = ""
    assumptions: tuple[str, ...] = ()
    judged: str = ""
    parts: int = 1
    expected: Literal["HOLDS", "REFUTED"] = "HOLDS"
    undecided_at_smoke: str = ""
    scales: tuple[Scale, ...] = SCALES
    why_these_scales: str = ""
    note: str = ""
    forms: Callable[..., Any] | None = None
    kind: Kind = "published"
    reads: tuple[str, ...] = ()
    covers: Mapping[str, Covered] = field(default_factory=dict, hash=False)

    @property
    def id(self) -> str:
        """``paper.claim``, the full identifier."""
        return f"{self.paper}.{self.name}"

    @property
    def statement(self) -> str:
        """What is claimed: the first paragraph of the function's docstring."""
        return _first_paragraph(self.function)

    def judge(self, setting: Any, lab: Any) -> Verdict:
        """The verdict at a setting, with the claim's kind.

        VACUOUS before anything is simulated where it covers nothing, and where another setting than the claim's own makes
        its twin the claim itself, or so near that the check accepts both: at its own settings that is an error, or INVALID.
        """
        own = (self.setting.smoke, self.setting.desk, self.setting.paper)
        verdict = uncovered(self.covers, setting, own)
        if verdict is None:
            try:
                verdict = self.function(setting, lab)
            except NoRival as error:
                if setting in own:
                    raise
                verdict = outside(f"at this setting nothing could tell the claim from its rival: {error}")
        if not isinstance(verdict, Verdict):
            raise TypeError(
                f"{self.id}: {self.function.__name__} returned {verdict!r}; return the verdict of a judge (agrees, bounded, "
                "ordered, all_of, ...)"
            )
        if verdict.outcome is Outcome.INVALID and setting not in own:
            told = f"at this setting the check accepts the claim and its rival: {verdict.reason}"
            verdict = replace(verdict, outcome=Outcome.VACUOUS, reason=told)
        if verdict.resolves is None and verdict.tightness is not None:  # for all inputs: what the sharpest input leaves
            verdict = replace(verdict, resolves=max(0.0, 1 - verdict.tightness))
        return replace(verdict, kind=self.kind)

    def _repr_html_(self) -> str:
        from attnlab.papers.lab.python.pages import claim_html

        return claim_html(self)


@dataclass(frozen=True)
class PaperFigure:
    """A figure of the literature with the function that draws it."""

    paper: str
    name: str
    function: Callable[..., Any]
    setting: Scales
    caption: str
    source: str = ""
    scales: tuple[Scale, ...] = SCALES
    why_these_scales: str = ""
    claims: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """``paper.figN``, the full identifier."""
        return f"{self.paper}.{self.name}"


Item = Claim | PaperFigure

#: Every paper that exists in this process, the latest of its key.
DECLARED: weakref.WeakValueDictionary[str, Paper] = weakref.WeakValueDictionary()


@with_named_fields
@dataclass
class Paper:
    """One paper: its sources, its numbered statements, and the claims and figures registered on it.

    ``statements`` maps the numbers of the paper's checkable statements to one sentence each; every number is either
    covered by a claim or named in :meth:`not_testable` (a test counts them).
    """

    key: str
    title: str
    sources: Sequence[Source]
    statements: dict[int, str]
    claims: dict[str, Claim] = field(default_factory=dict)
    figures: dict[str, PaperFigure] = field(default_factory=dict)
    untestable: dict[int, str] = field(default_factory=dict)
    default: Scales | None = None

    def __post_init__(self) -> None:
        DECLARED[self.key] = self

    def scales(self, *, smoke: Any, desk: Any, paper: Any) -> Scales:
        """Set (and return) the settings that claims and figures use unless they name their own."""
        self.default = Scales(smoke, desk, paper)
        return self.default

    def not_testable(self, statement: int, reason: str) -> None:
        """Say why a numbered statement has no claim."""
        self._known(statement)
        self.untestable[statement] = reason

    def claim(
        self,
        name: str,
        *,
        source: str,
        statements: Sequence[int],
        setting: Scales | None = None,
        formula: str = "",
        assumptions: Sequence[str] = (),
        judged: str = "",
        parts: int = 1,
        expected: Literal["HOLDS", "REFUTED"] = "HOLDS",
        undecided_at_smoke: str = "",
        scales: Sequence[Scale] = SCALES,
        why_these_scales: str = "",
        note: str = "",
        kind: Kind = "published",
        reads: Sequence[str] = (),
        covers: Mapping[str, Covered] | None = None,
    ) -> Callable:
        """Register ``function(setting, lab) -> Verdict`` as the claim ``name``.

        ``parts`` is the number of judged parts, among which the claim's share of the run's error budget is divided.
        ``expected="REFUTED"`` is for a statement that is false; it is heeded for every ``kind``, and only a published one
        is shown as "published and REFUTED". ``reads`` and ``covers`` say which fields of the setting the prediction reads
        and which of their values it covers (:mod:`attnlab.papers.lab.conditions`). ``undecided_at_smoke`` gives the reason why
        the smoke scale cannot decide. ``scales`` lists where the claim can be decided at all, with the reason.
        """
        if not statements:
            raise ValueError(f"claim {self.key}.{name}: name the numbered statements it covers")
        for number in statements:
            self._known(number)
        if parts < 1:
            raise ValueError(f"claim {self.key}.{name}: parts must be at least 1, got {parts!r}")
        if kind not in KINDS:
            raise ValueError(f"claim {self.key}.{name}: kind must be one of {', '.join(KINDS)}, got {kind!r}")
        if expected not in ("HOLDS", "REFUTED"):
            raise ValueError(f"claim {self.key}.{name}: expected must be 'HOLDS' or 'REFUTED', got {expected!r}")
        if tuple(scales) != SCALES and not why_these_scales:
            raise ValueError(f"claim {self.key}.{name}: say why it is decided at {', '.join(scales)} only")

        def register(function: Callable) -> Callable:
            if not _first_paragraph(function):
                raise ValueError(f"claim {self.key}.{name} needs a docstring that states what is claimed")
            self._new(name)
            self.claims[name] = Claim(
                self.key,
                name,
                function,
                self._setting(setting, name),
                tuple(statements),
                source,
                formula,
                tuple(assumptions),
                judged,
                parts,
                expected,
                undecided_at_smoke,
                tuple(scales),
                why_these_scales,
                note,
                kind=kind,
                reads=tuple(reads),
                covers=dict(covers or {}),
            )
            self._check_fields(self.claims[name])
            return function

        return register

    def for_all(
        self,
        name: str,
        *,
        source: str,
        statements: Sequence[int],
        setting: Scales | None = None,
        formula: str = "",
        assumptions: Sequence[str] = (),
        judged: str = "",
        expected: Literal["HOLDS", "REFUTED"] = "HOLDS",
        note: str = "",
        kind: Kind = "published",
    ) -> Callable:
        """Register ``function(setting) -> {level: for-all claim}``: the forms of one statement, the most general first.

        Each form is judged at its level (``searched``, ``certified``, ``symbolic``) and has its own twin; all must hold.
        ``attnlab falsify`` looks for counterexamples. The setting has a field ``budget``, the evaluations of each search.
        """

        def register(function: Callable) -> Callable:
            def judged_forms(setting: Any, lab: Any) -> Any:
                return lab.quantified(self.claims[name], setting)

            judged_forms.__doc__ = function.__doc__
            self.claim(
                name,
                source=source,
                statements=statements,
                setting=setting,
                formula=formula,
                assumptions=assumptions,
                judged=judged or _LEVELS,
                expected=expected,
                note=note,
                kind=kind,
            )(judged_forms)
            self.claims[name] = replace(self.claims[name], forms=function)
            return function

        return register

    def figure(
        self,
        name: str,
        *,
        caption: str,
        source: str = "",
        setting: Scales | None = None,
        scales: Sequence[Scale] = SCALES,
        why_these_scales: str = "",
        claims: Sequence[str] = (),
    ) -> Callable:
        """Register ``function(setting, lab) -> Plate`` as the figure ``name`` (``fig1``, ``fig2``, ...).

        ``claims`` names the claims that judge what the figure lays over each other, a line over points say; its caption
        tells their verdicts and what they resolve.
        """
        if not caption:
            raise ValueError(f"figure {self.key}.{name} needs a caption")

        def register(function: Callable) -> Callable:
            self._new(name)
            self.figures[name] = PaperFigure(
                self.key,
                name,
                function,
                self._setting(setting, name),
                caption,
                source,
                tuple(scales),
                why_these_scales,
                tuple(claims),
            )
            return function

        return register

    def _repr_html_(self) -> str:
        from attnlab.papers.lab.python.pages import paper_html

        return paper_html(self)

    def in_order(self) -> list[Claim]:
        """The claims by the first statement they cover."""
        return sorted(self.claims.values(), key=lambda claim: min(claim.statements))

    def judged_parts(self) -> int:
        """The number of judged parts of all claims: what an error budget is divided by."""
        return sum(claim.parts for claim in self.claims.values())

    def uncovered(self) -> list[int]:
        """Numbered statements with neither a claim nor a reason why they are not testable."""
        covered = {number for claim in self.claims.values() for number in claim.statements} | set(self.untestable)
        return [number for number in self.statements if number not in covered]

    def _known(self, number: int) -> None:
        if number not in self.statements:
            raise ValueError(f"{self.key} has no statement {number}; it has {sorted(self.statements)}")

    def _check_fields(self, claim: Claim) -> None:
        """Every field that the claim reads or covers exists at every scale, and the claim covers its own settings."""
        for scale in SCALES:
            setting = claim.setting.at(scale)
            for name in claim.reads:
                value_of(setting, name)
            outside = uncovered(claim.covers, setting, (claim.setting.at(scale),))
            if outside is not None and scale in claim.scales:
                raise ValueError(f"{claim.id} does not cover its own setting at {scale}: {outside.reason}")

    def _new(self, name: str) -> None:
        known = self.claims.get(name) or self.figures.get(name)
        if known is not None and known.function.__module__ != "__main__":  # a notebook's cell may be run again
            raise ValueError(f"{self.key}.{name} is registered twice; rename one of them")

    def _setting(self, setting: Scales | None, name: str) -> Scales:
        chosen = setting or self.default
        if chosen is None:
            raise ValueError(f"{self.key}.{name} has no setting: call paper.scales(...) first, or pass setting=...")
        return chosen


def _first_paragraph(function: Callable) -> str:
    text = inspect.getdoc(function) or ""
    return " ".join(text.split("\n\n")[0].split())
