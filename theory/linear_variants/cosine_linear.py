r"""Cottention: how its output grows with the length, state and cost.

Mongaras, Dohm and Larson 2024 (arXiv 2409.18747) for the operator; the growth is derived.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_count
from attnlab.theory.costs.linear_form import in_chunks, two_products


def output_size(n_keys: int, dim: int, power: float | None = None) -> float:
    r"""Root mean square of the output over that of a value, random directions, no mask: :math:`\sqrt{n/d}\, n^{-\sigma(\mu)}`.

    A cosine of independent directions has mean square 1/d. ``power`` mu; None leaves the factor out. At mu = .5 growth like
    :math:`n^{1/2}` becomes :math:`n^{-.12}`.
    """
    check_count(n_keys=n_keys, dim=dim)
    return math.sqrt(n_keys / dim) * (1.0 if power is None else n_keys ** -_sigmoid(power))


def causal_output_size(n_seen: int, dim: int, power: float) -> float:
    r"""The same for row t when causal: :math:`\sqrt{\tfrac1d \sum_{j \le t} j^{-2 \sigma(\mu)}}`, each value by its own count."""
    check_count(n_seen=n_seen, dim=dim)
    return math.sqrt(sum(j ** (-2 * _sigmoid(power)) for j in range(1, n_seen + 1)) / dim)


def square_std_exact(counts: ArrayLike, dim: int, value_dim: int, power: float) -> float:
    r"""Standard deviation of :math:`|y|^2 / d_v` over random directions and unit normal values, one output over keys of
    counts n_j.

    :math:`|y|^2 = A \chi^2_{d_v}` given :math:`A = \sum_j c_j^2 n_j^{-2\sigma}`, whose mean is :math:`\sum n_j^{-2\sigma}/d` and
    variance :math:`\sum n_j^{-4\sigma} (\frac{3}{d(d+2)} - \frac1{d^2})`.
    """
    check_count(dim=dim, value_dim=value_dim)
    w = np.asarray(counts, dtype=np.float64) ** (-2 * _sigmoid(power))
    mean, variance = w.sum() / dim, (w**2).sum() * (3 / (dim * (dim + 2)) - 1 / dim**2)
    return math.sqrt(variance * (1 + 2 / value_dim) + mean**2 * 2 / value_dim)


def multiply_adds(sizes: Any, *, causal: bool = False) -> int:
    """Multiply-adds of one call for all heads: H (n + n_q) d d_v, or blocks of 64 tokens when causal."""
    if causal:
        return sizes.n_heads * in_chunks(sizes.n, sizes.d, sizes.d_v)
    return sizes.n_heads * two_products(sizes.queries, sizes.n, sizes.d, sizes.d_v)


def state_numbers(sizes: Any) -> int:
    """Numbers per head of the state: d d_v and the count."""
    return sizes.d * sizes.d_v + 1


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))
