r"""Large kernels: a fixed map, and the share of its entries that a border leaves.

Li et al. 2024 (arXiv 2401.05738). A kernel of half width r on an H x H grid has the non-zero share
:math:`[(H (2 r + 1) - r (r + 1))/H^2]^2` for r < H: per axis the cells within r, cut at both borders. From r = H - 1
on all see all.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_count
from attnlab.theory.costs.token_projections import head_projections


def visible_share(side: int, half: int) -> float:
    """Share of non-zero entries of the map, half width r of the kernel, square grid."""
    check_count(side=side)
    check_count(at_least=0, half=half)
    r = min(half, side - 1)
    return ((side * (2 * r + 1) - r * (r + 1)) / side**2) ** 2


def multiply_adds(sizes: Any, *, causal: bool = False, size: int = 3) -> int:
    """Multiply-adds of one call: values and output, k^2 per token and channel, padding included."""
    return head_projections(sizes, 2) + sizes.n_heads * sizes.d * sizes.n * size**2
