r"""GAT, a head whose scores factorise: :math:`e_{ij} = \mathrm{LR}(l_i + r_j)`, LR(z) = z above 0 and s z below (slope s < 1).

Velickovic et al. 2018 (arXiv 1710.10903), equation 3; that all queries rank the keys alike: Brody, Alon and Yahav 2022 (arXiv
2105.14491), theorem 1. What follows from it for rows, answers and lookups is derived here.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax

from attnlab.theory.checks import check_not_negative, check_share

SLOPE = 0.2


def row_far_above_exact(right: np.ndarray) -> np.ndarray:
    r"""Weights of a query with :math:`l_i \to +\infty`, softmax(r), attained from :math:`l_i \ge -\min r` on; ``right``
    (key,)."""
    return softmax(np.asarray(right, float))


def row_far_below_exact(right: np.ndarray, slope: float = SLOPE) -> np.ndarray:
    r"""Weights of a query with :math:`l_i \to -\infty`, softmax(s r), attained from :math:`l_i \le -\max r` on."""
    check_share(slope=slope)
    return softmax(slope * np.asarray(right, float))


def least_score_gap(gap: float, slope: float = SLOPE) -> float:
    r"""Least gap of the scores of two keys with r apart by ``gap``, over all queries: :math:`s\,|r_j - r_{j'}|`.

    The largest is the gap itself, so that no query turns the order of two keys, and all differ in log-odds by at most
    (1 - s) times the gap.
    """
    check_not_negative(gap=gap)
    return slope * gap


def right_weight_on_two_keys_bound(slope: float = SLOPE) -> float:
    r"""Largest mean weight that two queries with different assigned keys can put on those, of two keys:

    .. math:: \tfrac12 + \tfrac12 \max_\Delta\,[\sigma(\Delta) - \sigma(s \Delta)] ,

    .6535 at s = 0.2 where a dynamic head has 1. The favourite key has log-odds between :math:`s \Delta` and :math:`\Delta` for
    every query; best is the sharpest row for its own query and the flattest for the other.
    """
    check_share(slope=slope)
    found = minimize_scalar(lambda x: expit(slope * x) - expit(x), bounds=(0, 50), options={"xatol": 1e-10})
    return float(0.5 - found.fun / 2)


def decoder_gains_of_lookup(right: np.ndarray, slope: float = SLOPE) -> np.ndarray:
    r"""How strongly each key speaks against its own value in the lookup by a single head:
    :math:`M_b = e^{-\frac{1 + s}{2} r_b}`.

    With distinct :math:`r_b`, queries :math:`l_a = -r_a` and logits :math:`-M_b \alpha_{ab}` for the value of key b, the key
    b = a speaks least: :math:`\ln M_b \alpha_{ab} = \mathrm{LR}(r_b - r_a) - \frac{1+s}2 r_b + \ldots`, which is
    :math:`\frac{1-s}2 |r_b - r_a|` above its value at b = a. So a static head answers every query of DictionaryLookup,
    through a linear decoder without bias.
    """
    check_share(slope=slope)
    return np.exp(-(1 + slope) / 2 * np.asarray(right, float))


def log_ratio_of_lookup_exact(right: np.ndarray, slope: float = SLOPE) -> np.ndarray:
    r"""Logarithm of the runner-up's logit over that of the right answer, ``(query,)``:
    :math:`\frac{1-s}2 \min_{b \ne a} |r_b - r_a|`; 0 for a linear score, s = 1, which no lookup survives.
    """
    check_share(slope=slope)
    r = np.asarray(right, float)
    apart = np.abs(r[:, None] - r)
    np.fill_diagonal(apart, np.inf)
    return (1 - slope) / 2 * apart.min(1)


def largest_number_of_answers_for() -> int:
    r"""Answers that one head gives on one graph where keys only speak *for* their own value, logits :math:`M_b \alpha_{ab}`: 2.

    :math:`f_b(l) = \ln M_b + \mathrm{LR}(l + r_b)`: two of them cross once at most, between their kinks :math:`-r_b`, and the
    one with the larger r is above afterwards. Of three with r_1 > r_2 > r_3, f_1 passes f_2 before :math:`-r_2`, and f_2
    passes f_3 after it: the one in the middle is never the largest. So accuracy is at most 2/k; speaking *against*, the
    smallest counts, and every key can be it.
    """
    return 2
