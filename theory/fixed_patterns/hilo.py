r"""HiLo attention: what its two branches let through, and its cheapest window.

Pan, Cai and Zhuang 2022 (arXiv 2205.13213). The low branch sees keys and values through means over s x s cells, the box filter
:math:`|H(w)| = |\sin(w s/2)/(s \sin(w/2))|` per axis: zero at the Nyquist frequency for s = 2. The high branch is not a high
pass by construction: with uniform weights its output is the window's mean. For independent values of variance 1 the energy
of an output off the mean of its window of m cells is :math:`\mathbb E \sum_j p_j^2 - 1/m` (:func:`energy_off_the_mean`).
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.checks import check_count, check_positive
from attnlab.theory.costs.token_projections import head_projections


def box_filter(frequency: float, window: int) -> float:
    """Gain of the mean over ``window`` cells for a wave of ``frequency`` radians per cell, |sin(ws/2)/(s sin(w/2))|."""
    half = math.sin(frequency / 2)
    return 1.0 if half == 0 else abs(math.sin(frequency * window / 2) / (window * half))


def energy_off_the_mean(participation: float, cells: int) -> float:
    r"""Mean square of an output less its window's mean value, :math:`\mathbb E \sum_j p_j^2 - 1/m`, for independent values.

    :math:`\sum_j (p_j - 1/m)^2 = \sum_j p_j^2 - 1/m`. The energy off the mean of the window's *outputs* is 1 - 1/m times that if
    the weights of its cells are independent. ``participation`` is the mean of :math:`\sum_j p_j^2`.
    """
    check_count(cells=cells)
    return participation - 1 / cells


def cheapest_window(n_tokens: int, low_share: float) -> float:
    r"""Window with the fewest multiply-adds of attention, :math:`(\alpha n/(1 - \alpha))^{1/4}`."""
    check_positive(n_tokens=n_tokens, low_share=low_share)
    return (low_share * n_tokens / (1 - low_share)) ** 0.25


def attention_per_token(n_tokens: int, low_share: float, window: float) -> float:
    """Multiply-adds of attention per token over the width of the model: 2 (1 - a) s^2 + 2 a n/s^2."""
    return 2 * (1 - low_share) * window**2 + 2 * low_share * n_tokens / window**2


def multiply_adds(sizes: Any, *, causal: bool = False, window: int = 2, low_share: float = 0.5) -> int:
    """Multiply-adds of one call: high heads in their windows, low heads on the pooled grid."""
    low = int(low_share * sizes.n_heads + 0.5)
    high = sizes.n_heads - low
    rows, columns = sizes.shape
    cells = -(-rows // window) * -(-columns // window)
    own = 1
    for n in (rows, columns):
        own *= sum(min(window, n - start) ** 2 for start in range(0, n, window))
    attention = 2 * sizes.d * (high * own + low * sizes.n * cells)
    pooled = 2 * low * (sizes.n - cells) * sizes.d_model * sizes.d  # keys and values of cells, not of tokens
    return head_projections(sizes) - pooled + attention
