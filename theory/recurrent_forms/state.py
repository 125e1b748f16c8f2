r"""How much of the past a model keeps: numbers of state, ranks of blocks, and the features that softmax attention would need."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_count, check_one_of

MODELS = ("linear", "normalised", "s6", "ssd", "gated", "softmax")


def state_numbers(model: str, n_state: int, dim: int, n_past: int) -> int:
    r"""Numbers through which past tokens of width d act on what follows, generically; n states per channel, tokens of width d.

    - Linear attention with features that are not linear: n (d + 1), for its normaliser is a state as well.
    - S6, with rates of their own for channels and states: n d.
    - Normalised attention and SSD: n d - m (m - 1) / 2 with m = min(n, d), for n >= d that is d (d + 1) / 2.
    - A quasi-LSTM: d. Softmax attention: every number of the past.

    Never more than the past has, n_past d.

    Why: the rank of the Jacobian of future outputs with respect to past tokens. Where keys and values are linear in one
    token and the
    decay is a number, the state is :math:`W_K^\top M W_V` with M symmetric, a weighted sum of :math:`u u^\top`; its nd
    numbers obey
    m (m - 1) / 2 equations.
    """
    check_one_of(MODELS, model=model)
    check_count(n_state=n_state, dim=dim, n_past=n_past)
    m = min(n_state, dim)
    bilinear = m * dim - m * (m - 1) // 2
    own = {"linear": n_state * (dim + 1), "s6": n_state * dim, "gated": dim, "softmax": n_past * dim}
    return min(own.get(model, bilinear), n_past * dim)


def block_rank(n_state: int, rows: int, columns: int) -> int:
    r"""Rank of a block of the map strictly below the diagonal, generically: :math:`\min(n, \text{rows}, \text{columns})`.

    Why: whatever the block passes on, it passes through the n numbers of the state between its columns and its rows.
    """
    check_count(n_state=n_state, rows=rows, columns=columns)
    return min(n_state, rows, columns)


def n_exponential_features(key_dim: int, order: int) -> int:
    r"""Monomials of degree up to p in d variables, :math:`\binom{d + p}{p}`: features whose inner product is the truncated
    exponential."""
    check_count(key_dim=key_dim)
    check_count(at_least=0, order=order)
    return math.comb(key_dim + order, order)


def truncated_exponential(scores: ArrayLike, order: int) -> np.ndarray:
    r"""The kernel that such features have: :math:`f_p(s) = \sum_{k \le p} s^k / k!`."""
    check_count(at_least=0, order=order)
    s = np.asarray(scores, dtype=np.float64)
    total = np.zeros_like(s)
    for k in range(order, -1, -1):
        total = 1.0 + total * s / (k + 1)
    return total


def truncation_error_bound(scores: ArrayLike, order: int) -> np.ndarray:
    r""":math:`|e^s - f_p(s)| \le |s|^{p+1} \max(1, e^s) / (p+1)!` (Lagrange), approached as s -> 0."""
    check_count(at_least=0, order=order)
    s = np.asarray(scores, dtype=np.float64)
    return np.abs(s) ** (order + 1) * np.exp(np.maximum(s, 0.0)) / math.factorial(order + 1)


def least_positive_score(order: int) -> float:
    r"""Score below which a truncated exponential of odd order is negative, and with it weights; -inf for even orders.

    Why: :math:`f_p' = f_{p-1}`, so an even one has its least value where :math:`f_{p-1} = 0`, and there
    :math:`f_p = s^p / p! > 0`; so odd ones increase and have one zero.
    """
    check_count(order=order)
    if order % 2 == 0:
        return -math.inf
    low, high = -2.0 * order, 0.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if truncated_exponential(middle, order) > 0 else (middle, high)
    return high
