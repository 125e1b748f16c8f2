r"""Fastmax on random scores: how sharp a polynomial can be, its rank, state and cost.

Gerami et al. 2024 (arXiv 2402.07901) for the operator; the laws are derived from Gaussian moments.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.checks import check_count, check_positive
from attnlab.theory.costs.linear_form import in_chunks, two_products


def participation(score_std: float) -> float:
    r"""Limit of :math:`n\, \mathbb E \sum_j P_j^2` at order 2 for Gaussian scores of spread s and many keys.

    .. math:: \frac{1 + 2 s^2 + \tfrac34 s^4}{(1 + \tfrac12 s^2)^2} \;\to\; 3 \quad (s \to \infty) :

    at least n/3 keys count, however large the scores; softmax has e^{s^2}.
    """
    check_positive(score_std=score_std)
    s2 = score_std**2
    return (1 + 2 * s2 + 0.75 * s2**2) / (1 + s2 / 2) ** 2


def participation_bound() -> float:
    """Its supremum, 3: the fourth moment over the squared second."""
    return 3.0


def smallest_weight() -> float:
    r"""Least value of the order-2 polynomial, 1/2 at s = -1: :math:`f_2(s) = ((1 + s)^2 + 1)/2`."""
    return 0.5


def n_features(dim: int, order: int) -> int:
    """Monomials of degree at most p in d variables, C(d + p, p)."""
    check_count(dim=dim, order=order)
    return math.comb(dim + order, order)


def rank(dim: int, n_tokens: int, standardised: bool = True) -> int:
    """Greatest rank of the order-2 map, d(d+1)/2 - 1 after standardising: d - 1 free channels, on a sphere."""
    check_count(dim=dim, n_tokens=n_tokens)
    return min(n_tokens, dim * (dim + 1) // 2 - 1 if standardised else (dim + 1) * (dim + 2) // 2)


def multiply_adds(
    sizes: Any, *, causal: bool = False, order: int = 2, scale: float | None = None, epsilon: float = 1e-12
) -> int:
    """Multiply-adds of one call for all heads: linear attention with C(d + p, p) features and a column of ones."""
    m, width = n_features(sizes.d, order), sizes.d_v + 1
    per_head = in_chunks(sizes.n, m, width) if causal else two_products(sizes.queries, sizes.n, m, width)
    return sizes.n_heads * per_head


def state_numbers(sizes: Any, *, order: int = 2, **numbers: Any) -> int:
    """Numbers per head of the state, C(d + p, p) (d_v + 1)."""
    return n_features(sizes.d, order) * (sizes.d_v + 1)
