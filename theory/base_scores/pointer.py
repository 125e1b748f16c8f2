r"""Pointer networks: how sure bounded scores can be, and what pointing costs.

Vinyals, Fortunato and Jaitly 2015 (arXiv 1506.03134) for the operator; the bound is derived.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.base_scores.luong import additive_scores
from attnlab.theory.checks import check_count, check_not_negative
from attnlab.theory.costs.visible import all_pairs


def largest_weight_bound(n_keys: int, readout_norm: float) -> float:
    r"""Supremum of a weight, :math:`1 / (1 + (n-1)\, e^{-2 \|v\|_1})`, with the l1 norm of the read-out v.

    \|u_j\| < \|v\|_1 as tanh stays below 1, so the largest logit is less than 2 \|v\|_1 above the others: approached, never
    reached. With logits clipped at C tanh(u), C stands in place of \|v\|_1.
    """
    check_count(n_keys=n_keys)
    check_not_negative(readout_norm=readout_norm)
    return 1 / (1 + (n_keys - 1) * math.exp(-2 * readout_norm))


def smallest_loss_bound(n_keys: int, readout_norm: float) -> float:
    r"""Infimum of the loss of one choice, :math:`\ln(1 + (n-1)\, e^{-2 \|v\|_1})`: it grows like ln n, whatever the accuracy."""
    return -math.log(largest_weight_bound(n_keys, readout_norm))


def longest_list_with_confidence_half(readout_norm: float) -> float:
    r"""Length :math:`n^* = 1 + e^{2 \|v\|_1}` beyond which no weight exceeds 1/2."""
    check_not_negative(readout_norm=readout_norm)
    return 1 + math.exp(2 * readout_norm)


def multiply_adds(
    sizes: Any, *, causal: bool = False, n_glimpses: int = 1, clip: float | None = None, hidden: int = 8
) -> int:
    """Multiply-adds of one call for all heads: scores for each glimpse and the choice; a glimpse reads d numbers, and W d^2."""
    per_glimpse = additive_scores(sizes, hidden)
    per_glimpse += sizes.n_heads * sizes.queries * (sizes.n * sizes.d + sizes.d**2)
    choice = additive_scores(sizes, hidden) + all_pairs(sizes) - sizes.n_heads * sizes.queries * sizes.n * sizes.d
    return n_glimpses * per_glimpse + choice
