r"""Graph-isomorphic attention: a mean cannot count, whatever network follows.

Buehler 2025 (arXiv 2501.02393). A row-stochastic map gives the same output for the tokens {x} and for m copies of
each: no function after it tells them apart. A sum of unnormalised weights is exactly m times as large; a norm right
after takes that away again unless the token itself stands beside it.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_one_of
from attnlab.theory.costs.visible import visible_pairs


def growth_under_copies(adjacency: str, copies: int) -> float:
    """What gathers m copies of every key over what gathers one: 1 for a softmax, m for a sum."""
    check_one_of(("softmax", "sigmoid"), adjacency=adjacency)
    return 1.0 if adjacency == "softmax" else float(copies)


def multiply_adds(
    sizes: Any, *, causal: bool = False, adjacency: str = "softmax", expansion: int = 2, epsilon: float = 0.0
) -> int:
    """Multiply-adds of one call: attention (hidden pairs too for a sum), and two layers per head and token."""
    pairs = visible_pairs(sizes.queries, sizes.n, causal) if adjacency == "softmax" else sizes.queries * sizes.n
    network = 2 * expansion * sizes.queries * sizes.d_v**2
    return sizes.n_heads * (pairs * (sizes.d + sizes.d_v) + network)


def state_numbers(sizes: Any, *, adjacency: str = "softmax", expansion: int = 2, epsilon: float = 0.0) -> int:
    """Numbers per head that a decoder keeps: keys and values."""
    return sizes.n * (sizes.d + sizes.d_v)
