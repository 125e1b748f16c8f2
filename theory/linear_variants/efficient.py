r"""Efficient attention on random inputs: how flat its map is, and its cost.

Shen et al. 2021 (arXiv 1812.01243) for the operator; the law is derived.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_positive
from attnlab.theory.costs.linear_form import two_products


def relative_variance(query_weights: ArrayLike, key_std: float = 1.0) -> float:
    r"""Limit of :math:`n \sum_j P_{ij}^2 - 1` for many Gaussian keys of standard deviation s per channel, exact given the query.

    .. math:: (e^{s^2} - 1) \sum_c \rho_{ic}^2, \qquad \rho_i = \mathrm{softmax}(q_i) .

    :math:`P_{ij} = \sum_c \rho_{ic}\, e^{k_{jc}} / (n e^{s^2/2})` is an average of d independent log-normals: with d
    features of equal weight 1/d of softmax's excess is left.
    """
    rho = np.asarray(query_weights, dtype=np.float64)
    check_positive(key_std=key_std)
    if not (rho >= 0).all() or abs(rho.sum() - 1) > 1e-9:
        raise ValueError(f"query_weights must be shares that sum to 1, got a sum of {rho.sum():.4g}")
    return math.expm1(key_std**2) * float((rho**2).sum())


def row_excess_exact(query_weights: ArrayLike, softmax_excess: float) -> float:
    r"""Mean of :math:`n \sum_j P_{ij}^2 - 1` at any number of keys, exact: :math:`\sum_c \rho_{ic}^2` times that of one softmax.

    Each feature is a softmax over the tokens. Columns of different features are independent, exchangeable and sum to 1, so their
    products have mean 1/n and drop out; ``softmax_excess`` is :math:`n\,\mathbb E \sum_j w_j^2 - 1` of one of them.
    """
    rho = np.asarray(query_weights, dtype=np.float64)
    return softmax_excess * float((rho**2).sum())


def row_excess_std(query_weights: ArrayLike, key_std: float, n_keys: int) -> float:
    r"""Standard deviation of :math:`n \sum_j P_{ij}^2` of one query over keys, to leading order.

    With :math:`x_c = e^{k_c - s^2/2} - 1` of moments v, m_3, m_4 the influence is :math:`y^2 - \mathbb E y^2 - 2 v \sum
    \rho_c^2 x_c`,
    :math:`y = \sum \rho_c x_c`, of variance
    :math:`\sum \rho^4 (m_4 - 3 v^2 - 4 v m_3 + 4 v^3) + 2 v^2 (\sum \rho^2)^2`, over n.
    """
    rho2 = np.asarray(query_weights, dtype=np.float64) ** 2
    check_positive(key_std=key_std)
    w = math.exp(key_std**2)
    v = w - 1
    m3, m4 = v**2 * (w + 2), v**2 * (w**4 + 2 * w**3 + 3 * w**2 - 3)
    variance = (rho2**2).sum() * (m4 - 3 * v**2 - 4 * v * m3 + 4 * v**3) + 2 * v**2 * rho2.sum() ** 2
    return math.sqrt(variance / n_keys)


def multiply_adds(sizes: Any, *, causal: bool = False) -> int:
    """Multiply-adds of one call for all heads: H (n + n_q) d d_v."""
    return sizes.n_heads * two_products(sizes.queries, sizes.n, sizes.d, sizes.d_v)
