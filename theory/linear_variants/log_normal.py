r"""Linear log-normal attention: spread of its rows, the scale that matches softmax's, state and cost.

Gaussian queries and keys. Nahshan, Kampeas and Haleva 2024 (arXiv 2311.13541) for the operator; the laws are derived.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_count, check_not_negative, check_positive
from attnlab.theory.costs.linear_form import two_products


def relative_variance(query: ArrayLike, query_scale: float, key_scale: float, key_std: float = 1.0) -> float:
    r"""Limit of :math:`n \sum_j P_{ij}^2 - 1` for many keys, exact given the query.

    .. math:: (e^{b^2 s_k^2} - 1) \sum_c w_{ic}^2, \qquad w_i = \mathrm{softmax}(a\, q_i) .
    """
    q = query_scale * np.asarray(query, dtype=np.float64)
    check_positive(key_scale=key_scale, key_std=key_std)
    w = np.exp(q - q.max())
    w /= w.sum()
    return math.expm1((key_scale * key_std) ** 2) * float((w**2).sum())


def relative_variance_approx(spread: float, dim: int) -> float:
    r"""Its average over Gaussian queries, :math:`e^s (e^s - 1) / d`, while :math:`e^s \ll d`; s = a^2 s_q^2 = b^2 s_k^2."""
    check_not_negative(spread=spread)
    check_count(dim=dim)
    return math.exp(spread) * math.expm1(spread) / dim


def matching_scale(score_std: float, dim: int) -> float:
    r"""Spread s at which that equals softmax's :math:`e^{\sigma^2} - 1`: :math:`e^s = (1 + \sqrt{1 + 4 d (e^{\sigma^2} - 1)})/2`.

    Then a = sqrt(s) / s_q, b = sqrt(s) / s_k. Matching the entropy or the variance of ln P gives other numbers: a sum of d
    log-normals is not log-normal at this d.
    """
    check_not_negative(score_std=score_std)
    check_count(dim=dim)
    return math.log((1 + math.sqrt(1 + 4 * dim * math.expm1(score_std**2))) / 2)


def log_variance_of_one_log_normal(relative: float) -> float:
    r"""Log-variance :math:`\ln(1 + \mathrm{CV}^2)` of a log-normal (Fenton and Wilkinson): too large for sums of log-normals."""
    check_not_negative(relative=relative)
    return math.log1p(relative)


def multiply_adds(sizes: Any, *, causal: bool = False, query_scale: float = 1.0, key_scale: float = 1.0) -> int:
    """Multiply-adds of one call for all heads: two products with d features; causal, the map times values (n_q n d_v)."""
    if causal:
        return sizes.n_heads * sizes.queries * sizes.n * sizes.d_v
    return sizes.n_heads * two_products(sizes.queries, sizes.n, sizes.d, sizes.d_v + 1)


def state_numbers(sizes: Any, **numbers: Any) -> int:
    """Numbers per head of the state: d running maxima and d (d_v + 1) sums."""
    return sizes.d * (sizes.d_v + 2)
