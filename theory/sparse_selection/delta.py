r"""Delta attention: when a correction from the last anchor helps.

Willette et al. 2025 (arXiv 2505.11254). With errors :math:`D_i = o_i - o^*_i` of the sparse method the corrected squared error is
:math:`\sum_i |D_i - D_{a(i)}|^2`, exactly; for stationary D it is :math:`2 (1 - \bar\rho)` times the uncorrected one,
rho-bar the mean uncentred autocorrelation over lags 0 to g - 1: better iff that exceeds 1/2.
"""

from __future__ import annotations

from typing import Any

import numpy as np


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
