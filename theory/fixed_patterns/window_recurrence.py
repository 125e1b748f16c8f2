r"""Recurrent attention network: a cell of d numbers is all that a later window knows of an earlier one.

Li et al. 2023 (arXiv 2306.06843). The Jacobian of any later window with respect to an earlier one factors through the cell,
which is standardised (mean and scale removed): its rank is at most D - 2. The review adds paths through the same cells, so it
raises the size of the Jacobian and not its rank.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_count


def memory_rank_bound(width: int) -> int:
    """Rank of the Jacobian of a later window with respect to an earlier one, at most D - 2."""
    check_count(at_least=2, width=width)
    return width - 2


def multiply_adds(sizes: Any, *, causal: bool = False, window: int = 2, review: bool = True) -> int:
    """Multiply-adds of one call: per window projections, two gated units and attention on W + 1 tokens; then the review.

    Projections 3 (W + 1) D^2, gates 2 (W + 1) D^2 and 2 D^2 for the cell, 2 D per visible pair of the window.
    """
    D = sizes.d_model
    lengths = [min(window, sizes.n - start) for start in range(0, sizes.n, window)]
    total = 0
    for length in lengths:
        pairs = (length + 1) + length * (length + 3) // 2 if causal else (length + 1) ** 2
        total += 5 * (length + 1) * D * D + 2 * D * D + 2 * D * pairs
    if review:
        cells = len(lengths)
        seen = sum(place * length for place, length in enumerate(lengths)) if causal else sizes.n * cells
        total += 2 * D * seen
    return total


def state_numbers(sizes: Any, *, window: int = 2, review: bool = True) -> int:
    """Numbers per head that a decoder keeps: cell, the window's keys and values, and for the review all cells, over H heads."""
    cells = -(-sizes.n // window) if review else 0
    return (2 + cells) * sizes.d + 2 * window * sizes.d
