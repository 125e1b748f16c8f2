r"""Fastmax on random scores: how sharp a polynomial can be, its rank, state and cost.

Gerami et al. 2024 (arXiv 2402.07901) for the operator; the laws are derived from Gaussian moments.
"""

from __future__ import annotations

import math
from typing import Any

from scipy import optimize

from attnlab.theory.checks import check_count, check_positive
from attnlab.theory.costs.linear_form import in_chunks, two_products
from attnlab.theory.score_ensembles.law import ScoreLaw
from attnlab.theory.score_ensembles.series import series_error


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


def smallest_weight(order: int = 2) -> float:
    r"""Least value of the series of even order p: :math:`z^p/p!` at the only real zero z of :math:`f_{p-1} = f_p'`; 1/2 at p = 2,
    z = -1, where :math:`f_2(s) = ((1 + s)^2 + 1)/2`."""
    if order < 2 or order % 2:
        raise ValueError(f"order={order!r} must be even and at least 2: odd orders have no least value")

    def slope(s: float) -> float:
        return math.fsum(s**k / math.factorial(k) for k in range(order))

    return optimize.brentq(slope, -float(order), 0.0, xtol=1e-14) ** order / math.factorial(order)


def n_features(dim: int, order: int) -> int:
    """Monomials of degree at most p in d variables, C(d + p, p)."""
    check_count(dim=dim, order=order)
    return math.comb(dim + order, order)


def rank(dim: int, n_tokens: int, standardised: bool = True, order: int = 2) -> int:
    r"""Greatest rank of the order-p map. Standardised tokens lie on a sphere in d - 1 dimensions, where polynomials have
    dimension

    .. math:: \binom{d - 2 + p}{p} + \binom{d - 3 + p}{p - 1},

    at p = 2 :math:`d (d+1)/2 - 1`; in general position it is the number of features.
    """
    check_count(dim=dim, n_tokens=n_tokens, order=order)
    on_sphere = math.comb(dim - 2 + order, order) + math.comb(dim - 3 + order, order - 1)
    return min(n_tokens, on_sphere if standardised else n_features(dim, order))


def map_error(law: ScoreLaw, *, order: int = 2, standardise: bool = False, **numbers: Any) -> float:
    """Relative Frobenius error of the map against softmax of the same scores, tokens as they are."""
    if standardise:
        raise ValueError("standardise=True: softmax of standardised tokens is another map; take standardise=False")
    return series_error(law, order)


def multiply_adds(sizes: Any, *, causal: bool = False, order: int = 2, **numbers: Any) -> int:
    """Multiply-adds of one call for all heads: linear attention with C(d + p, p) features and a column of ones."""
    m, width = n_features(sizes.d, order), sizes.d_v + 1
    per_head = in_chunks(sizes.n, m, width) if causal else two_products(sizes.queries, sizes.n, m, width)
    return sizes.n_heads * per_head


def state_numbers(sizes: Any, *, order: int = 2, **numbers: Any) -> int:
    """Numbers per head of the state, C(d + p, p) (d_v + 1)."""
    return n_features(sizes.d, order) * (sizes.d_v + 1)
