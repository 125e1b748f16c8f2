r"""Positive random features of softmax's kernel: their error, also with orthogonal rows, against trigonometric ones; cost.

x, y scaled queries and keys, SM = e^{x . y}, z = |x + y|. Choromanski et al. 2021 (arXiv 2009.14794): lemma 2 and theorem 2.
"""

from __future__ import annotations

import math
from typing import Any

from scipy.special import hyp1f1

from attnlab.theory.checks import check_count, check_not_negative, check_positive
from attnlab.theory.costs.linear_form import two_products
from attnlab.theory.score_ensembles.features import features_error_approx
from attnlab.theory.score_ensembles.law import ScoreLaw


def positive_error(kernel: float, sum_norm: float, n_features: int) -> float:
    r"""Mean square error of m independent positive features, :math:`\frac1m e^{z^2} \mathrm{SM}^2 (1 - e^{-z^2})`, exact."""
    check_positive(kernel=kernel)
    check_not_negative(sum_norm=sum_norm)
    check_count(n_features=n_features)
    return kernel**2 * math.expm1(sum_norm**2) / n_features


def trigonometric_error(kernel: float, sum_norm: float, gap: float, n_features: int) -> float:
    r"""The same of trigonometric features, delta = \|x - y\|: :math:`\frac{e^{z^2}}{2m\,\mathrm{SM}^2} (1 - e^{-\delta^2})^2`."""
    check_positive(kernel=kernel)
    check_count(n_features=n_features)
    return math.exp(sum_norm**2) / kernel**2 * (1 - math.exp(-(gap**2))) ** 2 / (2 * n_features)


def orthogonal_error(kernel: float, sum_norm: float, n_features: int, dim: int) -> float:
    r"""The same with m <= d orthogonal rows of chi-distributed lengths, exact.

    .. math:: \text{error} = \text{positive} + \bigl(1 - \tfrac1m\bigr)\, \mathrm{SM}^2 e^{-z^2} \bigl(F - e^{z^2}\bigr), \qquad
              F = {}_1F_1(d; \tfrac d2; \tfrac{z^2}{2})

    F is the mean of :math:`e^{(w_1 + w_2) \cdot u}`, u = x + y, over two orthogonal rows: their sum has a uniform direction and a
    squared length that is a sum of two chi-squared numbers, 2 d degrees of freedom. F < e^{z^2}: rows that repel each other.
    """
    check_count(n_features=n_features, dim=dim)
    if n_features > dim:
        raise ValueError(
            f"n_features={n_features!r} must be at most dim={dim!r}: rows of several blocks are independent"
        )
    z2 = sum_norm**2
    covariance = kernel**2 * math.exp(-z2) * (float(hyp1f1(dim, dim / 2, z2 / 2)) - math.exp(z2))
    return positive_error(kernel, sum_norm, n_features) + (1 - 1 / n_features) * covariance


def map_error(law: ScoreLaw, *, n_features: int = 8, orthogonal: bool = False) -> float:
    """Relative Frobenius error of the map, independent rows, first order in 1/m, queries and keys of equal lengths."""
    if orthogonal:
        raise ValueError(
            "orthogonal=True: the covariance of two keys under orthogonal rows is not known here; take independent ones"
        )
    return features_error_approx(law, n_features)


def multiply_adds(sizes: Any, *, causal: bool = False, n_features: int = 8, orthogonal: bool = True) -> int:
    """Multiply-adds of one call for all heads: features (n_q + n) m d, then two products; causal, the map times values."""
    features = (sizes.queries + sizes.n) * n_features * sizes.d
    if causal:
        return sizes.n_heads * (features + sizes.queries * sizes.n * sizes.d_v)
    return sizes.n_heads * (features + two_products(sizes.queries, sizes.n, n_features, sizes.d_v + 1))


def crossover_length(dim: int, value_dim: int, n_features: int) -> float:
    r"""Length at which softmax attention costs as many multiply-adds, n = n_q: :math:`2 m (d + d_v + 1) / (d + d_v)`."""
    check_count(dim=dim, value_dim=value_dim, n_features=n_features)
    return 2 * n_features * (dim + value_dim + 1) / (dim + value_dim)


def state_numbers(sizes: Any, *, n_features: int = 8, orthogonal: bool = True) -> int:
    """Numbers per head of the state: m running maxima and m (d_v + 1) sums."""
    return n_features * (sizes.d_v + 2)
