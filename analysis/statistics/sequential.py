"""Add replicas until a verdict decides or the budget ends, without paying for the looking.

Use a judge whose interval is right at all sizes at once (:func:`mean_within`), or any fixed-size judge through
:func:`with_looks`, which charges each look to the error ledger.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from attnlab.analysis.statistics.sequences import mean_sequence
from attnlab.analysis.verdicts.ledger import DEFAULT_CONFIDENCE, ErrorLedger
from attnlab.analysis.verdicts.verdict import Outcome, Verdict

Judge = Callable[[np.ndarray], Verdict]


@dataclass(frozen=True)
class Decision:
    """The last verdict, the values it was given on, and the number of looks."""

    verdict: Verdict
    values: np.ndarray
    looks: int


def until_decided(
    sample_more: Callable[[int], np.ndarray], judge: Judge, budget: int, first: int = 8, growth: float = 1.5
) -> Decision:
    """Call ``sample_more(n)`` for n new values (leading axis n) until ``judge(all values)`` is not UNDECIDED.

    At most ``budget`` values are drawn; each look has ``growth`` times the values of the one before. The verdict that
    the budget leaves UNDECIDED says so.
    """
    if budget < 1 or first < 1 or not growth > 1:
        raise ValueError(f"budget={budget!r} and first={first!r} must be >= 1 and growth={growth!r} above 1")
    values = _more(sample_more, min(first, budget))
    looks = 0
    while True:
        looks += 1
        verdict = judge(values)
        if verdict.outcome is not Outcome.UNDECIDED:
            return Decision(verdict, values, looks)
        n = min(math.ceil(growth * len(values)), budget) - len(values)
        if n <= 0:
            ended = f"the budget of {budget} values ended after {looks} looks"
            return Decision(
                replace(verdict, reason=f"{verdict.reason}; {ended}" if verdict.reason else ended), values, looks
            )
        values = np.concatenate([values, _more(sample_more, n)])


def mean_within(
    predicted: float,
    within: float,
    confidence: float = DEFAULT_CONFIDENCE,
    low: float | None = None,
    high: float | None = None,
) -> Judge:
    """A judge for "the mean is ``predicted`` up to ``within``" that may look as often as one likes.

    HOLDS once the confidence sequence lies inside the margin, REFUTED once it lies outside; ``low`` and ``high`` are
    known bounds of the values, if there are any.
    """
    if not within > 0:
        raise ValueError(f"within={within!r} must be positive")

    def judge(values: np.ndarray) -> Verdict:
        lower, upper = mean_sequence(values, confidence, low, high)
        interval = float(lower[-1]), float(upper[-1])
        if interval[0] > interval[1]:  # the looks contradict each other
            outcome, reason = (
                Outcome.UNDECIDED,
                "the intervals of different looks do not meet: the values are not from one law",
            )
        elif predicted - within <= interval[0] and interval[1] <= predicted + within:
            outcome, reason = Outcome.HOLDS, ""
        elif interval[1] < predicted - within or interval[0] > predicted + within:
            outcome, reason = Outcome.REFUTED, "the confidence sequence lies outside the margin"
        else:
            outcome, reason = Outcome.UNDECIDED, "the confidence sequence reaches over an end of the margin"
        kind = "t mixture" if low is None else "betting"
        return Verdict(
            outcome,
            "sequential mean",
            of=f"mean over replicas ({kind})",
            predicted=predicted,
            measured=float(np.mean(values)),
            interval=interval,
            margin=within,
            relation="in",
            confidence=confidence,
            n=len(values),
            reason=reason,
            witness={"interval": list(interval), "n": len(values)} if outcome is Outcome.REFUTED else None,
        )

    return judge


def with_looks(judge: Judge, ledger: ErrorLedger, claim_id: str, share: float, parts: int = 1) -> Judge:
    """A fixed-size judge for repeated looks: look k draws ``share / (k (k + 1))`` from the ledger."""
    looks = 0

    def looking(values: np.ndarray) -> Verdict:
        nonlocal looks
        looks += 1
        with ledger.claim(claim_id, share, parts, look=looks):
            return judge(values)

    return looking


def _more(sample_more: Callable[[int], np.ndarray], n: int) -> np.ndarray:
    values = np.asarray(sample_more(n))
    if values.ndim == 0 or len(values) != n:
        raise ValueError(f"sample_more({n}) must return {n} values along the leading axis, got shape {values.shape}")
    return values
