r"""Delta attention: when a correction from the last anchor helps.

Willette et al. 2025 (arXiv 2505.11254). With errors :math:`D_i = o_i - o^*_i` of the sparse method the corrected squared error is
:math:`\sum_i |D_i - D_{a(i)}|^2`, exactly; for stationary D it is :math:`2 (1 - \bar\rho)` times the uncorrected one,
rho-bar the mean uncentred autocorrelation over lags 0 to g - 1: better iff that exceeds 1/2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_count, check_positive


def corrected_error_exact(errors: np.ndarray, gap: int) -> float:
    """Sum of squares after the correction, from the errors D (token, width) of the sparse method."""
    anchors = np.arange(len(errors)) // gap * gap
    return float(((errors - errors[anchors]) ** 2).sum())


def error_ratio(autocorrelation: np.ndarray) -> float:
    """Corrected over uncorrected squared error of a stationary error, from its autocorrelation at lags 0 to g - 1."""
    return 2 * (1 - float(np.mean(autocorrelation)))


def autoregressive_ratio(correlation: float, gap: int) -> float:
    """The same for errors of autocorrelation rho^lag."""
    return error_ratio(correlation ** np.arange(gap))


def recomputed_ratio_exact(gap: int) -> float:
    """Squared error left where only the anchors are replaced by full attention, stationary errors: 1 - 1/g."""
    check_count(gap=gap)
    return 1 - 1 / gap


def subset_autocorrelation_limit(correlation: ArrayLike, dim: int, score_std: float) -> np.ndarray:
    r"""Autocorrelation of the error of any fixed subset of many keys, Gaussian queries of correlation r per coordinate.

    .. math:: R(r) = \Big( \frac{1 - 2a}{(1 - a r)^2 - a^2} \Big)^{d/2}, \qquad a = s^2/d < \tfrac12 ;

    wide heads :math:`e^{-s^2 (1 - r)}`. Independent values see the rows of the map only. Over Gaussian keys
    :math:`\sum_j p_j p'_j \to e^{q \cdot q'/d}/n`, and the same over m keys for the subset, so the rows' error has the product
    :math:`e^{q \cdot q'/d} (1/m - 1/n)`: R is a ratio of Gaussian integrals and depends on neither m nor n. It is not r:
    at r = 0 about :math:`e^{-s^2}` is left, and where that is above 1/2 the correction helps at every gap.
    """
    check_count(dim=dim)
    check_positive(score_std=score_std)
    a = score_std**2 / dim
    if not a < 0.5:
        raise ValueError(
            f"score_std={score_std!r} must be below sqrt(dim / 2): the mean squared error is infinite beyond"
        )
    r = np.asarray(correlation, dtype=np.float64)
    return ((1 - 2 * a) / ((1 - a * r) ** 2 - a**2)) ** (dim / 2)


def subset_ratio_dropped_approx(correlation: ArrayLike, score_std: float, n_kept: int, n_keys: int) -> float:
    r"""Largest term of order 1/m that :func:`subset_autocorrelation_limit` drops of an error ratio, over the correlations r.

    A product of rows over m keys is off by the factor :math:`1 + c(\tau)/m`, :math:`\tau = s^2 r`,
    :math:`c = 2 (e^{s^2} - 1) + (e^\tau - 1) - 2 (e^{s^2 + \tau} - 1)` (delta method, log-normal weights). The ratio moves by
    :math:`2 \max |c(\tau) - c(s^2)| / m`, times n/(n - m) as products over all keys are smaller.
    """
    check_count(n_kept=n_kept, n_keys=n_keys)
    s2, tau = score_std**2, score_std**2 * np.asarray(correlation, dtype=np.float64)
    c = np.expm1(tau) - 2 * np.exp(s2 + tau)
    return float(2 * np.abs(c - math.expm1(s2) + 2 * math.exp(2 * s2)).max() / n_kept * n_keys / (n_keys - n_kept))


def multiply_adds(sizes: Any, *, causal: bool = False, window: int = 2, sinks: int = 1, gap: int = 3) -> int:
    """Multiply-adds of one call: visible pairs of window and sinks, and full rows at the anchors."""
    n, pairs = sizes.n, 0
    for i in range(n):
        low, high = max(0, i - window + 1), i if causal else min(n - 1, i + window - 1)
        pairs += high - low + 1 + min(sinks, low) + (0 if causal else max(0, min(sinks, n) - high - 1))
    pairs += sum(a + 1 if causal else n for a in range(0, n, gap))
    return sizes.n_heads * pairs * (sizes.d + sizes.d_v)


def state_numbers(sizes: Any, *, window: int = 2, sinks: int = 1, gap: int = 3) -> int:
    """Numbers per head that a decoder keeps: all keys and values for the anchors, and the last correction."""
    return sizes.n * (sizes.d + sizes.d_v) + sizes.d_v
