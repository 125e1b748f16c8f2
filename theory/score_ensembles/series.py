r"""Error of weights :math:`f_p(s) = \sum_{l \le p} s^l/l!` in place of :math:`e^s`, on normal scores.

.. math:: n \sum_j (\hat W_j - P_j)^2 \to \mathbb E
          \Bigl( \frac{f_p(s_q z)}{\mathbb E f_p(s_q z)} - e^{s_q z - s_q^2/2} \Bigr)^2 .

The normaliser takes away what is common to all keys: the error is smaller than that of :math:`f_p` alone. Derived here.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import roots_hermitenorm

from attnlab.theory.checks import check_count
from attnlab.theory.score_ensembles.law import ScoreLaw

NODES = 96


def truncated_exponential(score: np.ndarray, order: int) -> np.ndarray:
    """The series up to ``order``, by Horner's rule."""
    check_count(order=order)
    total = np.ones_like(np.asarray(score, dtype=np.float64))
    for degree in range(order, 0, -1):
        total = 1 + np.asarray(score) * total / degree
    return total


def series_error(law: ScoreLaw, order: int, normalised: bool = True) -> float:
    """Relative error of the map with weights f_p, p = ``order`` even; the weight of a planted key is by the series, too.

    ``normalised=False``: weights over the true normaliser instead of their own sum, the rival.
    """
    if order < 2 or order % 2:
        raise ValueError(f"order={order!r} must be even and at least 2: weights of odd orders have no sign")
    z, chance = roots_hermitenorm(NODES)
    chance = chance / chance.sum()
    n = law.n_keys

    def of_row(variance: np.ndarray, p: np.ndarray, Q: np.ndarray) -> np.ndarray:
        s = np.sqrt(variance)[:, None]
        weight = truncated_exponential(s * z, order)
        mean = weight @ chance if normalised else np.exp(variance / 2)
        true = np.exp(s * z - s**2 / 2)
        if law.height is None:
            return ((weight / mean[:, None] - true) ** 2) @ chance / n
        own = float(truncated_exponential(np.array(law.height), order))
        q = own / (own + (n - 1) * mean)  # the planted weight by the series
        gap = (1 - q)[:, None] * weight / mean[:, None] - (1 - p)[:, None] * true
        return (q - p) ** 2 + (gap**2) @ chance / n

    return law.relative(of_row)


def leading_error_approx(law: ScoreLaw, order: int) -> float:
    r"""The same to leading order in the spread, without a planted key.

    .. math:: \epsilon \approx \frac{1}{k!} \sqrt{(2 k - 1)!! - [k\ \mathrm{even}]\, (k - 1)!!^2}\; \sqrt{\mathbb E s_q^{2 k}},
              \qquad k = p + 1 :

    the standard deviation over keys of the first missing term :math:`s^k/k!`, whose mean the normaliser takes away.
    """
    check_count(order=order)
    k = order + 1
    double = math.prod(range(1, 2 * k, 2))  # (2k - 1)!!
    mean2 = math.prod(range(1, k, 2)) ** 2 if k % 2 == 0 else 0
    moment = math.prod(law.width + 2 * i for i in range(k)) / law.width**k  # of (chi^2 / nu)^k
    return math.sqrt((double - mean2) * moment) * law.spread**k / math.factorial(k)
