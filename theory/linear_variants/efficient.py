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


def multiply_adds(sizes: Any, *, causal: bool = False) -> int:
    """Multiply-adds of one call for all heads: H (n + n_q) d d_v."""
    return sizes.n_heads * two_products(sizes.queries, sizes.n, sizes.d, sizes.d_v)
