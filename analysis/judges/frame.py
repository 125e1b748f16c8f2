"""What all judges share: the decision, the twin, the null control, and the words on what did not decide.

Where the quantity lies is found in ``located``, arguments are checked in ``arguments``, ``resolution`` has what data resolve.

A judge is a check run twice: once with the claim's arguments and once with those of its twin, at the same confidence.
The claim is decided by one rule, :func:`decide`: the whole interval inside the claimed region HOLDS, the whole interval
outside is REFUTED, anything else is UNDECIDED. So every decision is right whenever the interval covers, and the twin,
judged from the same interval, costs no further error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import numpy as np

from attnlab.analysis.judges.located import Located, stipulated
from attnlab.analysis.judges.resolution import resolution, resolving, with_resolution
from attnlab.analysis.statistics.intervals import Interval, clopper_pearson
from attnlab.analysis.verdicts.budget import Budget
from attnlab.analysis.verdicts.verdict import Outcome, Twin, Verdict

WITNESS_VALUES = 64  # a witness lists the replicas' values up to this many

_SEEN: ContextVar[list[dict[str, Any]] | None] = ContextVar("attnlab_judged_arguments", default=None)


def decide(interval: Interval, low: float, high: float) -> Outcome:
    """HOLDS if the interval lies inside [low, high], REFUTED if it lies wholly outside, otherwise UNDECIDED."""
    if low <= interval[0] and interval[1] <= high:
        return Outcome.HOLDS
    if interval[1] < low or interval[0] > high:
        return Outcome.REFUTED
    return Outcome.UNDECIDED


def decide_every(values: np.ndarray, low: np.ndarray | float, high: np.ndarray | float) -> tuple[Outcome, np.ndarray]:
    """The same for the statement that every value at hand lies inside; also returns which do."""
    inside = (values >= low) & (values <= high)
    return (Outcome.HOLDS if inside.all() else Outcome.REFUTED), inside


def every_replica(
    blank: Verdict, values: np.ndarray, reference: np.ndarray, decided: tuple[Outcome, np.ndarray]
) -> Verdict:
    """The verdict on "every replica": a fact about the replicas at hand, with what it vouches for beyond them."""
    outcome, inside = decided
    low, _ = clopper_pearson(int(inside.sum()), inside.size, blank.confidence)
    reason = (
        f"{int(inside.sum())} of {inside.size} satisfy it; of all {blank.unit}s at least {low:.3g} do "
        f"(Clopper-Pearson, {blank.confidence:.6g})"
    )
    witness = None
    if outcome is Outcome.REFUTED:
        outside = np.flatnonzero(~inside)
        worst = int(outside[np.argmax(np.abs(values - reference)[outside])])
        witness = {
            "replica": worst,
            "value": float(values[worst]),
            "predicted": float(reference[worst]),
            "all_outside": [int(i) for i in outside],
        }
        reason = f"{blank.unit} {worst} has {values[worst]:.6g} against {reference[worst]:.6g}; {reason}"
    return replace(blank, outcome=outcome, witness=witness, reason=reason)


def why(outcome: Outcome, found: Located, n: int, low: float, high: float) -> str:
    """One line on why an interval did not decide, or decided against; ``low`` and ``high`` bound the claimed region."""
    if outcome is Outcome.HOLDS:
        return found.caution
    if outcome is Outcome.REFUTED:
        beyond = low - found.interval[1] if found.interval[1] < low else found.interval[0] - high
        side = "below" if found.interval[1] < low else "above"
        return "; ".join(filter(None, [f"the whole interval lies {side} the margin, by {beyond:.3g}", found.caution]))
    if found.trouble:
        return found.trouble
    if found.grouped:
        return found.caution
    half = (found.interval[1] - found.interval[0]) / 2
    room = min(abs(found.estimate - low), abs(found.estimate - high))
    # how often the interval is too long towards an edge inside it, on that side: an interval of a median is lopsided
    ends = [(edge, found.interval[edge > found.estimate]) for edge in (low, high)]
    long = [
        (end - found.estimate) / (edge - found.estimate)
        for edge, end in ends
        if math.isfinite(half) and found.interval[0] <= edge <= found.interval[1] and edge != found.estimate
    ]
    more = f"; about {max(n + 1, math.ceil(n * max(long) ** 2))} would" if long and max(long) < 100 else ""
    return f"n={n} does not decide: half-width {half:.3g}, {room:.3g} from the edge of the margin{more}"


def judge(
    check: Callable[..., Verdict],
    arguments: Mapping[str, Any],
    twin: Twin,
    *,
    vary: Callable[[float], Mapping[str, Any]] | None = None,
    null: Twin | None = None,
) -> Verdict:
    """Run the check on the claim, on its twin and on its null control; HOLDS needs both of them REFUTED.

    ``vary(e)`` gives the arguments of the prediction changed by the share e; from it comes what the data resolve. An
    UNDECIDED verdict of a check that drew from the error budget wants replicas, unless the check says otherwise.
    """
    seen = _SEEN.get()
    if seen is not None:
        seen.append(dict(arguments))
    verdict = check(**arguments)
    if isinstance(arguments.get("within"), Budget):
        verdict = replace(verdict, margin_from=str(arguments["within"]))
    try:
        rival = check(**{**arguments, **twin.arguments})
    except ValueError as error:
        raise ValueError(f"twin {twin.label!r}: {error}") from error
    verdict = verdict.with_twin(twin, rival.outcome)
    if null is not None:
        with stipulated():
            frozen = check(**{**arguments, **null.arguments})
        verdict = _with_null(verdict, null, frozen)
    if verdict.outcome is Outcome.UNDECIDED and not verdict.wants and verdict.confidence is not None:
        verdict = replace(verdict, wants="replicas")
    if "mean" in verdict.of and verdict.n and verdict.confidence is not None:
        verdict = replace(verdict, unseen=1 - (1 - verdict.confidence) ** (1 / verdict.n))
    if not resolving():
        return verdict
    if vary is None or verdict.outcome in (Outcome.REFUTED, Outcome.VACUOUS):
        return verdict
    return with_resolution(verdict, resolution(lambda e: _refuted(check, {**arguments, **vary(e)})))


@contextmanager
def watched() -> Iterator[list[dict[str, Any]]]:
    """The arguments of every judge called inside, in order: what was predicted, and what was measured."""
    seen: list[dict[str, Any]] = []
    token = _SEEN.set(seen)
    try:
        yield seen
    finally:
        _SEEN.reset(token)


def _refuted(check: Callable[..., Verdict], arguments: Mapping[str, Any]) -> bool:
    """Whether the check refutes these arguments; values that a prediction cannot have count as refuted."""
    try:
        return check(**arguments).outcome is Outcome.REFUTED
    except ValueError:
        return True


def _with_null(verdict: Verdict, null: Twin, seen: Verdict) -> Verdict:
    """HOLDS needs the null control REFUTED. Where it holds too the claim is VACUOUS, and says which movement it needs."""
    verdict = replace(verdict, null=seen.outcome, null_label=null.label)
    if verdict.outcome is not Outcome.HOLDS or seen.outcome is Outcome.REFUTED:
        return verdict
    if seen.outcome is Outcome.UNDECIDED:
        reason = f"the data cannot tell the claim from its null control ({null.label})"
        return replace(verdict, outcome=Outcome.UNDECIDED, reason=reason, wants="replicas")
    reason = f"the same check passes where {null.label}"
    if seen.interval is not None and seen.measured is not None and all(map(math.isfinite, seen.interval)):
        half = (seen.interval[1] - seen.interval[0]) / 2
        moved = abs(seen.measured - seen.predicted) if seen.relation == "in" else seen.measured
        needed = half + (seen.margin if seen.relation == "in" else abs(seen.predicted))
        reason += f", {moved:.3g} away from the prediction: a movement above {needed:.3g} is needed"
    return replace(verdict, outcome=Outcome.VACUOUS, reason=reason)


def nothing_to_judge(verdict: Verdict, unit: str) -> Verdict:
    """The verdict on no data at all: no replica meets the condition, so nothing could have refuted the claim."""
    return replace(verdict, outcome=Outcome.VACUOUS, n=0, reason=f"no {unit} to judge: the condition is never met")


def out_of_reach(verdict: Verdict, twin: Twin, distance: float | None, within: Any = None) -> Verdict:
    """Says precisely when no data, or not these data, can tell an equivalence claim from its twin.

    ``distance`` is how far the twin's prediction lies from the claim's (None: it has no other prediction). Within the
    margin, data equal to the prediction could not refute the twin: VACUOUS, whatever n (INVALID, if the data were seen
    to fit both). Where it is the piece ``replicas`` of the budget ``within`` that reaches so far, more replicas tell the
    two apart: UNDECIDED. Within twice the margin, values in the overlap decide nothing, and ``reason`` says so.
    """
    if verdict.twin_outcome is Outcome.REFUTED or verdict.outcome in (Outcome.REFUTED, Outcome.VACUOUS):
        return verdict
    if distance is None or verdict.margin is None:
        return verdict
    wants = ""
    advice = f"choose within below {distance / 2:.4g}, by a smaller error budget (replicas, size, step), or a twin further away"
    if distance <= verdict.margin:
        outcome = Outcome.INVALID if verdict.outcome is Outcome.INVALID else Outcome.VACUOUS
        if isinstance(within, Budget) and 2 * within.beside_replicas < distance:
            outcome, wants = Outcome.UNDECIDED, "replicas"
        reason = (
            f"within={verdict.margin:.4g} reaches the twin at distance {distance:.4g}: even data equal to the "
            f"prediction could not tell it from its twin ({twin.label}); {advice}"
        )
        return replace(verdict, outcome=outcome, reason=reason, wants=wants)
    if distance <= 2 * verdict.margin:
        return replace(verdict, reason=f"{verdict.reason}; the margins of claim and twin overlap: {advice}")
    return verdict


def values_witness(values: np.ndarray, **more: Any) -> dict[str, Any]:
    """A plain record from which a refuted mean or quantile can be judged again."""
    if values.size <= WITNESS_VALUES:
        return {"values": values.tolist(), **more}
    return {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1)), "n": int(values.size), **more}
