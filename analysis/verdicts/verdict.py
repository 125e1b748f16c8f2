"""What a check says: one verdict with its evidence, and the twin that the same check had to refute.

A verdict is one of five words. ``HOLDS`` and ``REFUTED`` are decisions at the stated confidence; ``UNDECIDED`` means
that the evidence (or the budget) was not enough; ``VACUOUS`` that nothing could have refuted the claim, or its twin;
``INVALID`` that the check accepted its own false twin. A claim holds only if its twin is refuted by the same check on
the same data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from attnlab.analysis.verdicts.plain import plain

KINDS = ("published", "identity", "construction", "anchor", "extrapolation")  # what a claim can be, see Verdict


class Outcome(StrEnum):
    """The five words a verdict can say."""

    HOLDS = "HOLDS"
    REFUTED = "REFUTED"
    UNDECIDED = "UNDECIDED"
    VACUOUS = "VACUOUS"
    INVALID = "INVALID"


class NoRival(ValueError):
    """A twin that is the claim itself, or weaker, so that no data could tell them apart."""


@dataclass(frozen=True)
class Twin:
    """The nearest rival theory: the same check is run with these arguments replaced, and must refute it.

    ``label`` names the rival; ``arguments`` are the arguments of the judge that the rival changes
    (``predicted=...``, ``bound=...``, ``measured=...``).

    >>> Twin.of("plain gradient descent", predicted=0.0123).arguments
    {'predicted': 0.0123}
    """

    label: str
    arguments: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, label: str, **arguments: Any) -> Twin:
        """A twin that replaces the named arguments of the judge."""
        if not label or not arguments:
            raise ValueError(f"a twin needs a label and at least one replaced argument, got {label!r}, {arguments!r}")
        return cls(label, arguments)


@dataclass(frozen=True)
class Verdict:
    """One decision with its evidence; ``parts`` hold the verdicts it was combined from.

    ``predicted``, ``measured`` and ``margin`` are in the unit of the claim; ``interval`` is the two-sided interval for
    what ``of`` names (``"mean over replicas"``, ``"share of replicas"``, ...) at level ``confidence``; ``n`` counts
    ``unit`` (the unit of replication: replica, data set, sample, input). ``relation`` is the sign between measured and
    predicted (``in``, ``<=``, ``>=``, ``>``), and ``tightness`` says how sharp a one-sided bound is (1 is sharp).
    ``witness`` is a plain record from which the refutation can be replayed. Numbers that a judge has no use for are
    ``None``. ``reason`` is one line; it is never empty unless the verdict is HOLDS.

    ``judged_by`` names the judge (``equivalence``, ``bound``, ...). ``kind`` says what the claim is: ``published`` (a
    statement that the paper makes), ``identity`` (theory against theory, a derivation check), ``construction``,
    ``anchor`` (our value against a published number) or ``extrapolation`` (a statement that we formulate).
    ``resolves`` is the smallest relative change of the prediction that the same data refute at the same margin; None
    where there is no formula to change. ``wants`` says what would decide an UNDECIDED verdict, ``"replicas"`` or
    ``"training"``; ``""`` is neither. ``null`` is the outcome of the same check on the null control ``null_label``, such
    as "nothing is learnt", which must be REFUTED. ``margin_from`` is the error budget that the margin adds up.

    ``unseen`` is given where a mean over replicas is judged: a second mode of up to that share of all replicas would, with
    the stated error, have gone unseen among n of them, and the mean is one of the modes that were seen.

    A verdict has no truth value: ``if verdict`` raises, as a REFUTED one would be as true as one that HOLDS.
    """

    outcome: Outcome
    judged_by: str
    of: str = ""
    predicted: float | None = None
    measured: float | None = None
    interval: tuple[float, float] | None = None
    margin: float | None = None
    confidence: float | None = None
    n: int | None = None
    unit: str = "replica"
    level: str | None = None
    relation: str = ""
    tightness: float | None = None
    twin: str | None = None
    twin_outcome: Outcome | None = None
    reason: str = ""
    witness: dict[str, Any] | None = None
    name: str = ""
    parts: tuple[Verdict, ...] = ()
    kind: str = "published"
    resolves: float | None = None
    wants: str = ""
    null: Outcome | None = None
    null_label: str = ""
    margin_from: str = ""
    unseen: float | None = None

    def __bool__(self) -> bool:
        raise TypeError(
            f"a verdict has no truth value (this one is {self.outcome}): use verdict.holds, or `verdict is not None`"
        )

    @property
    def holds(self) -> bool:
        """Whether the verdict is HOLDS."""
        return self.outcome is Outcome.HOLDS

    @property
    def more_replicas_may_decide(self) -> bool:
        """Whether it is UNDECIDED for want of replicas alone: no undecided part waits for longer training."""
        undecided = [part for part in self.parts or (self,) if part.outcome is Outcome.UNDECIDED]
        return bool(undecided) and self.outcome is Outcome.UNDECIDED and all(p.wants == "replicas" for p in undecided)

    def named(self, name: str) -> Verdict:
        """The same verdict under a name, for a part of a combined claim."""
        return replace(self, name=name)

    def with_twin(self, twin: Twin, outcome: Outcome) -> Verdict:
        """The verdict after its twin was judged by the same check.

        HOLDS stands only if the twin is REFUTED; a twin that HOLDS makes the check INVALID; otherwise the claim is
        UNDECIDED. A claim that does not hold keeps its outcome, and the twin's is recorded.
        """
        if outcome is Outcome.HOLDS and self.outcome is Outcome.HOLDS:
            return replace(
                self,
                outcome=Outcome.INVALID,
                twin=twin.label,
                twin_outcome=outcome,
                reason=f"the check also accepts its twin ({twin.label})",
            )
        if outcome is not Outcome.REFUTED and self.outcome is Outcome.HOLDS:
            return replace(
                self,
                outcome=Outcome.UNDECIDED,
                twin=twin.label,
                twin_outcome=outcome,
                reason=f"the data cannot tell the claim from its twin ({twin.label})",
            )
        return replace(self, twin=twin.label, twin_outcome=outcome)

    def __str__(self) -> str:
        return self.line()

    def line(self) -> str:
        """One printed line, the most important word first; parts that a verdict does not have are left out.

        ``HOLDS      he2025.risk  mean over replicas 0.2431 in 0.2429 ± 0.003  [0.2425, 0.2437]  n=16 replicas
        twin refuted``, on one line.
        """
        words = [f"{self.outcome:<9}", self.name, self.level or "", self._comparison()]
        if self.interval is not None:
            words.append(f"[{self.interval[0]:.4g}, {self.interval[1]:.4g}]")
        if self.tightness is not None:
            words.append(f"tightness {self.tightness:.4g}")
        if self.resolves is not None:
            words.append(f"resolves {percent(self.resolves)}")
        if self.n is not None:
            words.append(f"n={self.n} {_plural(self.unit, self.n)}")
        if self.twin_outcome is not None:
            words.append(f"twin {self.twin_outcome.lower()}")
        if self.null is not None:
            words.append(f"{self.null_label} {self.null.lower()}")
        if self.unseen is not None:
            words.append(f"a second mode of up to {percent(self.unseen)} of {_plural(self.unit, 2)} would go unseen")
        words.append(self.reason)
        return "  ".join(word for word in words if word)

    def _comparison(self) -> str:
        """The claim in symbols, such as ``mean over replicas 0.2431 in 0.2429 ± 0.003``."""
        words = [self.of]
        if self.measured is not None:
            words.append(f"{self.measured:.4g}")
        if self.predicted is not None:
            words.append(f"{self.relation or 'against'} {self.predicted:.4g}")
            if self.margin:
                words.append(f"± {self.margin:.4g}" if self.relation == "in" else f"(slack {self.margin:.4g})")
        return " ".join(word for word in words if word)

    def _repr_html_(self) -> str:
        from attnlab.analysis.verdicts.html import verdict_html

        return verdict_html(self.record())

    def record(self) -> dict[str, Any]:
        """A plain, JSON-ready record: numbers finite or None, no numpy types."""
        return {
            "verdict": str(self.outcome),
            "name": self.name,
            "judged_by": self.judged_by,
            "kind": self.kind,
            "level": self.level,
            "of": self.of,
            "predicted": _number(self.predicted),
            "measured": _number(self.measured),
            "interval": None if self.interval is None else [_number(x) for x in self.interval],
            "margin": _number(self.margin),
            "relation": self.relation,
            "tightness": _number(self.tightness),
            "confidence": _number(self.confidence),
            "n": None if self.n is None else int(self.n),
            "unit": self.unit,
            "twin": self.twin,
            "twin_verdict": None if self.twin_outcome is None else str(self.twin_outcome),
            "resolves": _number(self.resolves),
            "wants": self.wants,
            "margin_from": self.margin_from,
            "unseen": _number(self.unseen),
            "null": None if self.null is None else str(self.null),
            "null_label": self.null_label,
            "reason": self.reason,
            "witness": plain(self.witness),
            "parts": [part.record() for part in self.parts],
        }


def all_of(*parts: Verdict, of: str = "") -> Verdict:
    """The conjunction of named verdicts: holds if all hold, is refuted if one is.

    Order of precedence: REFUTED, INVALID, VACUOUS, UNDECIDED, HOLDS. The numbers shown are those of the part that
    decides (the first with the combined outcome); ``resolves`` is that of the bluntest part, ``null`` the worst.
    """
    if not parts:
        raise ValueError("all_of needs at least one verdict, got none")
    for outcome in (Outcome.REFUTED, Outcome.INVALID, Outcome.VACUOUS, Outcome.UNDECIDED, Outcome.HOLDS):
        deciding = next((part for part in parts if part.outcome is outcome), None)
        if deciding is not None:
            break
    prefix = f"{deciding.name}: " if deciding.name and deciding.reason else ""
    nulls = [part for part in parts if part.null is not None]
    null = next((part for part in nulls if part.null is not Outcome.REFUTED), nulls[0] if nulls else deciding)
    return replace(
        deciding,
        of=of or deciding.of,
        name="",
        parts=parts,
        reason=prefix + deciding.reason,
        resolves=max((part.resolves for part in parts if part.resolves is not None), default=None),
        unseen=max((part.unseen for part in parts if part.unseen is not None), default=None),
        null=null.null,
        null_label=null.null_label,
    )


def percent(share: float) -> str:
    """``0.4 %``: a share in two digits, down to what is readable; ``nothing`` where no change at all would be seen."""
    if not math.isfinite(share):
        return "nothing"
    return f"{100 * share:.2g} %" if 100 * share < 99.5 else f"{100 * share:.0f} %"


def _plural(unit: str, n: int) -> str:
    if n == 1:
        return unit
    return unit[:-1] + "ies" if unit.endswith("y") and unit[-2:-1] not in "aeiou" else unit + "s"


def _number(x: Any) -> float | None:
    """A finite float or None."""
    if x is None:
        return None
    x = float(x)
    return x if math.isfinite(x) else None
