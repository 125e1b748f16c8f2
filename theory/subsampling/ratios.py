r"""Softmax over a random subset of keys, a ratio of two sums: bias and variance to second order, ensembles, normalisers.

With :math:`A = \frac1m \sum_{j \in J} n p_j (v_j - o)` and :math:`\epsilon = \frac1m \sum_{j \in J} (n p_j - 1)` the output of
the subset J is :math:`o + A/(1 + \epsilon)`. Both have mean zero, so its moments are those of A and epsilon, which for m of n
keys without replacement are known. First order: :mod:`attnlab.theory.sparse_selection.random_keys`. Second order and the rest
derived here.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_count


def subset_factors(n_keys: int, n_kept: int) -> tuple[float, float]:
    r"""Second and third moments of a mean of m of n centred numbers, over those of one number.

    .. math:: \frac{n - m}{m (n - 1)}, \qquad \frac{(n - m)(n - 2 m)}{m^2 (n - 1)(n - 2)} .
    """
    check_count(at_least=3, n_keys=n_keys)
    check_count(n_kept=n_kept)
    if n_kept > n_keys:
        raise ValueError(f"n_kept={n_kept!r} must be at most n_keys={n_keys!r}")
    n, m = n_keys, n_kept
    return (n - m) / (m * (n - 1)), (n - m) * (n - 2 * m) / (m**2 * (n - 1) * (n - 2))


def fourth_factors(n_keys: int, n_kept: int) -> tuple[float, float]:
    r"""Factors (g, h) of the fourth moment of means of m of n centred numbers a, b, c, d.

    .. math:: \mathrm E\, \bar a \bar b \bar c \bar d
              = g \sum abcd + h \left(\sum ab \sum cd + \sum ac \sum bd + \sum ad \sum bc\right),

    from the chances :math:`P_r = (m)_r / (n)_r` that r keys are all kept: :math:`m^4 g = P_1 - 7 P_2 + 12 P_3 - 6 P_4`,
    :math:`m^4 h = P_2 - 2 P_3 + P_4`.
    """
    check_count(at_least=4, n_keys=n_keys)
    check_count(n_kept=n_kept)
    P = [math.prod((n_kept - i) / (n_keys - i) for i in range(r)) for r in range(5)]
    return (P[1] - 7 * P[2] + 12 * P[3] - 6 * P[4]) / n_kept**4, (P[2] - 2 * P[3] + P[4]) / n_kept**4


def output_moments_approx(
    weights: ArrayLike, values: ArrayLike, n_kept: int, order: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    r"""Bias and variance per channel of the output of a subset; weights (key,) of sum 1, values (key, width).

    .. math:: \mathrm{bias} = -\mathrm E A \epsilon + \mathrm E A \epsilon^2 - \mathrm E A \epsilon^3, \qquad
              \mathrm{Var} = \mathrm E A^2 - 2\, \mathrm E A^2 \epsilon + 3\, \mathrm E A^2 \epsilon^2 - (\mathrm E A \epsilon)^2,

    from :math:`A (1 - \epsilon + \epsilon^2 - \epsilon^3)`, all moments exact for subsets. What is left is of relative order
    :math:`V^2`, :math:`V = \mathrm E \epsilon^2`. ``order`` 1 keeps the first term of each.
    """
    p, v = _given(weights, values)
    n = len(p)
    second, third = subset_factors(n, n_kept)
    x, e = n * p[:, None] * (v - p @ v), (n * p - 1)[:, None]
    C, VA = second * (x * e).mean(0), second * (x * x).mean(0)
    if order == 1:
        return -C, VA
    g, h = fourth_factors(n, n_kept)
    cubed = g * (x * e**3).sum(0) + 3 * h * (x * e).sum(0) * (e * e).sum()
    squares = g * (x * x * e * e).sum(0) + h * ((x * x).sum(0) * (e * e).sum() + 2 * (x * e).sum(0) ** 2)
    bias = -C + third * (x * e * e).mean(0) - cubed
    return bias, VA - 2 * third * (x * x * e).mean(0) + 3 * squares - C**2


def third_order_bound(weights: ArrayLike, values: ArrayLike, n_kept: int) -> tuple[float, float]:
    r"""Sizes of what second order leaves of the length of the bias and of the summed variance, over their first order.

    Fifth moments are products of third and second ones, sixth moments those of normal numbers:

    .. math:: \mathrm E A \epsilon^4 \approx 6\, \mathrm E A \epsilon^2\, V + 4 C S, \qquad
              4\, \mathrm E A^2 \epsilon^3 \approx 12\, \mathrm E A^2 \epsilon\, V + 24\, \mathrm E A \epsilon^2\, C + 4 S V_A,

    with :math:`S = \mathrm E \epsilon^3`, and :math:`15 V^2` for both; absolute values are added.
    """
    p, v = _given(weights, values)
    second, third = subset_factors(len(p), n_kept)
    x, e = len(p) * p[:, None] * (v - p @ v), (len(p) * p - 1)[:, None]
    C, VA, V = second * (x * e).mean(0), second * (x * x).mean(0).sum(), second * float((e * e).mean())
    S, once, twice = third * float((e**3).mean()), third * (x * e * e).mean(0), third * (x * x * e).mean(0).sum()
    bias = 15 * V**2 + 6 * float(np.linalg.norm(once)) * V / float(np.linalg.norm(C)) + 4 * abs(S)
    return bias, float(15 * V**2 + (12 * abs(twice) * V + 24 * abs(once @ C)) / VA + 4 * abs(S))


def normaliser_variance_exact(weights: ArrayLike, n_kept: int) -> float:
    r"""Relative variance V of the sum of m of n exponentials, :math:`\frac{n - m}{m (n - 1)} (n \sum_j p_j^2 - 1)`."""
    p = np.asarray(weights, dtype=np.float64)
    return subset_factors(len(p), n_kept)[0] * (len(p) * float(p @ p) - 1)


def log_normaliser_shift_approx(weights: ArrayLike, n_kept: int) -> float:
    r"""Mean of ln Z over all keys less that over a subset, :math:`\ln(n/m) + V/2 - S/3 + V^2 3/4`, S the third moment of epsilon.

    What a model trained on subsets sees of more keys: :math:`\ln c` and half the variance, as the logarithm is concave.
    """
    p = np.asarray(weights, dtype=np.float64)
    n = len(p)
    third = subset_factors(n, n_kept)[1] * float(((n * p - 1) ** 3).mean())
    V = normaliser_variance_exact(p, n_kept)
    return math.log(n / n_kept) + V / 2 - third / 3 + 3 * V**2 / 4


def ensemble_error_approx(weights: ArrayLike, values: ArrayLike, n_kept: int, n_samples: int, order: int = 2) -> float:
    r"""Mean squared distance of the mean of R subsets from the full output, :math:`|\mathrm{bias}|^2 + \mathrm{tr Var}/R`.

    The first term stays: an ensemble converges to another, flatter attention.
    """
    check_count(n_samples=n_samples)
    bias, variance = output_moments_approx(weights, values, n_kept, order)
    return float(bias @ bias + variance.sum() / n_samples)


def unequal_target_exact(weights: ArrayLike, values: ArrayLike, inclusion: ArrayLike, corrected: bool) -> np.ndarray:
    r"""Where softmax over keys that are kept with unequal chances pi_j tends to: :math:`\sum p_j \pi_j v_j / \sum p_j \pi_j`.

    ``corrected``: with :math:`-\ln \pi_j` added to the scores it is the full output.
    """
    p, v = _given(weights, values)
    share = p if corrected else p * np.asarray(inclusion, dtype=np.float64)
    return share @ v / share.sum()


def unequal_moments_approx(
    weights: ArrayLike, values: ArrayLike, inclusion: ArrayLike, corrected: bool
) -> tuple[np.ndarray, np.ndarray]:
    r"""Bias from that target and variance, independent keys, first order.

    .. math:: -\frac{\sum_j \pi_j (1 - \pi_j) a_j^2 (v_j - t)}{(\sum_j \pi_j a_j)^2}, \qquad
              \frac{\sum_j \pi_j (1 - \pi_j) a_j^2 (v_j - t)^2}{(\sum_j \pi_j a_j)^2},

    a = p, or p / pi if ``corrected``; t the target.
    """
    p, v = _given(weights, values)
    pi = np.asarray(inclusion, dtype=np.float64)
    a, gap = p / pi if corrected else p, v - unequal_target_exact(p, v, pi, corrected)
    noise = pi * (1 - pi) * a**2 / (pi @ a) ** 2
    return -noise @ gap, noise @ gap**2


def _given(weights: ArrayLike, values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    p, v = np.asarray(weights, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if p.ndim != 1 or v.ndim != 2 or len(p) != len(v):
        raise ValueError(f"need weights (key,) and values (key, width), got shapes {p.shape} and {v.shape}")
    return p, v
