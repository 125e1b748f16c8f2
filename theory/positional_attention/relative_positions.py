r"""Relative position representations: beyond the table only dilution is left.

Shaw, Uszkoreit and Vaswani 2018 (arXiv 1803.02155). Offsets beyond m share one vector, so the order of far keys is
invisible within a layer. A bonus b on the k near keys holds :math:`k e^b/(k e^b + n - k)` of the mass at equal scores:
half of it at :math:`n^* = k (1 + e^b)`, however long the training sequences were.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.checks import check_count
from attnlab.theory.costs.visible import visible_pairs


def near_mass(n_near: int, bonus: float, n_keys: int) -> float:
    """Mass on k near keys with a score bonus b among n keys of equal score otherwise."""
    check_count(n_near=n_near, n_keys=n_keys)
    near = min(n_near, n_keys)
    return 1 / (1 + (n_keys - near) / near * math.exp(-bonus))


def half_length(n_near: int, bonus: float) -> float:
    """Length at which the near keys hold half of the mass, k (1 + e^b)."""
    return n_near * (1 + math.exp(bonus))


def multiply_adds(sizes: Any, *, causal: bool = False, farthest: int = 2, values_too: bool = False) -> int:
    """Multiply-adds of one call: attention, queries against the table, and with values the sums per offset on theirs."""
    table = 2 * farthest + 1
    width = sizes.d + sizes.d_v
    if values_too:  # explicit weights, hidden pairs too
        return sizes.n_heads * sizes.queries * (sizes.n + table) * width
    pairs = visible_pairs(sizes.queries, sizes.n, causal)
    return sizes.n_heads * (pairs * width + sizes.queries * table * sizes.d)


def state_numbers(sizes: Any, *, farthest: int = 2, values_too: bool = False) -> int:
    """Numbers per head that a decoder keeps: keys and values."""
    return sizes.n * (sizes.d + sizes.d_v)
