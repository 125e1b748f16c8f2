"""Confidence intervals that are right for the small numbers of replicas a simulation can afford.

Every function takes ``confidence`` in (0, 1), the probability that the two-sided interval covers, and returns
``(low, high)`` unless it says otherwise. Half of the error goes to each side. An end that the data cannot place is
infinite. Values must be finite: a NaN is an error that names the argument and the index, never a silent skip.

Which one to take: :func:`mean_interval` is exact for normal replicas and good for symmetric ones, but errs far more often
than stated on skewed ones, 60 times for 8 exponential values at an error of 1e-4 per side. :func:`guarded_mean_interval` is as
much wider as lognormal values of log-sd 1 need; it is what judges decide by. No interval for a mean can be right for
every distribution, [BahadurSavage1956]_; where the bounds of the values are known, :func:`bounded_mean_interval` is right
for all of them. :func:`quantile_interval`, :func:`clopper_pearson` and :func:`dkw_band` make
no assumption on the distribution and are never below their level.

References: [Student1908]_, [Welch1947]_, [ClopperPearson1934]_, [Massart1990]_ for the constant of the DKW band,
[BahadurSavage1956]_, [Hsu1938]_.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

EPS64 = float(np.finfo(np.float64).eps)

Interval = tuple[float, float]

FEW = 5  # values in the smaller of two groups, below which its share is hardly known
_GUARD_SIZES = (8, 16, 32, 64, 128)
_GUARD_ERRORS = (5e-3, 3e-5)  # a side
_GUARD = ((2.75, 2.3, 1.85, 1.55, 1.38), (3.25, 2.85, 2.35, 1.95, 1.7))
_GUARD_SMALL = 3.5  # below 8 values


def mean_interval(values: ArrayLike, confidence: float = 0.99) -> Interval:
    r"""Student's t interval of the mean.

    .. math:: \bar x \pm t_{n-1,\,1-\alpha/2}\, s / \sqrt n, \qquad \alpha = 1 - \text{confidence}.

    Exact if the values are independent and normal. Identical values give the point ``(x, x)``: such data say nothing
    about the spread (see :func:`has_spread`), and a judge must not decide on it. One value gives ``(-inf, inf)``.
    """
    x = finite_vector("values", values, at_least=1)
    centre, error = _mean_and_error(x)
    return _around(centre, error, x.size - 1, confidence)


def guarded_mean_interval(values: ArrayLike, confidence: float = 0.99, draws: int = 1) -> Interval:
    r"""The t interval of the mean, widened by :func:`skew_guard`: right within a factor of 2 for skewed values, too.

    Measured at n = 8 to 128 for normal, Student t3, exponential and lognormal (log-sd 1) values in
    ``docs/measured/judges_calibration.md``. Heavier tails, and modes that no value came from, can still deceive it. If each
    value is an average of ``draws`` independent ones, skewness is that of n ``draws`` values, and so is the guard.
    """
    x = finite_vector("values", values, at_least=1)
    centre, error = _mean_and_error(x)
    return _around(centre, error * skew_guard(x.size * draws, confidence), x.size - 1, confidence)


def guarded_mean_intervals(values: np.ndarray, confidence: float = 0.99, draws: int = 1) -> np.ndarray:
    """:func:`guarded_mean_interval` of every column of ``values`` (replica, column), as rows ``(low, high)``."""
    x = finite_array("values", values)
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"values must have shape (replica, column) with at least 2 replicas, got {x.shape}")
    alpha, n = _error(confidence), len(x)
    centre = x.mean(axis=0)
    error = np.std(x, axis=0, ddof=1) / math.sqrt(n)
    half = -float(special.stdtrit(n - 1, alpha / 2)) * skew_guard(n * draws, confidence) * error
    return np.stack([centre - half, centre + half], axis=1)


def skew_guard(n: int, confidence: float) -> float:
    r"""By how much a t interval of n values is widened so that lognormal values of log-sd 1 err as stated.

    The ratio of the quantiles of their t statistic to Student's, at errors of 5e-3 and 3e-5 per side (interpolated in the
    logarithm of the error), rounded up; beyond n = 128 its excess over 1 falls like :math:`n^{-1/2}`, as skewness does.
    """
    alpha = _error(confidence)
    if n < _GUARD_SIZES[0]:
        return _GUARD_SMALL
    at = np.array([np.interp(math.log(n), np.log(_GUARD_SIZES), row) for row in _GUARD])
    low, high = (math.log(error) for error in _GUARD_ERRORS)
    share = min(max((math.log(alpha / 2) - low) / (high - low), 0.0), 1.0)
    guard = float(at[0] + share * (at[1] - at[0]))
    return guard if n <= _GUARD_SIZES[-1] else 1 + (guard - 1) * math.sqrt(_GUARD_SIZES[-1] / n)


def two_groups(values: ArrayLike) -> tuple[int, float] | None:
    """How many values lie in the smaller of two groups, and how many times their spread apart; None if there is one group.

    Two groups are told by a gap of more than 9/10 of the range (for 8 exponential values that happens in 1 of 1,000 samples),
    and by fewer than :data:`FEW` values on one side of it: then the share of that group, and with it the mean, is hardly
    known. A mean over such values speaks of neither group.
    """
    x = np.sort(np.asarray(values, dtype=np.float64))
    gaps = np.diff(x)
    spread = float(x[-1] - x[0]) if x.size else 0.0
    if x.size < 4 or spread == 0:
        return None
    widest = int(np.argmax(gaps))
    if gaps[widest] <= 0.9 * spread:
        return None
    fewer, rest = min(widest + 1, x.size - widest - 1), spread - float(gaps[widest])
    if fewer >= FEW:
        return None
    return fewer, math.inf if rest == 0 else float(gaps[widest]) / rest


def paired_interval(smaller: ArrayLike, larger: ArrayLike, confidence: float = 0.99) -> Interval:
    """t interval of the mean of ``larger - smaller``, pair by pair (the same seeds, the same data)."""
    a = finite_vector("smaller", smaller, at_least=1)
    b = finite_vector("larger", larger, at_least=1)
    if a.size != b.size:
        raise ValueError(f"paired values need equal lengths, got {a.size} and {b.size}; use difference_interval")
    return mean_interval(b - a, confidence)


def difference_interval(smaller: ArrayLike, larger: ArrayLike, confidence: float = 0.99) -> Interval:
    r"""Welch's interval of the difference of two means, ``mean(larger) - mean(smaller)``, for independent samples.

    .. math:: \nu = \frac{(u + v)^2}{u^2/(n-1) + v^2/(m-1)}, \qquad u = s_x^2/n,\; v = s_y^2/m.

    With fewer than 8 values in a sample Welch's degrees of freedom err more often than stated; there the smaller of n - 1
    and m - 1 is taken, which never does on normal values ([Hsu1938]_).
    """
    a = finite_vector("smaller", smaller, at_least=1)
    b = finite_vector("larger", larger, at_least=1)
    (mean_a, error_a), (mean_b, error_b) = _mean_and_error(a), _mean_and_error(b)
    error = math.hypot(error_a, error_b)
    if not math.isfinite(error):
        return -math.inf, math.inf
    if error == 0:
        return mean_b - mean_a, mean_b - mean_a
    share_a, share_b = (error_a / error) ** 2, (error_b / error) ** 2
    dof = 1 / (share_a**2 / (a.size - 1) + share_b**2 / (b.size - 1))
    if min(a.size, b.size) < 8:
        dof = float(min(a.size, b.size) - 1)
    return _around(mean_b - mean_a, error, dof, confidence)


def clopper_pearson(successes: int, n: int, confidence: float = 0.99) -> Interval:
    r"""Exact interval of a probability from ``successes`` among ``n`` independent trials.

    .. math:: P(B(n, p_{low}) \ge k) = \alpha/2, \qquad P(B(n, p_{high}) \le k) = \alpha/2.

    Never covers less than its level. No trials give ``(0, 1)``.
    """
    alpha = _error(confidence)
    if int(n) != n or int(successes) != successes or not 0 <= successes <= n:
        raise ValueError(f"successes and n must be whole with 0 <= successes <= n, got {successes!r} of {n!r}")
    k, n = int(successes), int(n)
    low = 0.0 if k == 0 else float(special.betaincinv(k, n - k + 1, alpha / 2))
    high = 1.0 if k == n else float(1 - special.betaincinv(n - k, k + 1, alpha / 2))
    return low, high


def quantile_interval(values: ArrayLike, quantile: float, confidence: float = 0.99) -> Interval:
    r"""Distribution-free interval of a quantile, between two order statistics.

    With B binomial(n, q), the ends are :math:`x_{(l)}` with the largest l for which P(B < l) <= alpha/2 and
    :math:`x_{(u)}` with the smallest u for which P(B >= u) <= alpha/2; an end that n values cannot give is infinite.
    Ties and discrete values only make it cover more often. The median at confidence 0.99 needs n >= 8.
    """
    if not 0 < quantile < 1:
        raise ValueError(f"quantile must lie in (0, 1), got {quantile!r}")
    x = np.sort(finite_vector("values", values, at_least=1))
    alpha, ranks = _error(confidence), np.arange(x.size + 1)
    below = special.bdtr(ranks, x.size, quantile)  # P(B <= rank)
    lower = int(np.count_nonzero(below <= alpha / 2))  # P(B < l) <= alpha/2 for l = 0 (always) .. lower
    # P(B >= u) = P(B' <= n - u) for B' binomial(n, 1 - q): the same count seen from the other end
    above = special.bdtr(ranks, x.size, 1 - quantile)
    upper = x.size + 1 - int(np.count_nonzero(above <= alpha / 2))
    low = -math.inf if lower == 0 else float(x[lower - 1])
    high = math.inf if upper > x.size else float(x[upper - 1])
    return low, high


def median_interval(values: ArrayLike, confidence: float = 0.99) -> Interval:
    """The sign test turned into an interval of the median: :func:`quantile_interval` at one half."""
    return quantile_interval(values, 0.5, confidence)


def dkw_band(values: ArrayLike, confidence: float = 0.99) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Simultaneous band of the distribution function at the sorted values: ``(x, lower, upper)``, each of shape (n,).

    .. math:: \sup_x |F_n(x) - F(x)| \le \sqrt{\log(2/\alpha) / (2 n)} \quad\text{with probability at least } 1-\alpha.
    """
    x = np.sort(finite_vector("values", values, at_least=1))
    half = math.sqrt(math.log(2 / _error(confidence)) / (2 * x.size))
    empirical = np.searchsorted(x, x, side="right") / x.size
    return x, np.clip(empirical - half, 0, 1), np.clip(empirical + half, 0, 1)


def slope_interval(x: ArrayLike, y: ArrayLike, confidence: float = 0.99) -> Interval:
    """Interval of the least-squares slope of y on x.

    ``y`` of shape (replica, points): the t interval of the replicas' own slopes, right however the noise is correlated
    along a curve. ``y`` of shape (points,): the classical interval from the residuals, with points - 2 degrees of
    freedom, for independent noise of equal size at every point.
    """
    x, y = finite_vector("x", x, at_least=2, axis="point"), finite_array("y", y)
    slopes = replica_slopes(x, np.atleast_2d(y))
    if y.ndim == 2:
        return mean_interval(slopes, confidence)
    centred, slope = x - x.mean(), float(slopes[0])
    if x.size == 2:
        return -math.inf, math.inf
    residual = y - y.mean() - slope * centred
    error = float(np.linalg.norm(residual)) / math.sqrt(x.size - 2) / float(np.linalg.norm(centred))
    return _around(slope, error, x.size - 2, confidence)


def jackknife_interval(
    statistic: Callable[[np.ndarray], float], values: ArrayLike, confidence: float = 0.99
) -> Interval:
    r"""Jackknife t interval of a smooth statistic of the mean over replicas; ``values`` of shape (replica, ...).

    The pseudo-values :math:`n T - (n-1) T_{-i}` are treated as replicas of a mean. For the mean itself this is
    :func:`mean_interval`, exactly.
    """
    x = finite_array("values", values)
    if len(x) < 2:
        return -math.inf, math.inf
    whole, n = statistic(x), len(x)
    pseudo = [n * whole - (n - 1) * statistic(np.delete(x, i, axis=0)) for i in range(n)]
    return mean_interval(pseudo, confidence)


def replica_slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least-squares slope of every row of y, shape (replica, points), on x, shape (points,)."""
    if y.ndim != 2 or y.shape[1] != x.size:
        raise ValueError(f"y must have shape (replica, {x.size}) to match x, got {y.shape}")
    centred = x - x.mean()
    if not np.any(centred):
        raise ValueError("x needs at least two different values to have a slope")
    return (y - y.mean(axis=1, keepdims=True)) @ centred / (centred @ centred)


def has_spread(values: ArrayLike) -> bool:
    """Whether values differ by more than the rounding of their own computation (8 eps of the largest).

    Without spread a t interval is a point whatever n is, although all n values may have missed a rare other mode.
    """
    x = np.asarray(values, dtype=np.float64)
    return bool(x.size > 1 and np.ptp(x) > 8 * EPS64 * np.max(np.abs(x)))


def finite_vector(name: str, values: ArrayLike, at_least: int = 0, axis: str = "replica") -> np.ndarray:
    """``values`` as a float64 vector; an error names the first entry that is not finite."""
    x = finite_array(name, values, axis)
    if x.ndim != 1:
        raise ValueError(f"{name} must have shape (n,), got {x.shape}; reduce each replica to one number first")
    if x.size < at_least:
        raise ValueError(f"{name} needs at least {at_least} values, got {x.size}")
    return x


def unmasked(name: str, values: ArrayLike) -> np.ndarray:
    """``values`` as an array; ``ValueError`` where a mask hides some of them, since an array has none."""
    if np.ma.is_masked(values):
        raise ValueError(
            f"{name} is masked at {int(np.ma.count_masked(values))} of {np.ma.asarray(values).size} entries; pass "
            f"{name}.compressed() and state the rule that leaves them out"
        )
    return np.asarray(values)


def finite_mean(values: np.ndarray) -> float:
    """The mean of finite values of any size; their plain sum may overflow."""
    with np.errstate(over="ignore"):
        mean = float(np.mean(values))
    size = float(np.max(np.abs(values)))
    return mean if np.isfinite(mean) else float(np.mean(values / size)) * size


def finite_array(name: str, values: ArrayLike, axis: str = "replica") -> np.ndarray:
    """``values`` as a float64 array; an error names the first entry that is not finite, the first index by ``axis``."""
    x = unmasked(name, values)
    if x.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold real numbers, got dtype {x.dtype}")
    x = x.astype(np.float64)
    if not np.all(np.isfinite(x)):
        bad = np.argwhere(~np.isfinite(x))  # of shape (1, 0) for a single number
        index = tuple(int(i) for i in bad[0])
        if not index:
            raise ValueError(f"{name} is {x}; it must be finite")
        affected = f"({axis} {index[0]}; {len(np.unique(bad[:, 0]))} of {len(x)} {axis}s affected)"
        advice = (
            "leave diverged replicas out by a stated rule and claim their share, or mend the measurement"
            if axis == "replica"
            else "it must be finite"
        )
        raise ValueError(f"{name}[{', '.join(map(str, index))}] is {x[index]} {affected}; {advice}")
    return x


def _error(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence!r}")
    return 1 - confidence


def _mean_and_error(x: np.ndarray) -> tuple[float, float]:
    """Mean and its standard error; deviations are scaled first, so that neither tiny nor huge values are lost."""
    scale = float(np.max(np.abs(x)))
    if scale == 0:
        return 0.0, 0.0 if x.size > 1 else math.inf
    centre = float(np.mean(x / scale)) * scale
    if x.size < 2:
        return centre, math.inf
    deviation = x - centre
    width = float(np.max(np.abs(deviation)))
    if width == 0:
        return centre, 0.0
    return centre, width * math.sqrt(float(np.sum((deviation / width) ** 2)) / (x.size - 1) / x.size)


def _around(centre: float, error: float, dof: float, confidence: float) -> Interval:
    alpha = _error(confidence)
    if not math.isfinite(error):
        return -math.inf, math.inf
    half = -float(special.stdtrit(dof, alpha / 2)) * error
    return centre - half, centre + half
