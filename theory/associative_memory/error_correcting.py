r"""Memories that correct their errors: the delta rule in one pass, and least squares, where it converges to.

Conventions of :mod:`attnlab.theory.associative_memory.sums`. References: Qiao 2025 (arXiv 2508.08289) for the
plasticity rules; Cover 1965 for the number of linear dichotomies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import comb


def delta_rule_norm(n_pairs: ArrayLike, dim: int, rate: float) -> np.ndarray:
    r"""``E |m|^2`` of a row of the memory after n pairs: ``beta d / (2 - beta) (1 - (1 - beta (2 - beta)/d)^n)``."""
    _rate(rate)
    n = np.asarray(n_pairs, dtype=np.float64)
    return rate * dim / (2 - rate) * (1 - (1 - rate * (2 - rate) / dim) ** n)


def delta_rule_errors(n_pairs: int, dim: int, rate: float, fourth_moments: bool = True) -> np.ndarray:
    r"""Error of every pair ``(n_pairs,)``, in the order written, after one pass of the delta rule over spherical keys, exact.

    .. math:: M_t = M_{t-1} + \beta (v_t - M_{t-1} k_t) k_t^T, \qquad M_0 = 0.

    With A the mean square of a row, X that of its response to pair j and C the mean product of response and value, writing
    pair j gives ``X = (1 - beta)^2 A / d + beta^2, C = beta``, and each later pair
    ``X <- X (1 - 2 beta/d + 2 beta^2/(d (d+2))) + beta^2 A/(d (d+2)) + beta^2/d``, ``C <- C (1 - beta/d)``,
    ``A <- A (1 - beta (2 - beta)/d) + beta^2`` (X takes the old A). The error is ``X - 2 C + 1``; it is 0 for the last pair
    at beta = 1. Why: fourth moments of spherical keys, E (a.k)^2 (b.k)^2 = (|a|^2 |b|^2 + 2 (a.b)^2) / (d (d + 2)).
    Without ``fourth_moments`` the two factors count as independent, |a|^2 |b|^2 / d^2: a rival that is off by 2/d.
    """
    _rate(rate)
    d, b = dim, rate
    own, all_rows = (2 * b * b / (d * (d + 2)), b * b / (d * (d + 2))) if fourth_moments else (0.0, b * b / d**2)
    response, product, norm = np.zeros(n_pairs), np.zeros(n_pairs), 0.0
    for t in range(n_pairs):
        response[:t] = response[:t] * (1 - 2 * b / d + own) + all_rows * norm + b * b / d
        product[:t] *= 1 - b / d
        response[t], product[t] = (1 - b) ** 2 * norm / d + b * b, b
        norm = norm * (1 - b * (2 - b) / d) + b * b
    return response - 2 * product + 1


def least_squares_error(n_pairs: ArrayLike, dim: int) -> np.ndarray:
    """Error of the least-squares memory at stored cues: 0 for n <= d, else 1 - d/n; keys in general position."""
    n = np.asarray(n_pairs, dtype=np.float64)
    return np.maximum(0.0, 1 - dim / n)


def least_squares_noisy_error(n_pairs: ArrayLike, dim: int, cue_noise: float) -> np.ndarray:
    r"""Error at cues ``k_j + sigma g``, g ~ N(0, I/d), Gaussian keys, n < d - 1: ``sigma^2 n / (d - n - 1)``."""
    n = np.asarray(n_pairs, dtype=np.float64)
    if np.any(n >= dim - 1):
        raise ValueError(f"n_pairs={n_pairs!r} must be below dim - 1 = {dim - 1}: the mean error is infinite there")
    return cue_noise**2 * n / (dim - n - 1)


def dichotomies(n_pairs: int, dim: int) -> int:
    r"""Sign patterns of n keys in general position that a linear map realises, out of 2^n (Cover), whatever the keys are.

    .. math:: 2 \sum_{k=0}^{d-1} \binom{n-1}{k}
    """
    return 2 * sum(comb(n_pairs - 1, k, exact=True) for k in range(dim))


def separable_probability(n_pairs: int, dim: int) -> float:
    r"""Probability that n random signs on keys in general position are realised by a linear map: :func:`dichotomies` / 2^n,
    1/2 at n = 2 d."""
    return dichotomies(n_pairs, dim) / 2**n_pairs


def _rate(rate: float) -> None:
    if not 0 < rate < 2:
        raise ValueError(f"rate={rate!r} must lie in (0, 2): the delta rule diverges outside")
