r"""Rank-one bilinear scores and bounded scores: what compact multi-head pooling can and cannot attend to.

Mehta, Rangwala and Ramakrishnan 2019 (arXiv 1912.00835). Head i scores state h in context c by
``(p_i^T c)(q_i^T h) = c^T (p_i q_i^T) h``; scores pass through tanh, are divided by their Euclidean norm over heads, and a
softmax over the T states gives the weights.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import ndtr


def largest_weight_bound(n_tokens: ArrayLike) -> np.ndarray:
    r"""Largest weight that scores in [-1, 1] can give to one of T states; sharp.

    .. math:: a \le \frac{e}{e + (T - 1) e^{-1}} = \frac{1}{1 + (T - 1) e^{-2}}.

    Reached with score 1 for one state and -1 for all others.
    """
    T = _lengths(n_tokens)
    return 1 / (1 + (T - 1) * np.exp(-2.0))


def weight_ratio_bound() -> float:
    """Largest ratio of two weights of one head, e^2: scores in [-1, 1] differ by at most 2."""
    return float(np.exp(2.0))


def selection_accuracy_bound(n_tokens: ArrayLike) -> np.ndarray:
    r"""Best accuracy of reading the sign carried by one marked state from *one* head with scores in [-1, 1].

    .. math:: P(\text{correct}) \le \Phi\!\left( \frac{e^2}{\sqrt{T - 1}} \right)

    for labels s = ±1, the marked state's value s, the values of the T - 1 others N(0, 1), and scores that do not see the
    values. Why: the pooled value is a s + sum_t a_t xi_t, so the best rule has accuracy Phi(a / sqrt(sum a_t^2)), and the sum of
    squares is at least (1 - a)^2 / (T - 1) with a at most the bound above. Sharp: equal scores -1 of the others reach it.
    """
    T = _lengths(n_tokens)
    with np.errstate(divide="ignore"):
        return ndtr(np.exp(2.0) / np.sqrt(T - 1))


def two_head_selection(n_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Scores ``(2, T)`` and a read-out ``(2,)`` of two heads whose combined weights select the first state exactly.

    The first state scores (1, 0) in the two heads, every other state (0, 1): unit norm over heads, entries in [-1, 1]. In
    head h the others share one weight r_h, so ``a_1 / r_1 - a_2 / r_2`` vanishes on them and is e - 1/e on the first state,
    whatever T is: bounded scores make each head flat, but not the difference of two. Scaled so that its weight is 1.
    """
    T = int(_lengths(n_tokens))
    scores = np.zeros((2, T))
    scores[0, 0], scores[1, 1:] = 1.0, 1.0
    sums = np.exp(scores).sum(1)
    readout = np.array([sums[0], -sums[1] / np.e])
    return scores, readout / (np.e - 1 / np.e)


def gaussian_rank_error_limit(ratio: ArrayLike) -> np.ndarray:
    r"""Relative squared error of the best rank-k approximation of a d x d Gaussian matrix, k / d = ratio, d to infinity.

    .. math:: \frac1\pi \int_{x_0}^2 \sqrt{4 - s^2}\, ds = \frac kd, \qquad
              \mathrm{error} = \frac1\pi \int_0^{x_0} s^2 \sqrt{4 - s^2}\, ds,

    the quarter-circle law of singular values. Closed forms with s = 2 sin t: with t_0 = arcsin(x_0 / 2) the first is
    ``1 - (2 t_0 + sin 2 t_0) / pi``, the second ``(2 t_0 - sin(4 t_0) / 2) / pi``. Finite d adds O(1 / d). Small ratios:
    1 - 4 k / d, the largest singular values being 2.
    """
    ratio = np.asarray(ratio, dtype=np.float64)
    if np.any((ratio < 0) | (ratio > 1)):
        raise ValueError(f"ratio must lie in [0, 1], got {ratio!r}")
    angle = np.vectorize(_angle, otypes=[np.float64])(ratio)
    return (2 * angle - np.sin(4 * angle) / 2) / np.pi


def _angle(ratio: float) -> float:
    """t_0 with ``1 - (2 t_0 + sin 2 t_0) / pi = ratio``."""
    if ratio in (0.0, 1.0):
        return (1 - ratio) * np.pi / 2
    return brentq(lambda t: 1 - (2 * t + np.sin(2 * t)) / np.pi - ratio, 0, np.pi / 2, xtol=1e-15)


def _lengths(n_tokens: ArrayLike) -> np.ndarray:
    T = np.asarray(n_tokens, dtype=np.float64)
    if np.any(T < 1):
        raise ValueError(f"n_tokens={n_tokens!r} must be at least 1")
    return T
