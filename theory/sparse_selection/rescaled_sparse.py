r"""Rescaled sparse attention: its error after drift is an identity.

Chen et al. 2025 (arXiv 2505.22918). With the window's share of the normaliser R, outputs o_S in and o_D outside the
window, R_0 and o_D(0) remembered from the dense step,

.. math:: y_t - o_t = (R_0 - R_t)\,(o_S - o_D) + (1 - R_0)\,(o_D(0) - o_D(t)),

o_S, o_D at time t: small where what is outside the window is an average of many.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def error_exact(
    ratio_then: np.ndarray,
    ratio_now: np.ndarray,
    inside_now: np.ndarray,
    outside_now: np.ndarray,
    outside_then: np.ndarray,
) -> np.ndarray:
    """Output less full attention, (query, width), from R (query,) and outputs in and outside the window (query, width)."""
    moved = (ratio_then - ratio_now)[:, None] * (inside_now - outside_now)
    return moved + (1 - ratio_then)[:, None] * (outside_then - outside_now)


def squared_error_ratio_approx(correlation: float, score_std: float, outside: float, inside: float) -> float:
    r"""Squared error over that of the window alone, scores and values of autocorrelation r.

    :math:`2 (1 - C)\, \sum_D p^2/(\sum_D + \sum_S)`, :math:`C = r e^{(r - 1) s^2}`; ``outside``, ``inside`` are the
    sums of p^2 renormalised on either side.
    """
    kept = correlation * math.exp((correlation - 1) * score_std**2)
    return 2 * (1 - kept) * outside / (outside + inside)


def multiply_adds(sizes: Any, *, causal: bool = False, window: int = 1, n_max: int = 16) -> int:
    """Multiply-adds of a sparse step: visible pairs of the window."""
    pairs = sum(min(i, window) + min(sizes.n - 1 - i, window) + 1 for i in range(sizes.n))
    return sizes.n_heads * pairs * (sizes.d + sizes.d_v)


def state_numbers(sizes: Any, *, window: int = 1, n_max: int = 16) -> int:
    """Numbers per head that are remembered between steps: ratio and residual."""
    return sizes.n * (1 + sizes.d_v)
