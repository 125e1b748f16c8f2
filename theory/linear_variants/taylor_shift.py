r"""TaylorShift: how sharp a parabola can be, the temperature that retrieval needs, rank, state and cost.

Weights :math:`w(s) = 1 + s + s^2/2`. Nauen, Palacio and Dengel 2024 (arXiv 2403.02920) for the operator; the laws are derived.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.checks import check_count
from attnlab.theory.costs.linear_form import in_chunks, two_products


def largest_ratio_bound() -> float:
    r"""Largest :math:`w(s)/w(-s)`, :math:`(1 + \sqrt 2)^2 = 5.83`, reached at :math:`s = \sqrt 2`; softmax has e^{2s}."""
    return (1 + math.sqrt(2)) ** 2


def half_mass_temperature(n_keys: int) -> float:
    r"""Temperature at which one key of cosine 1 has half the weight among n - 1 of cosine 0: :math:`-1 + \sqrt{1 + 2 (n - 2)}`.

    From w(tau) = n - 1. It grows like :math:`\sqrt{2 n}`, softmax's like ln(n - 1).
    """
    check_count(n_keys=n_keys, at_least=2)
    return -1 + math.sqrt(1 + 2 * (n_keys - 2))


def n_features(dim: int) -> int:
    """Symmetric features of degree at most 2, (d+1)(d+2)/2; the published d^2 + d + 1 count each pair twice."""
    check_count(dim=dim)
    return (dim + 1) * (dim + 2) // 2


def rank(dim: int, n_tokens: int, unit_keys: bool = True) -> int:
    """Greatest rank of the map: the features, one less with unit keys, whose squares sum to the constant feature."""
    check_count(n_tokens=n_tokens)
    return min(n_tokens, n_features(dim) - bool(unit_keys))


def multiply_adds(
    sizes: Any, *, causal: bool = False, square: float = 0.5, linear: float = 1.0, constant: float = 1.0
) -> int:
    """Multiply-adds of one call for all heads: linear attention with symmetric features, values and a column of ones."""
    m, width = n_features(sizes.d), sizes.d_v + 1
    if causal:
        return sizes.n_heads * in_chunks(sizes.n, m, width)
    return sizes.n_heads * two_products(sizes.queries, sizes.n, m, width)


def published_multiply_adds(sizes: Any) -> int:
    """The same with the published features, H (n + n_q) (d^2 + d + 1) (d_v + 1); they switch to it from n = d^2 + d + 1 on."""
    return sizes.n_heads * two_products(sizes.queries, sizes.n, sizes.d**2 + sizes.d + 1, sizes.d_v + 1)


def state_numbers(sizes: Any, **numbers: Any) -> int:
    """Numbers per head of the state, (d+1)(d+2)/2 (d_v + 1)."""
    return n_features(sizes.d) * (sizes.d_v + 1)
