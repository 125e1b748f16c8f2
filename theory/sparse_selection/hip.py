r"""Hierarchical pruning: an isolated needle is found four times as often as by chance, and no more.

Lee et al. 2024 (arXiv 2406.09827). The tree halves M = log2(n/2k) times. Scores independent but for one spike: its chunk survives
a halving with probability 1/2 unless the spike is the representative, which for centres happens at most once (a first key stays
first in its half, so versions with first keys find it more often):
:math:`\text{recall} = 2^{1-M} - 4^{-M} = 4 k/n - (2 k/n)^2`. Scores smooth over chunks are found well.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_count
from attnlab.theory.costs.visible import all_pairs


def needle_recall(n_keys: int, keep: int) -> float:
    """Probability that an isolated spike ends among the k kept keys, n = 2k times a power of 2, centres."""
    check_count(n_keys=n_keys, keep=keep)
    if 2 * keep >= n_keys:
        return 1.0
    return 4 * keep / n_keys - (2 * keep / n_keys) ** 2


def scores_per_query(n_keys: int, keep: int) -> int:
    """Scores that the published search computes per query, 2k (ceil(log2(n/2k)) + 1)."""
    check_count(n_keys=n_keys, keep=keep)
    stages = max(0, (-(-n_keys // (2 * keep)) - 1).bit_length())
    return 2 * keep * (stages + 1)


def multiply_adds(sizes: Any, *, causal: bool = False, keep: int = 2, representative: str = "centre") -> int:
    """Multiply-adds of this file: all scores once for the search, and a mask on the dense product."""
    return sizes.n_heads * sizes.queries * sizes.n * sizes.d + all_pairs(sizes)


def published_multiply_adds(sizes: Any, *, keep: int = 2, representative: str = "centre") -> int:
    """Multiply-adds of the search and of attention on what it finds, per single queries."""
    found = scores_per_query(sizes.n, keep) * sizes.d + min(keep, sizes.n) * (sizes.d + sizes.d_v)
    return sizes.n_heads * sizes.queries * found


def state_numbers(sizes: Any, *, keep: int = 2, representative: str = "centre") -> int:
    """Numbers per head that a decoder keeps: all keys and values."""
    return sizes.n * (sizes.d + sizes.d_v)
