r"""Pooled keys and values: how much of the heads a pool keeps, and its cost.

Values of head h: :math:`V_h = c_h V_0` plus noise of standard deviation e, V_0 of size 1. Chinnakonduru and Mohapatra 2024
(arXiv 2407.10855) for the operator; the laws are derived.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_count, check_standard_deviation
from attnlab.theory.costs.visible import token_attention


def lost_by_the_mean(amplitudes: ArrayLike, noise_std: float) -> float:
    r"""Share of the values' energy that replacing every head by the mean loses, W_O as it was.

    .. math:: 1 - \frac{(\sum c)^2 / H + e^2}{\sum c^2 + H e^2} :

    the mean keeps only what the heads share with equal signs.
    """
    c, e2 = _checked(amplitudes, noise_std)
    H = len(c)
    return 1 - (c.sum() ** 2 / H + e2) / ((c**2).sum() + H * e2)


def captured_by_the_best_pool(amplitudes: ArrayLike, noise_std: float) -> float:
    r"""Share that the best single head captures when W_O may adapt, :math:`(\sum c^2 + e^2)/(\sum c^2 + H e^2)`, weights as c."""
    c, e2 = _checked(amplitudes, noise_std)
    return ((c**2).sum() + e2) / ((c**2).sum() + len(c) * e2)


def captured_by_the_mean(amplitudes: ArrayLike, noise_std: float) -> float:
    r"""Share that the mean captures when W_O may adapt, C = sum c:

    .. math:: \frac{\sum_h (c_h C + e^2)^2}{(C^2 + H e^2)\,(\sum c^2 + H e^2)} .

    The projection of each head on the mean. Near the best pool unless C^2 is small against H e^2.
    """
    c, e2 = _checked(amplitudes, noise_std)
    C, H = c.sum(), len(c)
    return ((c * C + e2) ** 2).sum() / ((C**2 + H * e2) * ((c**2).sum() + H * e2))


def pooled_score_correlation(per_group: int, correlation: float) -> float:
    r"""Correlation of a head's scores with those by the pooled key of its group, :math:`\sqrt{(1 + (m - 1) r)/m}`."""
    check_count(per_group=per_group)
    return math.sqrt((1 + (per_group - 1) * correlation) / per_group)


def multiply_adds(sizes: Any, *, causal: bool = False, n_groups: int = 1) -> int:
    """Multiply-adds of one call: queries and outputs of H heads, keys and values of G groups, attention of H heads."""
    projections = 2 * (sizes.n_heads + n_groups) * sizes.n * sizes.d_model * sizes.d
    return projections + token_attention(sizes, causal)


def state_numbers(sizes: Any, *, n_groups: int = 1) -> int:
    """Numbers that a decoder keeps: keys and values of the groups, 2 n G d."""
    return 2 * sizes.n * n_groups * sizes.d


def _checked(amplitudes: ArrayLike, noise_std: float) -> tuple[np.ndarray, float]:
    c = np.asarray(amplitudes, dtype=np.float64)
    check_standard_deviation(noise_std=noise_std)
    if c.ndim != 1 or not c.any():
        raise ValueError(f"amplitudes={amplitudes!r} must be a vector that is not zero")
    return c, noise_std**2
