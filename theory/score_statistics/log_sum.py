r"""The log-sum-exp of n independent Gaussian scores, exactly, from flat rows through freezing; and of mixtures of clusters.

The law of :math:`\log \frac1n \sum_i e^{s z_i}` is that of the free energy of the random energy model [Derrida1981]_: its mean is
:math:`s^2 / 2` up to the freezing point :math:`s_c = \sqrt{2 \log n}`, beyond it :math:`s \sqrt{2 \log n} - \log n`
to leading order. Both
are limits; the functions here are for the n at hand.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from attnlab.theory.checks import check_count, check_positive

_Z = np.linspace(-9.5, 9.5, 761)  # P(|z| > 9.5) = 2e-21; the trapezoidal rule converges faster than any power there
_DENSITY = np.exp(-(_Z**2) / 2) / math.sqrt(2 * math.pi) * (_Z[1] - _Z[0])


def freezing_spread(n: int) -> float:
    r"""The spread from which on the largest of n scores carries the sum: :math:`s_c = \sqrt{2 \log n}`."""
    check_count(at_least=2, n=n)
    return math.sqrt(2 * math.log(n))


def mean_log_mean_exact(n: int, spread: float) -> float:
    r"""Mean of :math:`\log \frac1n \sum_i e^{s z_i}` over standard normal :math:`z_i`, for any n and s.

    .. math:: E \log X = \int_{-\infty}^\infty \big( e^{-e^u} - \varphi(u)^n \big)\, du, \qquad \varphi(u) = E\, e^{-e^{u + s z}}

    Why: :math:`\log x = \int_0^\infty (e^{-t} - e^{-t x})\, dt / t`, t = e^u, and the scores are independent. Cost: one rule of
    some 760 by 2,000 points.
    """
    return _mean_and_slope(n, spread)[0] - math.log(n)


def mean_entropy_exact(n: int, spread: float) -> float:
    r"""Mean entropy of the softmax row over n Gaussian scores, in nats, for any n and s.

    .. math:: H(s) = F(s) - s\, F'(s), \qquad F(s) = E \log \sum_i e^{s z_i}

    Why: :math:`H = \log Z - \sum_i p_i s z_i`, and :math:`\partial_s \log Z = \sum_i p_i z_i` in every row.
    """
    mean, slope = _mean_and_slope(n, spread)
    return mean - spread * slope


def mean_participation_exact(n: int, spread: float) -> float:
    r"""Mean of :math:`\sum_i p_i^2` over softmax rows of n Gaussian scores, for any n and s: :math:`1 - F'(s) / s`.

    Why: Gaussian integration by parts turns :math:`F'(s) = E \sum_i p_i z_i` into :math:`s\, E \sum_i p_i (1 - p_i)`.
    """
    return 1 - _mean_and_slope(n, spread)[1] / spread


def std_log_mean_bound(n: int, spread: float) -> float:
    r"""No row's log-sum-exp has a larger standard deviation: :math:`s \sqrt{E \sum_i p_i^2} = \sqrt{s^2 - s F'(s)}`,
    also when frozen.

    Why: its gradient in the standard normal scores is s p, and the variance is at most the mean square of that (Poincare).
    """
    return spread * math.sqrt(max(mean_participation_exact(n, spread), 0.0))


def mean_log_mean_limit(n: int, spread: float) -> float:
    r"""The limit of long rows: :math:`s^2 / 2` below :math:`s_c`, :math:`s \sqrt{2 \log n} - \log n` from there on."""
    check_positive(spread=spread)
    if spread <= freezing_spread(n):
        return spread**2 / 2
    return spread * freezing_spread(n) - math.log(n)


def std_log_mean_approx(n: int, spread: float) -> float:
    r"""Its standard deviation in one row while averages rule, :math:`\sqrt{(e^{s^2} - 1) / n}` to leading order."""
    check_count(n=n)
    check_positive(spread=spread)
    return math.sqrt(math.expm1(spread**2) / n)


def log_mean_of_clusters_exact(weights: Sequence[float], means: Sequence[float], variances: Sequence[float]) -> float:
    r"""The logarithm of the mean of :math:`e^s` over a mixture of Gaussians: :math:`\log \sum_g w_g\, e^{m_g + v_g / 2}`."""
    w, m, v = _mixture(weights, means, variances)
    exponents = np.log(w) + m + v / 2
    top = exponents.max()
    return float(top + np.log(np.exp(exponents - top).sum()))


def log_mean_of_pooled_clusters(
    weights: Sequence[float], means: Sequence[float], variances: Sequence[float], order: int = 2
) -> float:
    r"""The same from the pooled cumulants of the scores: :math:`\kappa_1 + \kappa_2 / 2`, up to :math:`\kappa_4 / 24`
    for ``order`` 4.

    One Gaussian for all clusters. It falls short when a rare cluster aligns with the query.
    """
    w, m, v = _mixture(weights, means, variances)
    if order not in (2, 3, 4):
        raise ValueError(f"order={order!r} must be 2, 3 or 4")
    mean = float(w @ m)
    d = m - mean
    second, third, fourth = w @ (d**2 + v), w @ (d**3 + 3 * d * v), w @ (d**4 + 6 * d**2 * v + 3 * v**2)
    cumulants = [mean, second, third, fourth - 3 * second**2]
    return float(sum(c / math.factorial(k + 1) for k, c in enumerate(cumulants[:order])))


def std_of_cluster_log_mean_approx(
    weights: Sequence[float], means: Sequence[float], variances: Sequence[float], n: int
) -> float:
    r"""Standard deviation of the log of the mean of :math:`e^s` over n keys, cluster sizes fixed at their shares, to
    leading order.

    .. math:: \frac1A \sqrt{\frac1n \sum_g w_g\, e^{2 m_g + v_g} (e^{v_g} - 1)}, \qquad A = \sum_g w_g\, e^{m_g + v_g / 2}
    """
    check_count(n=n)
    w, m, v = _mixture(weights, means, variances)
    mean = float(w @ np.exp(m + v / 2))
    return math.sqrt(float(w @ (np.exp(2 * m + v) * np.expm1(v))) / n) / mean


def decision_multiply_adds(dim: int, n_local: int) -> int:
    r"""Multiply-adds of one decision: :math:`d^2 + d` for v, d for m and :math:`|L|\, d` for the local scores; the
    length is not in it."""
    check_count(dim=dim, n_local=n_local)
    return dim**2 + 2 * dim + n_local * dim


def std_of_estimated_log_sum_approx(n_bulk: int, n_fit: int, spread: float) -> float:
    r"""Standard deviation of :math:`\log A_B` minus its estimate :math:`\log n_B + \hat m + \hat v / 2` from the
    moments of n_fit other keys.

    .. math:: \sqrt{\frac{e^{v} - 1}{n_B} + \frac{v}{n_{fit}} + \frac{v^2}{2\, n_{fit}}}, \qquad v = s^2

    The sum fluctuates, and so do the estimated mean and variance of the projected keys, which are independent for Gaussian ones.
    """
    check_count(n_bulk=n_bulk, n_fit=n_fit)
    check_positive(spread=spread)
    v = spread**2
    return math.sqrt(math.expm1(v) / n_bulk + v / n_fit + v**2 / (2 * n_fit))


def flip_rate_approx(error_std: float, half_width: float) -> float:
    r"""Share of decisions that a normal error flips if margins are uniform in :math:`[-w, w]`:
    :math:`\sqrt{2 / \pi}\, \sigma / (2 w)`.

    Why: a margin x flips with probability :math:`\Phi(-|x| / \sigma)`, whose integral over x is
    :math:`\sigma \sqrt{2 / \pi}`. For w above
    5 sigma what is cut off is below 1e-6 of it.
    """
    check_positive(error_std=error_std, half_width=half_width)
    if half_width < 5 * error_std:
        raise ValueError(f"half_width={half_width!r} must be at least 5 * error_std={error_std!r}")
    return math.sqrt(2 / math.pi) * error_std / (2 * half_width)


def flip_rate_std_approx(error_std: float, half_width: float, n_margins: int) -> float:
    r"""Standard deviation of one query's share of flipped decisions, of M margins: errors differ, and so do the margins.

    .. math:: \sqrt{\frac{\sigma^2 (1 - 2/\pi)}{4 w^2} + \frac{p (1 - p)}{M}}, \qquad p = \sqrt{2 / \pi}\, \sigma / (2 w)
    """
    check_count(n_margins=n_margins)
    rate = flip_rate_approx(error_std, half_width)
    return math.sqrt((error_std / (2 * half_width)) ** 2 * (1 - 2 / math.pi) + rate * (1 - rate) / n_margins)


@functools.lru_cache(maxsize=4096)
def _mean_and_slope(n: int, spread: float) -> tuple[float, float]:
    """Mean of the logarithm of the sum, and its derivative in the spread."""
    check_count(n=n)
    check_positive(spread=spread)
    low = -(math.log(n) + spread**2 / 2 + 9.5 * spread + 40)
    u = np.linspace(low, 12 + 9.5 * spread, int(16 * (12 + 9.5 * spread - low)) + 1)
    exponent = np.exp(np.minimum(u[:, None] + spread * _Z, 700.0))
    survival = np.exp(-exponent)
    phi = survival @ _DENSITY
    phi = np.where(exponent.max(1) < 1e-3, 1 + np.expm1(-exponent) @ _DENSITY, phi)
    slope = -(exponent * survival) @ (_DENSITY * _Z)
    with np.errstate(divide="ignore"):
        log_phi = np.where(phi > 0, np.log(np.maximum(phi, 1e-300)), -np.inf)
    powered = np.exp(n * log_phi)
    h = u[1] - u[0]
    mean = float(np.sum(np.exp(-np.exp(np.minimum(u, 700.0))) - powered) * h)
    return mean, float(-np.sum(n * np.where(phi > 0, powered / np.maximum(phi, 1e-300), 0.0) * slope) * h)


def _mixture(
    weights: Sequence[float], means: Sequence[float], variances: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    w, m, v = (np.asarray(each, dtype=np.float64) for each in (weights, means, variances))
    if not (w.shape == m.shape == v.shape and w.ndim == 1) or np.any(w <= 0) or not math.isclose(w.sum(), 1.0):
        raise ValueError(f"weights={weights!r} must be positive, sum to 1 and be as many as means and variances")
    if np.any(v < 0):
        raise ValueError(f"variances={variances!r} must be at least 0")
    return w, m, v
