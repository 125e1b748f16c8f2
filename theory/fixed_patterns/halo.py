r"""Blocked local attention with a halo: what it costs, and how it breaks translation.

Vaswani et al. 2021 (arXiv 2103.12731). Blocks of b cells per axis see b + 2 h cells. Averaged over the place of the query in
its block, a cell at offset r is visible with probability :math:`\min(1, (b + h - r)/b)` for :math:`0 \le r < b + h` (else 0):
a query at place p of the block sees r cells ahead iff :math:`p + r < b + h`. A window of 2 h + 1 would show it with 1 up to h.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_count
from attnlab.theory.costs.token_projections import head_projections


def visible_share(offset: int, block: int, halo: int) -> float:
    """Share of the queries of a block that see the cell ``offset`` cells to one side, on one axis, inside the grid."""
    check_count(block=block)
    check_count(at_least=0, halo=halo)
    return min(1.0, max(0.0, (block + halo - abs(offset)) / block))


def overhead(block: int, halo: int) -> float:
    """Keys read per query over those of disjoint blocks, (1 + 2h/b)^2, on a grid of two axes."""
    return (1 + 2 * halo / block) ** 2


def useful_share(block: int, halo: int) -> float:
    """Share of the gathered keys that the translation-invariant window of 2h + 1 would use."""
    return ((2 * halo + 1) / (block + 2 * halo)) ** 2


def left_edge(n_layers: int, block: int, halo: int) -> int:
    """Farthest cell to the left of a block's first cell that a stack sees, h + (L - 1) b, for 0 < h <= b."""
    if not 0 < halo <= block:
        raise ValueError(f"halo={halo!r} must be between 1 and block={block!r}")
    return halo + (n_layers - 1) * block


def visible_pairs(shape: tuple[int, int], block: int, halo: int) -> int:
    """Pairs that see each other on a grid, halos cut at the borders."""
    count = 1
    for n in shape:
        starts = range(0, n, block)
        count *= sum((min(s + block, n) - s) * (min(s + block + halo, n) - max(s - halo, 0)) for s in starts)
    return count


def multiply_adds(sizes: Any, *, causal: bool = False, block: int = 2, halo: int = 1) -> int:
    """Multiply-adds of one call: four projections and 2 d per visible pair and head."""
    return head_projections(sizes) + 2 * sizes.d * sizes.n_heads * visible_pairs(sizes.shape, block, halo)
