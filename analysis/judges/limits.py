"""Does a quantity reach its limit, and at the claimed rate, as the size grows? The judge of limits."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from attnlab.analysis.judges.arguments import as_twin, margin
from attnlab.analysis.judges.frame import decide, judge, nothing_to_judge, out_of_reach, why
from attnlab.analysis.judges.rates import locate_on_mean_curve
from attnlab.analysis.judges.resolution import rival_distance
from attnlab.analysis.statistics.intervals import (
    finite_array,
    finite_vector,
    guarded_mean_interval,
    has_spread,
    replica_slopes,
)
from attnlab.analysis.verdicts.ledger import draw
from attnlab.analysis.verdicts.verdict import Outcome, Twin, Verdict


def converges(
    sizes: ArrayLike,
    gaps: ArrayLike,
    *,
    rate: float,
    within: float,
    floor: float = 0.5,
    twin: Twin | float,
    unit: str = "replica",
    confidence: float | None = None,
) -> Verdict:
    r"""The gap to the limit vanishes like size^(-rate) over growing sizes.

    Two statements, each with half of the error. The mean gap falls with the claimed rate (its log-log slope lies within
    ``within`` of -rate). And nothing is left at infinite size: fitting

    .. math:: gap(n) = g_\infty + C n^{-rate}

    (least squares, errors relative to n^(-rate)), the mean of :math:`g_\infty` over replicas is smaller in size than
    ``floor`` times the mean gap at the largest size. A gap that levels off at a value that is visible there is refuted.

    Args:
        sizes: shape (sizes,), positive, at least 3 different values.
        gaps: measured minus limit, signed (means of absolute values never vanish), shape (replica, sizes), replicas
            independent; or (sizes,) for a deterministic gap, where every slope between neighbouring sizes must lie
            within the margin, and REFUTED means that none does.
        rate: positive; within: its margin; floor: in (0, 1).
        twin: a rival rate, or ``Twin.of(label, ...)`` replacing ``rate``, ``gaps``, ``sizes``, ``within``. Gaps to a
            rival limit are ``Twin.of("another limit", gaps=...)``.

    UNDECIDED where the mean gap is not resolved from zero at some size: its rate has no meaning there.
    """
    arguments = {"sizes": sizes, "gaps": gaps, "rate": rate, "within": within}
    twin = as_twin("converges", twin, arguments, "rate")
    if not 0 < floor < 1:
        raise ValueError(f"floor must lie in (0, 1): the share of the last gap that may be left; got {floor!r}")
    error = None if np.ndim(gaps) == 1 else draw("converges", confidence)

    def check(sizes: ArrayLike, gaps: ArrayLike, rate: float, within: float) -> Verdict:
        n, g, r, w = *_ascending(sizes, gaps), margin("rate", rate), margin("within", within)
        blank = Verdict(
            Outcome.UNDECIDED, "limit", of="rate of the mean gap", predicted=r, margin=w, relation="in", unit=unit
        )
        if g.ndim == 1:
            return _deterministic(blank, n, g, floor)
        if error is None:
            raise ValueError(f"the claim's gaps are one deterministic curve, but its twin's have shape {g.shape}")
        blank = replace(blank, n=len(g), confidence=1 - error)
        if len(g) == 0:
            return nothing_to_judge(blank, unit)
        found = locate_on_mean_curve(_fall, np.log(n), g, error / 2)
        rest, last = _left_at_infinity(n, g, r), g[:, -1]
        sign = math.copysign(1, float(last.mean()))
        # |rest| <= floor |last| in the mean: two linear statements, each with a quarter of the error
        ends = [guarded_mean_interval(floor * sign * last + side * rest, 1 - error / 4) for side in (1, -1)]
        slack = min(low for low, _ in ends), min(high for _, high in ends)
        if len(g) < 2 or not has_spread(rest):
            slack = -math.inf, math.inf
        outcome = decide(found.interval, r - w, r + w)
        left = decide(slack, 0.0, math.inf)
        reason = why(outcome, found, len(g), r - w, r + w)
        if outcome is not Outcome.REFUTED and left is not Outcome.HOLDS:
            share = float(rest.mean() / last.mean())
            left_over = (
                f"extrapolated to infinite size {rest.mean():.3g} is left, {share:.3g} of the gap at size "
                f"{n[-1]:g}; to be within {floor:g} of it"
            )
            outcome, reason = left, "; ".join(filter(None, [left_over, reason]))
        measured = None if math.isnan(found.estimate) else found.estimate
        witness = {"sizes": n.tolist(), "mean_gaps": g.mean(axis=0).tolist()} if outcome is Outcome.REFUTED else None
        return replace(
            blank, outcome=outcome, measured=measured, interval=found.interval, reason=reason, witness=witness
        )

    verdict = judge(check, arguments, twin, vary=lambda e: {"rate": rate * (1 + e)})
    return out_of_reach(verdict, twin, rival_distance("rate", rate, twin), within)


def _deterministic(blank: Verdict, n: np.ndarray, g: np.ndarray, floor: float) -> Verdict:
    """One gap curve without sampling error: the range of its local rates, and what its last two points leave."""
    r, w = blank.predicted, blank.margin
    blank = replace(blank, of="local rates of the gap", n=n.size, unit="size")
    if np.any(g * g[-1] <= 0):
        return replace(blank, reason="the gap is zero or changes sign, so it has no rate in this window")
    local = -np.diff(np.log(np.abs(g))) / np.diff(np.log(n))
    interval = float(local.min()), float(local.max())
    outcome = decide(interval, r - w, r + w)
    rest = float(_left_at_infinity(n[-2:], g[None, -2:], r)[0])
    reason = "" if outcome is Outcome.HOLDS else f"local rates run from {interval[0]:.4g} to {interval[1]:.4g}"
    if outcome is Outcome.HOLDS and abs(rest) > floor * abs(g[-1]):
        outcome = Outcome.REFUTED
        reason = f"extrapolated from the last two sizes {rest:.3g} is left of the gap {g[-1]:.3g}"
    witness = {"sizes": n.tolist(), "gaps": g.tolist()} if outcome is Outcome.REFUTED else None
    return replace(
        blank,
        outcome=outcome,
        measured=float(_fall(np.log(n), np.log(np.abs(g))[None])[0]),
        interval=interval,
        reason=reason,
        witness=witness,
    )


def _left_at_infinity(n: np.ndarray, g: np.ndarray, rate: float) -> np.ndarray:
    r"""g_inf of every row: the slope of gap n^rate = C + g_inf n^rate on n^rate."""
    weight = (n / n[-1]) ** rate
    return replica_slopes(weight, g * weight)


def _fall(u: np.ndarray, logs: np.ndarray) -> np.ndarray:
    return -replica_slopes(u, logs)


def _ascending(sizes: ArrayLike, gaps: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    n, g = finite_vector("sizes", sizes, at_least=3, axis="size"), finite_array("gaps", gaps)
    if np.any(n <= 0) or np.unique(n).size != n.size:
        raise ValueError(f"sizes must be positive and different, got {n.tolist()}")
    if g.ndim not in (1, 2) or g.shape[-1] != n.size:
        raise ValueError(
            f"gaps must have shape (replica, {n.size}) to match sizes, or ({n.size},) if deterministic; got {g.shape}"
        )
    order = np.argsort(n)
    return n[order], g[..., order]
