r"""Geometric algebra attention: which tuples can tell a cloud from its mirror image.

Spellings 2021 (arXiv 2110.02393). Dot products and squared bivectors do not change under reflections: invariants of
order 2 give equal values for a cloud and its image, an accuracy of 1/2 on handedness. The trivector of three points
changes sign. The covariant of order 2, u_i x u_j, is a pseudovector: vector outputs of pairs turn with the wrong sign
under reflections.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_one_of


def tells_handedness(order: int) -> bool:
    """Whether scalar outputs of tuples of this order can differ between a cloud and its mirror image."""
    check_one_of(("2", "3"), order=str(order))
    return order == 3


def multiply_adds(sizes: Any, *, causal: bool = False, order: int = 2, width: int = 4) -> int:
    """Multiply-adds of one call: n^order tuples through one layer, a score, a vector weight and the values."""
    values = sizes.d_model - 3
    inner = {2: 2, 3: 4}[order] + order * values
    return sizes.n**order * width * (inner + 2 + values)
