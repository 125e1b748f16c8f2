"""How fast does a quantity grow or vanish? Judges of exponents, trends and limits of infinite size.

Curves have the shape (replica, points). A curve of shape (points,) is deterministic (an ODE, a closed form evaluated
numerically): it has no sampling error, so its interval is the range of its local slopes over the stated window.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from attnlab.analysis.judges.arguments import as_null, as_twin, finite_number, margin
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
from attnlab.analysis.judges.located import Located, locate
from attnlab.analysis.judges.resolution import changed, rival_distance
from attnlab.analysis.statistics.intervals import finite_array, finite_vector, guarded_mean_interval, replica_slopes
from attnlab.analysis.verdicts.ledger import draw
from attnlab.analysis.verdicts.verdict import Outcome, Twin, Verdict
from attnlab.analysis.verdicts.wording import read_of


def exponent(
    x: ArrayLike,
    y: ArrayLike,
    predicted: float,
    *,
    within: float,
    bend: float | None = None,
    twin: Twin | float,
    of: str = "mean over replicas",
    unit: str = "replica",
    confidence: float | None = None,
    scale: float | None = None,
    null: Twin | ArrayLike | None = None,
) -> Verdict:
    r"""y grows like a power of x over the stated window: y ~ x^predicted.

    Two statements, each with half of the error: the log-log slope lies within ``within`` of ``predicted``, and the
    curve is straight: the slopes of its two halves stay within ``bend`` (default ``within``) of the slope of the whole.
    The second is judged from the quadratic term c of a fit in log x, as c L / 2 with L the length of the window. Without an
    explicit ``bend`` a curve that is seen to bend by more than ``within`` / 8 (a deterministic one, whose local slopes are
    all judged, by more than ``within`` / 4) is UNDECIDED: log(x) / x and a power with
    corrections look alike on a short window. Give ``bend=`` where theory says how much the curve bends.

    Slopes of the logarithms of single replicas are biased if their relative noise changes with x, as E log y is about
    log E y - var / 2; where that shifts the slope by more than ``within`` / 4 the claim is UNDECIDED, and "mean curve" is
    the quantity to judge.

    Args:
        x: shape (points,), positive, at least 3 different values.
        y: shape (replica, points), positive; or (points,) for a deterministic curve, where every slope between
            neighbours must lie within the margin, and REFUTED means that none does.
        of: what is taken of the replicas' slopes, as in :func:`attnlab.analysis.agrees`, or "mean curve": the slope
            of the logarithm of the mean curve (jackknife interval), for curves that are noisy or cross zero.
        twin: the rival exponent, or ``Twin.of(label, predicted=...)``, also with ``x``, ``y``, ``within``.
        scale: the unit in which ``resolves`` counts where the exponent is 0 (by default the twin's distance).
        null: the null control, the curves of runs in which nothing is learnt, or ``Twin.of(label, y=...)``.
    """
    arguments = {"x": x, "y": y, "predicted": predicted, "within": within}
    twin = as_twin("exponent", twin, arguments, "predicted")
    kind = "curve" if of == "mean curve" else read_of(of)[0]
    error = None if np.ndim(y) == 1 else draw("exponent", confidence)

    def check(x: ArrayLike, y: ArrayLike, predicted: float, within: float) -> Verdict:
        u, curves, p = np.log(_positive("x", _window(x))), finite_array("y", y), finite_number("predicted", predicted)
        w = margin("within", within)
        blank = Verdict(
            Outcome.UNDECIDED, "exponent", of=f"slope, {of}", predicted=p, margin=w, relation="in", unit=unit
        )
        if _matching(curves, u, error).ndim == 1:
            logs = np.log(_positive("y", curves))
            return _unbent(
                _deterministic(blank, u, logs, p - w, p + w), float(_bends(u, logs[None])[0]), 0.0, bend, 1 / 4
            )
        blank = replace(blank, n=len(curves), confidence=1 - error)
        if len(curves) == 0:
            return nothing_to_judge(blank, unit)
        straightness = margin("bend", w if bend is None else bend)
        if kind == "every":
            return _every_slope(blank, u, np.log(_positive("y", curves)), straightness)
        slopes, bends = _slopes_and_bends(u, curves, kind, of, error / 2)
        blank = replace(blank, measured=slopes.estimate, interval=slopes.interval)
        outcome = decide(slopes.interval, p - w, p + w)
        curved = decide(bends.interval, -straightness, straightness)
        reason = why(outcome, slopes, len(curves), p - w, p + w)
        if outcome is not Outcome.REFUTED and curved is not Outcome.HOLDS:
            outcome = curved
            reason = (
                f"the slopes of the halves differ from the whole's by {bends.estimate:.3g} in "
                f"[{bends.interval[0]:.3g}, {bends.interval[1]:.3g}], to be within {straightness:.3g}"
            )
            reason = f"{reason}; {bends.trouble}" if bends.trouble else reason
        judged = replace(blank, outcome=outcome, witness=_curve_witness(outcome, u, curves), reason=reason)
        judged = _unbent(judged, bends.estimate, (bends.interval[1] - bends.interval[0]) / 2, bend)
        return judged if kind == "curve" else _unbiased(judged, u, curves)

    verdict = judge(
        check,
        arguments,
        twin,
        vary=changed("predicted", predicted, scale, twin),
        null=as_null("exponent", null, arguments, "y"),
    )
    return out_of_reach(verdict, twin, rival_distance("predicted", predicted, twin), within)


def trend(
    x: ArrayLike,
    y: ArrayLike,
    direction: str,
    *,
    by: float = 0.0,
    twin: Twin | float,
    of: str = "mean over replicas",
    unit: str = "replica",
    confidence: float | None = None,
    null: Twin | ArrayLike | None = None,
) -> Verdict:
    r"""y rises (or falls) with x: its slope in that direction exceeds ``by``.

    Args:
        x: shape (points,). Take logarithms beforehand where the claim is about ratios.
        y: shape (replica, points), or (points,) for a deterministic curve, of which every step must go that way.
        direction: "rising" or "falling".
        by: slope, in units of y per x, that must be exceeded.
        of: what is taken of the replicas' least-squares slopes, as in :func:`attnlab.analysis.agrees`; or "every step":
            the mean curve is monotone, each step judged with its part of the error.
        twin: a larger ``by`` that the data must refute, or ``Twin.of(label, ...)`` replacing ``x``, ``y``,
            ``direction`` or ``by``; ``Twin.of("falls", direction="falling")`` is the opposite claim.
        null: as in :func:`exponent`.
    """
    arguments = {"x": x, "y": y, "direction": direction, "by": by}
    twin = as_twin("trend", twin, arguments, "by")
    if set(twin.arguments) == {"by"} and not twin.arguments["by"] > by:
        raise ValueError(
            f"twin by={twin.arguments['by']!r} is weaker than by={by!r}, so it holds whenever the claim "
            "does; name a larger one that the data must refute"
        )
    kind = "step" if of == "every step" else read_of(of)[0]
    error = None if np.ndim(y) == 1 else draw("trend", confidence)

    def check(x: ArrayLike, y: ArrayLike, direction: str, by: float) -> Verdict:
        if direction not in ("rising", "falling"):
            raise ValueError(f"direction must be 'rising' or 'falling', got {direction!r}")
        u, curves, step = _window(x, 2), finite_array("y", y), finite_number("by", by)
        curves = _matching(curves, u, error) * (1 if direction == "rising" else -1)
        above = math.nextafter(step, math.inf)  # strictly more than by
        blank = Verdict(
            Outcome.UNDECIDED, "trend", of=f"{direction} slope, {of}", predicted=step, relation=">", unit=unit
        )
        if curves.ndim == 1:
            return _deterministic(blank, u, curves, above, math.inf)
        blank = replace(blank, n=len(curves), confidence=1 - error)
        if len(curves) == 0:
            return nothing_to_judge(blank, unit)
        if kind == "step":
            return _every_step(blank, u, curves, above, error)
        slopes = replica_slopes(u, curves)
        found = locate(slopes, of, error)
        blank = replace(blank, measured=found.estimate, interval=found.interval)
        if kind == "every":
            blank = replace(blank, measured=float(slopes.min()))
            return every_replica(blank, slopes, np.full(len(slopes), step), decide_every(slopes, above, math.inf))
        outcome = decide(found.interval, above, math.inf)
        return replace(
            blank,
            outcome=outcome,
            reason=why(outcome, found, len(slopes), above, math.inf),
            witness=values_witness(slopes, by=step) if outcome is Outcome.REFUTED else None,
        )

    return judge(check, arguments, twin, null=as_null("trend", null, arguments, "y"))


def _unbent(verdict: Verdict, bend: float, half: float, allowed: float | None, share: float = 1 / 8) -> Verdict:
    """HOLDS withheld where the curve is seen to bend although no bend was allowed for."""
    free = share * verdict.margin
    if verdict.outcome is not Outcome.HOLDS or allowed is not None or abs(bend) - half <= free:
        return verdict
    reason = (
        f"the slope is within the margin, but the curve bends: the slopes of its halves differ from the whole's by {bend:.3g} "
        f"± {half:.2g}, which is no straight power to {free:.3g}; take a longer window, or allow for it by bend=..."
    )
    return replace(verdict, outcome=Outcome.UNDECIDED, reason=reason, wants="training")


def _unbiased(verdict: Verdict, u: np.ndarray, curves: np.ndarray) -> Verdict:
    """HOLDS withheld where noise that changes along the curve biases the slopes of logarithms."""
    if verdict.outcome is not Outcome.HOLDS or len(curves) < 2:
        return verdict
    relative = np.var(curves, axis=0, ddof=1) / np.mean(curves, axis=0) ** 2
    bias = float(replica_slopes(u, -relative[None] / 2)[0])
    if abs(bias) <= verdict.margin / 4:
        return verdict
    reason = (
        f"noise that changes along the curve biases the slopes of logarithms by about {bias:.3g}, more than a quarter of "
        "the margin; judge of='mean curve'"
    )
    return replace(verdict, outcome=Outcome.UNDECIDED, reason=reason)


def _deterministic(blank: Verdict, u: np.ndarray, v: np.ndarray, low: float, high: float) -> Verdict:
    """Judge the range of the local slopes of one curve without sampling error."""
    order = np.argsort(u)
    local = np.diff(v[order]) / np.diff(u[order])
    interval = float(local.min()), float(local.max())
    outcome = decide(interval, low, high)
    worst = int(np.argmax(np.maximum(low - local, local - high)))
    reason = (
        ""
        if outcome is Outcome.HOLDS
        else (
            f"local slopes run from {interval[0]:.4g} to {interval[1]:.4g}; the one farthest off, {local[worst]:.4g}, is "
            f"between points {worst} and {worst + 1}"
        )
    )
    slope = float(replica_slopes(u, v[None])[0])
    return replace(
        blank,
        outcome=outcome,
        of="local slopes",
        measured=slope,
        interval=interval,
        n=u.size,
        unit="point",
        reason=reason,
        witness=_curve_witness(outcome, u[order], v[order]),
    )


def _every_slope(blank: Verdict, u: np.ndarray, logs: np.ndarray, straightness: float) -> Verdict:
    """Every replica's slope lies within the margin, and every replica's curve is straight."""
    slopes, p = replica_slopes(u, logs), blank.predicted
    _, inside = decide_every(slopes, p - blank.margin, p + blank.margin)
    inside &= np.abs(_bends(u, logs)) <= straightness
    blank = replace(
        blank,
        measured=float(slopes[np.argmax(np.abs(slopes - p))]),
        interval=(float(slopes.min()), float(slopes.max())),
    )
    decided = (Outcome.HOLDS if inside.all() else Outcome.REFUTED), inside
    return every_replica(blank, slopes, np.full(len(slopes), p), decided)


def _slopes_and_bends(u: np.ndarray, curves: np.ndarray, kind: str, of: str, error: float) -> tuple[Located, Located]:
    """Slope of log y on u, and by how much the slopes of the two halves differ from it, each with its interval."""
    if kind == "curve":
        return locate_on_mean_curve(replica_slopes, u, curves, error), locate_on_mean_curve(_bends, u, curves, error)
    logs = np.log(_positive("y", curves))
    return locate(replica_slopes(u, logs), of, error), locate(_bends(u, logs), of, error)


def locate_on_mean_curve(
    shape: Callable[[np.ndarray, np.ndarray], np.ndarray], u: np.ndarray, curves: np.ndarray, error: float
) -> Located:
    """A number read off log |mean curve|, such as its slope on u, with its jackknife interval over replicas.

    Undecidable unless the mean differs from zero, with one sign, at every point: elsewhere it has no logarithm.
    """
    nowhere = Located(math.nan, (-math.inf, math.inf))
    if len(curves) < 2:
        return replace(nowhere, trouble="one curve has no spread to judge by; use 8 or more")
    ends = np.array([guarded_mean_interval(point, 1 - error) for point in curves.T])
    sign = math.copysign(1, curves.mean(axis=0).sum())
    lost = np.flatnonzero((sign * ends).min(axis=1) <= 0)
    if lost.size:
        i = int(lost[-1])
        return replace(
            nowhere,
            trouble=f"the mean curve is not resolved from zero at point {i}, where it lies in "
            f"[{ends[i, 0]:.3g}, {ends[i, 1]:.3g}]; take more replicas or another window",
        )
    if np.all(np.ptp(curves, axis=0) == 0):
        return replace(nowhere, trouble="all curves are equal; pass one of them, of shape (points,), as deterministic")
    mean, n = curves.mean(axis=0), len(curves)
    without = mean + (mean - curves) / (n - 1)  # mean curves without one replica
    whole, *parts = shape(u, np.log(sign * np.vstack([mean, without])))
    return Located(float(whole), guarded_mean_interval(n * whole - (n - 1) * np.array(parts), 1 - error))


def _bends(u: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """c L / 2 of every row: c the quadratic coefficient in u, L the length of the window."""
    centred = (u - u.mean()) / np.ptp(u)
    design = np.stack([np.ones_like(centred), centred, centred**2], axis=1)
    return np.linalg.lstsq(design, logs.T, rcond=None)[0][2] / np.ptp(u) / 2


def _every_step(blank: Verdict, u: np.ndarray, curves: np.ndarray, low: float, error: float) -> Verdict:
    """Every step of the mean curve is steeper than ``low``: simultaneous intervals, each with its part of the error."""
    order = np.argsort(u)
    local = np.diff(curves[:, order], axis=1) / np.diff(u[order])  # (replica, step)
    ends = np.array([guarded_mean_interval(step, 1 - error / local.shape[1]) for step in local.T])
    worst = int(np.argmin(ends[:, 0]))
    interval = float(ends[:, 0].min()), float(ends[:, 1].min())
    if len(curves) < 2 or np.any(np.ptp(local, axis=0) == 0):
        interval = -math.inf, math.inf
    outcome = decide(interval, low, math.inf)
    reason = ""
    if outcome is not Outcome.HOLDS:
        reason = f"the slope of step {worst} lies in [{ends[worst, 0]:.3g}, {ends[worst, 1]:.3g}]"
    return replace(
        blank,
        outcome=outcome,
        measured=float(local.mean(axis=0).min()),
        interval=interval,
        reason=reason,
        witness=_curve_witness(outcome, u, curves),
    )


def _window(x: ArrayLike, at_least: int = 3) -> np.ndarray:
    u = finite_vector("x", x, at_least=at_least, axis="point")
    if np.unique(u).size != u.size:
        raise ValueError(f"x must hold different values, but {u.size - np.unique(u).size} of {u.size} repeat")
    return u


def _matching(curves: np.ndarray, u: np.ndarray, error: float | None) -> np.ndarray:
    if curves.ndim not in (1, 2) or curves.shape[-1] != u.size:
        raise ValueError(
            f"y must have shape (replica, {u.size}), or ({u.size},) for a deterministic curve, to match "
            f"x; got {curves.shape}"
        )
    if curves.ndim == 2 and error is None:
        raise ValueError(f"the claim's y is one deterministic curve, but its twin's has shape {curves.shape}")
    return curves


def _positive(name: str, values: np.ndarray) -> np.ndarray:
    bad = np.argwhere(values <= 0)
    if bad.size:
        where = ", ".join(map(str, bad[0]))
        raise ValueError(
            f"{name}[{where}] is {values[tuple(bad[0])]:.6g}, and a power law needs positive values; "
            "leave the point out, or judge of='mean curve'"
        )
    return values


def _curve_witness(outcome: Outcome, u: np.ndarray, curves: np.ndarray) -> dict | None:
    """The points of the mean curve, in the coordinates in which its slope was judged."""
    if outcome is not Outcome.REFUTED:
        return None
    return {"x": u.tolist(), "y": np.atleast_2d(curves).mean(axis=0).tolist()}
