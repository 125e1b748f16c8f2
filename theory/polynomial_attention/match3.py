r"""Match3: does a token i have tokens j, k with :math:`x_i + x_j + x_k = 0 \bmod M`? One tensor head says it; one pairwise
head cannot.

Alman and Song 2023 (arXiv 2310.04064), section 1, after Sanford, Hsu and Telgarsky 2023 (arXiv 2306.02896). The head has d =
4 and
angles :math:`\theta = 2\pi x/M`; the threshold and its sharpness are derived here.
"""

from __future__ import annotations

import math

import numpy as np

from attnlab.theory.checks import check_count, check_share


def features(tokens: np.ndarray, modulus: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Q, K1 and K2 (..., 4) with :math:`\sum_c Q_{ic} K^{(1)}_{jc} K^{(2)}_{kc} = \cos(\theta_i + \theta_j + \theta_k)`.

    :math:`Q = (\cos, -\cos, -\sin, -\sin)`, :math:`K^{(1)} = (\cos, \sin, \sin, \cos)`, :math:`K^{(2)} = (\cos, \sin, \cos,
    \sin)`.
    """
    check_count(at_least=2, modulus=modulus)
    angle = 2 * math.pi * np.asarray(tokens) / modulus
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([c, -c, -s, -s], -1), np.stack([c, s, s, c], -1), np.stack([c, s, c, s], -1)


def gap(modulus: int) -> float:
    r"""Score of a match above the next best sum, :math:`1 - \cos(2\pi/M)`."""
    check_count(at_least=2, modulus=modulus)
    return 1 - math.cos(2 * math.pi / modulus)


def null_score(modulus: int) -> float:
    r"""Score of the null pair, half-way: :math:`(1 + \cos(2\pi/M))/2`."""
    return 1 - gap(modulus) / 2


def least_inverse_temperature_exact(n_tokens: int, modulus: int) -> float:
    r"""Inverse temperature from which the head is right on every sequence: :math:`\beta^* = 4 \ln n / G`, G the gap.

    A match alone outweighs the null pair at any temperature, so only pairs without a match can mislead: at most n^2 of score
    :math:`\cos(2\pi/M)`. They do below :math:`\beta^*` where all tokens are equal with :math:`3 x = \pm 1 \bmod M`, if 3 does not
    divide M: the bound is sharp, and grows like :math:`2 M^2 \ln n / \pi^2`.
    """
    check_count(n_tokens=n_tokens)
    return 4 * math.log(n_tokens) / gap(modulus)


def wrong_just_below_exact(n_tokens: int, modulus: int) -> int:
    """Answers that are wrong just below the threshold, of n per sequence: 2 n where 3 does not divide M, of the two constant
    sequences.

    All pairs must have the sum 1 or -1. Two tokens that differ by t give sums s, s + t and s + 2 t: t = 0 but for M = 4,
    where t = 2 will
    do, and M = 2, where every sum without a match is 1. These two are not counted here.
    """
    check_count(n_tokens=n_tokens)
    check_count(at_least=3, modulus=modulus)
    if modulus == 4:
        raise ValueError("modulus=4 has more sequences at the threshold than the constant ones; use another modulus")
    return 2 * n_tokens if modulus % 3 else 0


def pairwise_head_exists(modulus: int) -> bool:
    r"""Whether one pairwise head with a linear read-out decides Match3 on three tokens: never.

    For a fixed :math:`x_i` its decision is the sign of :math:`c + \varphi(x_j) + \varphi(x_k)`,
    :math:`\varphi(x) = w(x_i, x)(u(x) - \tau)`, softmax or not. Over all a the matches :math:`c + \varphi(a) + \varphi(-x_i
    - a)` sum to
    :math:`M c + 2\sum\varphi > 0`, and the mismatches :math:`c + \varphi(a) + \varphi(1 - x_i - a)` to the same, which is
    then not
    below 0.
    """
    check_count(at_least=2, modulus=modulus)
    return False


def best_pairwise_accuracy(modulus: int, p_match: float) -> float:
    r"""The largest share of right answers of one pairwise head on three tokens, if a share p of the sequences are matches.

    .. math:: 1 - \min_m \Big[\frac{M - m}{M} p + \frac{m(m-1)}{2} \frac{1 - p}{M(M-1)}\Big]

    over m = 0, ..., M, the matches that it finds: 3/4 for p = 1/2 and :math:`1 - (M-1)/M^2` for p = 1/M, whatever M. All matches
    are equally frequent, and so are all mismatches. A bound; attained at these two p.

    Why: given a, the answer is yes where :math:`\varphi(b) + \varphi(c) > 0`, softmax or not, whatever the read-out by a. If yes
    is said of two matches (b, b') and (c, c'), then :math:`\varphi` of (b, c') and of (c, b') add up to the same, so that yes is
    said of one of these mismatches at least. At p = 1/2 all matches are found by :math:`\varphi(b) = -\varphi(b')` with different
    sizes.
    """
    check_count(at_least=2, modulus=modulus)
    check_share(p_match=p_match)
    M, m = modulus, np.arange(modulus + 1)
    return float(1 - np.min((M - m) / M * p_match + m * (m - 1) / 2 * (1 - p_match) / (M * (M - 1))))
