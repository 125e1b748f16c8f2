"""Does a measured number equal its prediction, and does it respect a bound? Judges of values over replicas."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.analysis.judges.arguments import as_null, as_twin, margin, per_replica, replicas
from attnlab.analysis.judges.frame import (
    decide,
    decide_every,
    every_replica,
    judge,
    nothing_to_judge,
    out_of_reach,
    values_witness,
    why,
)
from attnlab.analysis.judges.located import locate
from attnlab.analysis.judges.resolution import changed, resolution, resolving, rival_distance
from attnlab.analysis.statistics.intervals import finite_mean
from attnlab.analysis.verdicts.ledger import draw
from attnlab.analysis.verdicts.verdict import NoRival, Outcome, Twin, Verdict
from attnlab.analysis.verdicts.wording import read_of


def agrees(
    measured: ArrayLike,
    predicted: ArrayLike,
    *,
    within: float,
    twin: Twin | ArrayLike,
    of: str = "mean over replicas",
    unit: str = "replica",
    confidence: float | None = None,
    scale: float | None = None,
    null: Twin | ArrayLike | None = None,
    low: float | None = None,
    high: float | None = None,
) -> Verdict:
    r"""A measured number equals its prediction up to a margin chosen beforehand (an equivalence test).

    .. math:: \text{HOLDS} \iff [low, high] \subseteq [p - w, p + w], \qquad
              \text{REFUTED} \iff [low, high] \cap [p - w, p + w] = \emptyset,

    with p ``predicted``, w ``within`` and [low, high] the interval of what ``of`` names. With error alpha, a false
    claim HOLDS with probability at most alpha/2, a true one is REFUTED with at most alpha.

    Args:
        measured: shape (replica,), finite.
        predicted: one number, or one per replica; then the differences are judged, and ``measured`` and ``interval`` are
            reported around the mean prediction.
        within: margin in the unit of the measurement, > 0.
        twin: the rival prediction (a number or array), or ``Twin.of(label, predicted=...)``, also with ``measured``
            or ``within``.
        of: "mean over replicas" (t interval, widened as skewed replicas need; the verdict says how large a mode would have
            gone unseen; "mean over replicas of 4000 draws" says that each replica is an average of so many independent
            draws, which are less skewed), "median over replicas" and "quantile 0.9 over replicas" (order statistics, no
            assumption), or "every replica": a statement about the replicas at hand, which needs no interval; ``reason``
            then tells the share
            of all replicas that it vouches for.
        scale: the unit in which ``resolves`` counts where the prediction is 0, or where its own size is not what matters;
            by default the prediction itself, and for 0 the distance of the twin.
        low, high: known bounds of the measured values (an accuracy lies in [0, 1]); the interval of a mean is then right for
            every distribution.
        null: the null control "nothing is learnt": the values measured at the frozen start, which the same check must
            refute (else VACUOUS), or ``Twin.of(label, measured=...)``.

    If ``within`` is not below the distance between prediction and twin, then even data equal to the prediction could
    not refute the twin: such a check is VACUOUS (or INVALID, if the data fit both), never merely UNDECIDED.

    >>> agrees([1.01, 0.99, 1.02, 0.98, 1.0, 1.01, 0.99, 1.0], 1.0, within=0.05, twin=1.2).outcome.value
    'HOLDS'
    """
    arguments = {"measured": measured, "predicted": predicted, "within": within}
    twin = as_twin("agrees", twin, arguments, "predicted")
    error, kind = draw("agrees", confidence), read_of(of)[0]

    def check(measured: ArrayLike, predicted: ArrayLike, within: float) -> Verdict:
        x = replicas("measured", measured)
        p, w = per_replica("predicted", predicted, x.size), margin("within", within)
        blank = Verdict(
            Outcome.UNDECIDED, "equivalence", of=of, margin=w, confidence=1 - error, n=x.size, unit=unit, relation="in"
        )
        if x.size == 0:
            return nothing_to_judge(blank, unit)
        d, centre = x - p, finite_mean(p)
        found = locate(d, of, error, _bounds(low, high, p))
        estimate = float(d[np.argmax(np.abs(d))]) if kind == "every" else found.estimate
        blank = replace(
            blank,
            predicted=centre,
            measured=centre + estimate,
            interval=(centre + found.interval[0], centre + found.interval[1]),
        )
        if kind == "every":
            return every_replica(blank, x, p, decide_every(d, -w, w))
        outcome = decide(found.interval, -w, w)
        witness = values_witness(d, predicted=0.0, within=w) if outcome is Outcome.REFUTED else None
        return replace(blank, outcome=outcome, witness=witness, reason=why(outcome, found, d.size, -w, w))

    verdict = judge(
        check,
        arguments,
        twin,
        vary=changed("predicted", predicted, scale, twin, kind),
        null=as_null("agrees", null, arguments, "measured"),
    )
    return out_of_reach(verdict, twin, rival_distance("predicted", predicted, twin, kind), within)


def bounded(
    measured: ArrayLike,
    bound: ArrayLike,
    *,
    side: str = "above",
    within: float = 0.0,
    twin: Twin | ArrayLike,
    of: str = "mean over replicas",
    unit: str = "replica",
    confidence: float | None = None,
    null: Twin | ArrayLike | None = None,
    low: float | None = None,
    high: float | None = None,
) -> Verdict:
    r"""A measured number respects a one-sided bound.

    ``side`` says where the bound lies: ``"above"`` claims measured <= bound + within, ``"below"`` claims
    measured >= bound - within. HOLDS iff the whole two-sided interval respects it, REFUTED iff the whole interval
    violates it; each wrong decision has probability at most alpha/2.

    ``of``, ``unit`` and ``confidence`` as in :func:`agrees`; ``bound`` is one number, or one per replica (the differences
    are judged). ``twin`` is a sharper rival bound that the data must violate, or ``Twin.of(label, bound=...)``; a rival
    that no data satisfying the claim could violate is an error. ``tightness`` is measured / bound for a bound above and
    bound / measured for one below (1 is sharp; None if the signs differ); of the sharpest replica for "every replica".
    ``resolves`` is the smallest sharpening of the bound, b (1 - e) from above and b / (1 - e) from below, that the data
    refute: 1 - tightness but for the interval and ``within`` (a bound of 0 is sharpened in units of its twin's distance).
    ``null``, ``low`` and ``high`` as in :func:`agrees`.

    >>> bounded([0.41, 0.44, 0.40, 0.43, 0.42, 0.41, 0.43, 0.42], 0.5, twin=0.3).outcome.value
    'HOLDS'
    """
    least, most = low, high
    if side not in ("above", "below"):
        raise ValueError(f"side must be 'above' (an upper bound) or 'below' (a lower bound), got {side!r}")
    arguments = {"measured": measured, "bound": bound, "within": within}
    twin = as_twin("bounded", twin, arguments, "bound")
    sign = 1.0 if side == "above" else -1.0
    _reject_looser_rival(arguments, twin, sign)
    error, kind = draw("bounded", confidence), read_of(of)[0]

    def check(measured: ArrayLike, bound: ArrayLike, within: float) -> Verdict:
        x = replicas("measured", measured)
        b, slack = per_replica("bound", bound, x.size), margin("within", within, zero=True)
        blank = Verdict(
            Outcome.UNDECIDED,
            "bound",
            of=of,
            margin=slack,
            confidence=1 - error,
            n=x.size,
            unit=unit,
            relation="<=" if side == "above" else ">=",
        )
        if x.size == 0:
            return nothing_to_judge(blank, unit)
        d, centre = x - b, finite_mean(b)
        found = locate(d, of, error, _bounds(least, most, b))
        low, high = (-math.inf, slack) if side == "above" else (-slack, math.inf)
        estimate = float(d[np.argmax(sign * d)]) if kind == "every" else found.estimate
        tightness = _tightness(x, b, side) if kind == "every" else _ratio(centre + estimate, centre, side)
        blank = replace(
            blank,
            predicted=centre,
            measured=centre + estimate,
            tightness=tightness,
            interval=(centre + found.interval[0], centre + found.interval[1]),
        )
        if kind == "every":
            return every_replica(blank, x, b, decide_every(d, low, high))
        outcome = decide(found.interval, low, high)
        witness = values_witness(d, bound=0.0, within=slack, side=side) if outcome is Outcome.REFUTED else None
        return replace(blank, outcome=outcome, witness=witness, reason=why(outcome, found, d.size, low, high))

    verdict = judge(check, arguments, twin, null=as_null("bounded", null, arguments, "measured"))
    if verdict.outcome in (Outcome.REFUTED, Outcome.VACUOUS) or not resolving():
        return verdict
    base = np.asarray(bound, dtype=np.float64)
    unit_of_zero = None if np.any(base) else rival_distance("bound", bound, twin, kind)
    sizes = np.abs(base) if unit_of_zero is None else np.full_like(base, unit_of_zero)

    def sharper_is_refuted(e: float) -> bool:
        if e < 0:
            return True  # a looser bound is no rival
        share = min(e, 1.0 if side == "above" else 0.999)
        shift = sizes * (share if side == "above" else share / (1 - share))
        changed: dict[str, Any] = {**arguments, "bound": base - sign * shift}
        rival = check(**changed)
        return rival.outcome is Outcome.REFUTED

    return replace(verdict, resolves=resolution(sharper_is_refuted))


def _bounds(low: float | None, high: float | None, shift: np.ndarray) -> tuple[float, float] | None:
    """Bounds of the differences from ``shift``, if those of the values are known."""
    if (low is None) != (high is None):
        raise ValueError(f"give both low and high, or none; got low={low!r}, high={high!r}")
    if low is None or high is None or shift.size == 0:
        return None
    return low - float(shift.max()), high - float(shift.min())


def _reject_looser_rival(arguments: dict, twin: Twin, sign: float) -> None:
    """A rival bound that is nowhere sharper holds whenever the claim does, so it tests nothing."""
    if set(twin.arguments) != {"bound"}:
        return
    rival, bound = (np.asarray(b, dtype=np.float64) for b in (twin.arguments["bound"], arguments["bound"]))
    if np.all(sign * (rival - bound) >= 0):
        raise NoRival(
            f"twin {twin.label!r} is looser than the claimed bound {arguments['bound']!r}, so data that "
            "satisfy the claim can never refute it; name a sharper bound that the data must violate"
        )


def _ratio(measured: float, bound: float, side: str) -> float | None:
    small, large = (measured, bound) if side == "above" else (bound, measured)
    return small / large if large != 0 and small * large > 0 else None


def _tightness(measured: np.ndarray, bound: np.ndarray, side: str) -> float | None:
    """Tightness of the sharpest replica."""
    ratios = [r for m, b in zip(measured, bound, strict=True) if (r := _ratio(float(m), float(b), side)) is not None]
    return max(ratios, default=None)
