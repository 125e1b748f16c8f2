r"""Dynamic convolution attention with its filters silent: the prior moves the weights forward, and the cost.

Battenberg et al. 2020 (arXiv 1910.10288) for the operator; the moments are derived.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from attnlab.theory.checks import check_count, check_positive


def prior_mean(n: int = 10, alpha: float = 0.1, beta: float = 0.9) -> float:
    r"""Keys that the prior moves on per query, :math:`n \alpha / (\alpha + \beta)`: one."""
    check_positive(alpha=alpha, beta=beta)
    return n * alpha / (alpha + beta)


def prior_variance(n: int = 10, alpha: float = 0.1, beta: float = 0.9) -> float:
    r"""Variance that it adds per query: 4.95.

    .. math:: n \alpha \beta (\alpha + \beta + n) / ((\alpha + \beta)^2 (\alpha + \beta + 1)) .
    """
    check_positive(alpha=alpha, beta=beta)
    both = alpha + beta
    return n * alpha * beta * (both + n) / (both**2 * (both + 1))


def weights_of_the_prior(taps: np.ndarray, n_keys: int, n_queries: int) -> np.ndarray:
    """Weights (query, key) that the taps alone give, from all weight on key 0, normalised over the keys: no floor."""
    check_count(n_keys=n_keys, n_queries=n_queries)
    a, rows = np.eye(n_keys)[0], []
    for _ in range(n_queries):
        a = np.convolve(a, taps)[:n_keys]
        a = a / a.sum()
        rows.append(a)
    return np.array(rows)


def multiply_adds(
    sizes: Any, *, causal: bool = False, n_filters: int = 2, taps: int = 3, hidden: int = 4, floor: float = 1e-6
) -> int:
    """Multiply-adds of one call for all heads.

    Per query: filters d h + h t f; per pair: both banks t f each, their projections f h each, read-out h, 11 taps of the prior;
    and n_q n d_v for the values.
    """
    per_query = hidden * (sizes.d + taps * n_filters)
    per_pair = 2 * n_filters * (taps + hidden) + hidden + 11 + sizes.d_v
    return sizes.n_heads * sizes.queries * (per_query + sizes.n * per_pair)
