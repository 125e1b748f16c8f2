r"""Confidence sequences: intervals for a mean that are right at all sample sizes at once, however often one looks.

``P(some n: mean outside the interval at n) <= 1 - confidence``. So replicas may be added until the interval decides.

- Values known to lie in [low, high]: hedged betting. For a candidate mean m, a gambler bets on and against m;
  the wealth is a non-negative martingale if m is the mean, so it reaches 1 / error with probability at most error (Ville).
- The same by a closed form (empirical Bernstein), wider, for plots and long runs.
- Values without bounds (a replica's loss): mixture of t statistics, exact for independent Gaussian values with unknown
  mean and variance; :func:`mean_sequence` widens it by the guard of fixed-size means, as skewed values need. The mixture
  puts a N(0, 1/c^2) prior on mean/sd, and

  .. math:: |\bar x_n - m|^2 < \hat\sigma_n^2 \frac{1 - q}{q - c^2 / (n + c^2)}, \quad
     q = \left(\frac{\alpha^2 c^2}{n + c^2}\right)^{1/n},

  with sigma_n^2 the biased variance; the interval is the whole line while q is too small (the first few values).

References: I. Waudby-Smith, A. Ramdas, Estimating means of bounded random variables by betting, JRSS B 86 (2024),
Theorems 2 and 3; H. Wang, A. Ramdas, Anytime-valid t-tests and confidence sequences for Gaussian means with unknown
variance, Sequential Analysis 44 (2025).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from attnlab.analysis.statistics.intervals import Interval, finite_vector, skew_guard

GRID = 1000  # candidate means of the betting sequence
BET = 0.5  # the gambler risks at most this share of what a candidate mean allows
PRIOR_PRECISION = 1.0  # c^2 of the Gaussian sequence: effects of the size of one sd are expected

Sequence = tuple[np.ndarray, np.ndarray]


def mean_sequence(
    values: ArrayLike, confidence: float = 0.99, low: float | None = None, high: float | None = None
) -> Sequence:
    """Lower and upper ends after each value: betting if the values have known bounds, the t mixture if not.

    Give both ``low`` and ``high`` or none. The ends only ever narrow (intersection over all looks so far).
    """
    if (low is None) != (high is None):
        raise ValueError(f"give both low and high, or none; got low={low!r}, high={high!r}")
    if low is None:
        lower, upper = _guarded(gaussian_sequence(values, confidence), confidence)
    else:
        lower, upper = betting_sequence(values, low, high, confidence)
    return np.maximum.accumulate(lower), np.minimum.accumulate(upper)


def bounded_mean_interval(values: ArrayLike, low: float, high: float, confidence: float = 0.99) -> Interval:
    """Interval of the mean of values in [low, high], right for every distribution: the last of :func:`betting_sequence`.

    Empty, with its ends exchanged, where no mean fits all values.
    """
    lower, upper = mean_sequence(values, confidence, low, high)
    return float(lower[-1]), float(upper[-1])


def _guarded(ends: Sequence, confidence: float) -> Sequence:
    """The ends moved away from their middle by the guard for skewed values at each size."""
    lower, upper = ends
    guard = np.array([skew_guard(n, confidence) for n in range(1, lower.size + 1)])
    with np.errstate(invalid="ignore"):
        middle, half = (lower + upper) / 2, guard * (upper - lower) / 2
        finite = np.isfinite(half)
        return np.where(finite, middle - half, -np.inf), np.where(finite, middle + half, np.inf)


def betting_sequence(values: ArrayLike, low: float, high: float, confidence: float = 0.99) -> Sequence:
    """Hedged-capital sequence for independent values (or a martingale difference around one mean) in [low, high].

    Candidate means are 1001 grid points; the ends are widened by one grid step, so the grid costs no coverage. Once every
    candidate is rejected the interval is empty, its lower end above the upper: the values are not from one law.
    """
    x, error = _scaled(values, low, high, confidence)
    m = np.linspace(0, 1, GRID + 1)
    bets = _bets(x, error)
    up = np.minimum(bets[:, None], BET / np.maximum(m, 1e-12))  # (n, grid): 1 + bet (x - m) stays above 1 - BET
    down = np.minimum(bets[:, None], BET / np.maximum(1 - m, 1e-12))
    gain = np.cumsum(np.log1p(up * (x[:, None] - m)), axis=0)
    loss = np.cumsum(np.log1p(-down * (x[:, None] - m)), axis=0)
    alive = np.maximum(gain, loss) + math.log(0.5) < math.log(1 / error)
    alive = np.logical_and.accumulate(alive, axis=0)
    first, last = alive.argmax(axis=1), GRID - alive[:, ::-1].argmax(axis=1)
    lower, upper = m[np.maximum(first - 1, 0)], m[np.minimum(last + 1, GRID)]
    lower, upper = low + (high - low) * lower, low + (high - low) * upper
    none = ~alive.any(axis=1)
    return np.where(none, high, lower), np.where(none, low, upper)  # no candidate is left: empty, the ends exchanged


def empirical_bernstein_sequence(values: ArrayLike, low: float, high: float, confidence: float = 0.99) -> Sequence:
    """Predictable plug-in empirical Bernstein sequence for values in [low, high]."""
    x, error = _scaled(values, low, high, confidence)
    bets = np.minimum(_bets(x, error), BET)
    total = np.cumsum(bets)
    before = np.concatenate([[0.5], _running_mean(x)[:-1]])
    spread = 4 * (x - before) ** 2 * (-np.log1p(-bets) - bets) / 4
    centre = np.cumsum(bets * x) / total
    half = (math.log(2 / error) + np.cumsum(spread)) / total
    lower, upper = np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
    return low + (high - low) * lower, low + (high - low) * upper


def gaussian_sequence(
    values: ArrayLike, confidence: float = 0.99, prior_precision: float = PRIOR_PRECISION
) -> Sequence:
    """The t-mixture sequence for values without bounds; exact for independent Gaussian values of any variance."""
    x = finite_vector("values", values, at_least=1)
    error = _error(confidence)
    if not 0 < prior_precision < math.inf:
        raise ValueError(f"prior_precision must be positive and finite, got {prior_precision!r}")
    n = np.arange(1, x.size + 1)
    shift = x[0]  # sums around the first value lose fewer digits
    mean = np.cumsum(x - shift) / n
    variance = np.maximum(np.cumsum((x - shift) ** 2) / n - mean**2, 0)
    q = np.exp((math.log(error**2 * prior_precision) - np.log(n + prior_precision)) / n)
    room = q - prior_precision / (n + prior_precision)
    with np.errstate(divide="ignore", invalid="ignore"):
        half = np.where((room > 0) & (n > 1), np.sqrt(variance * (1 - q) / room), np.inf)
    return shift + mean - half, shift + mean + half


def _scaled(values: ArrayLike, low: float, high: float, confidence: float) -> tuple[np.ndarray, float]:
    x = finite_vector("values", values, at_least=1)
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"low={low!r} and high={high!r} must be finite with low < high")
    if x.min() < low or x.max() > high:
        raise ValueError(
            f"values reach [{x.min():.6g}, {x.max():.6g}], outside [low, high]=[{low}, {high}]; widen them"
        )
    return (x - low) / (high - low), _error(confidence)


def _error(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence!r}")
    return 1 - confidence


def _running_mean(x: np.ndarray) -> np.ndarray:
    return (0.5 + np.cumsum(x)) / (np.arange(x.size) + 2)


def _bets(x: np.ndarray, error: float) -> np.ndarray:
    """The size of each bet from the values before it: about sqrt(2 ln(2/error) / (variance t ln t))."""
    t = np.arange(1, x.size + 1)
    variance = (0.25 + np.cumsum((x - _running_mean(x)) ** 2)) / (t + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    return np.sqrt(2 * math.log(2 / error) / (before * t * np.log1p(t)))
