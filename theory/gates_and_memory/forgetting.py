r"""Forget gates in softmax: the recurrence they are, their gradient, the slope of a constant gate, and the cost.

Lin et al. 2025 (arXiv 2503.02130) for the operator; the identities are derived.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.costs.token_projections import head_projections
from attnlab.theory.costs.visible import token_attention


def recurrent_weights(scores: ArrayLike, gates: ArrayLike) -> np.ndarray:
    r"""The weights (n, n) by their recurrence: at step i all old numerators are multiplied by f_i, then that of key i joins.

    .. math:: a_{ij} = f_i\, a_{i-1,j}\; \frac{e^{s_{ij}}}{e^{s_{i-1,j}}}, \qquad W_{ij} = a_{ij} / \sum_l a_{il} .

    The gate acts before the normaliser; after it, rows would no longer sum to 1.
    """
    s, f = np.asarray(scores, dtype=np.float64), np.asarray(gates, dtype=np.float64)
    n, kept = len(f), np.zeros(len(f))
    rows = np.zeros((n, n))
    for i in range(n):
        kept[:i] *= f[i]
        kept[i] = 1.0
        row = kept[: i + 1] * np.exp(s[i, : i + 1])
        rows[i, : i + 1] = row / row.sum()
    return rows


def log_gate_gradient(score_gradient: ArrayLike) -> np.ndarray:
    r"""Gradient in ln f from the gradient dS (n, n) of the scores: :math:`\partial_{\ln f_t} = \sum_{i \ge t > j} dS_{ij}`.

    Rows of dS sum to 0 (softmax), so it is the reversed running sum of minus the column sums: no second pass over pairs.
    """
    columns = np.asarray(score_gradient, dtype=np.float64).sum(0)
    return -np.cumsum(columns[::-1])[::-1]


def slope(gate: float) -> float:
    """Slope of the linear bias (ALiBi) that a constant gate f is, -ln f per token of distance."""
    if not 0 < gate <= 1:
        raise ValueError(f"gate={gate!r} must be positive and at most 1")
    return -math.log(gate)


def multiply_adds(sizes: Any, *, causal: bool = False) -> int:
    """Multiply-adds of one call: projections, a gate per head and token (n D H), attention on the past."""
    return head_projections(sizes) + sizes.n * sizes.d_model * sizes.n_heads + token_attention(sizes, True)


def state_numbers(sizes: Any) -> int:
    """Numbers that a decoder keeps for all heads: keys, values and running sums of ln f, H n (2 d + 1)."""
    return sizes.n_heads * sizes.n * (2 * sizes.d + 1)
