r"""Normalised attention: its linear form, the size of its output at initialisation, its rank and cost.

Richter and Wattenhofer 2020 (arXiv 2005.09561) for the operator; the linear form is derived.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.costs.visible import all_pairs


def linear_form(
    queries: ArrayLike, keys: ArrayLike, values: ArrayLike, gain: float, offset: float, epsilon: float
) -> np.ndarray:
    r"""The operator in time linear in the number of keys, equal to the quadratic form.

    .. math:: y_i = \frac{g\, q_i^\top \sum_j (k_j - \bar k) v_j^\top}{\sqrt{q_i^\top C q_i} + \epsilon} + b \sum_j v_j,

    :math:`\bar k`, C the population mean and covariance of the keys: :math:`\overline{s_i} = q_i \cdot \bar k` and
    :math:`\mathrm{std}_j(s_{ij})^2 = q_i^\top C q_i`. Shapes (n_q, d), (n, d), (n, d_v); returns (n_q, d_v).
    """
    q, k, v = (np.asarray(x, dtype=np.float64) for x in (queries, keys, values))
    centred = k - k.mean(0)
    spread = np.sqrt(np.maximum(np.einsum("id,de,ie->i", q, centred.T @ centred / len(k), q), 0.0)) + epsilon
    return gain * (q @ (centred.T @ v)) / spread[:, None] + offset * v.sum(0)


def output_size(n_keys: int) -> float:
    r"""Root mean square of the output over that of a value, :math:`\sqrt n` for gain 1 and no offset.

    Rows have zero mean and :math:`\sum_j W_j^2 = n`; softmax of small scores has :math:`n^{-1/2}`.
    """
    if not n_keys >= 1:
        raise ValueError(f"n_keys={n_keys!r} must be at least 1")
    return math.sqrt(n_keys)


def rank(dim: int, offset: float = 0.0) -> int:
    """Greatest rank of the map: d, or d + 1 with an offset, whatever the number of keys."""
    return dim + (offset != 0)


def multiply_adds(
    sizes: Any, *, causal: bool = False, gain: float = 1.0, offset: float = 0.0, epsilon: float = 0.0
) -> int:
    """Multiply-adds of one call for all heads in the quadratic form; moments need all scores, so hidden pairs count, too."""
    return all_pairs(sizes)


def linear_multiply_adds(sizes: Any) -> int:
    """Multiply-adds of :func:`linear_form` for all heads: H (n d d_v + n d^2 + n_q (d d_v + d^2 + d))."""
    d, d_v, n, n_q = sizes.d, sizes.d_v, sizes.n, sizes.queries
    return sizes.n_heads * (n * d * d_v + n * d * d + n_q * (d * d_v + d * d + d))
