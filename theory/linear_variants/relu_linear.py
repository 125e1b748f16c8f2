r"""Rectified linear attention of L2ViT: flatness that grows with the width, when its clamp acts, and its cost.

Unit Gaussian queries and keys before relu. Zheng et al. 2025 (arXiv 2501.16182) for the operator; the laws are derived from
:math:`\mathbb E z^+ = 1/\sqrt{2\pi}` and :math:`\mathbb E (z^+)^2 = 1/2`.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.checks import check_count
from attnlab.theory.costs.linear_form import two_products
from attnlab.theory.costs.token_projections import head_projections


def excess_participation(dim: int) -> float:
    r"""Limit of :math:`n\, \mathbb E P_{ij}^2 - 1` for many keys and wide heads, :math:`\pi (\pi - 1) / d`.

    Given q, the weight sum_c q_c^+ k_c^+ has mean :math:`\sum q^+ / \sqrt{2 \pi}` and variance
    :math:`(\tfrac12 - \tfrac1{2\pi}) \sum (q^+)^2`; with :math:`\sum (q^+)^2 / (\sum q^+)^2 \to \pi/d`. Softmax has
    :math:`e^{s^2} - 1` at every width.
    """
    check_count(dim=dim)
    return math.pi * (math.pi - 1) / dim


def clamp_acts_below(dim: int, clamp: float = 100.0) -> float:
    r"""Number of keys below which the normaliser, :math:`n d / (2 \pi)` on average, is clamped: :math:`2 \pi \cdot 100 / d`."""
    check_count(dim=dim)
    return 2 * math.pi * clamp / dim


def clamped_row_sum(n_keys: int, dim: int, clamp: float = 100.0) -> float:
    r"""Mean row sum over tau while the clamp acts, :math:`n d / (200 \pi)`: short sequences are scaled down."""
    check_count(n_keys=n_keys, dim=dim)
    return n_keys * dim / (2 * math.pi * clamp)


def receptive_field(kernel: int = 7) -> int:
    """Cells that the module's two kernels reach, (2 k - 1)^2."""
    check_count(kernel=kernel)
    return (2 * kernel - 1) ** 2


def multiply_adds(sizes: Any, *, causal: bool = False, clamp: float = 100.0, kernel: int = 7) -> int:
    """Multiply-adds of one call: projections, two products and the normaliser (n d) per head, two depthwise kernels."""
    core = two_products(sizes.n, sizes.n, sizes.d, sizes.d) + sizes.n * sizes.d
    return head_projections(sizes) + sizes.n_heads * core + 2 * kernel**2 * sizes.n * sizes.d_model
