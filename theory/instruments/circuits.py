r"""What instruments of circuits should read: weights of hand-written induction, chance overlap of circuits, chance scores of
codes, and windows that a program needs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from attnlab.theory.checks import check_count, check_share


def weight_of_one(strength: float, others: int) -> float:
    r"""Weight of a key with score b among ``others`` of score 0: :math:`e^b/(e^b + n)`."""
    check_count(at_least=0, others=others)
    return 1 / (1 + others * math.exp(-strength))


def match_weight_exact(previous: float, match: float, row: int, position: int) -> float:
    r"""Weight of the induction head in row i = ``row`` (0-based) on the one key at j = ``position`` whose previous token matches.

    .. math:: \frac{e^{b_1 w_j}}{e^{b_1 w_j} + \sum_{k \le i,\, k \ne j} e^{b_1 r_k}}, \qquad
              w_j = \frac{e^{b_0}}{e^{b_0} + j}, \qquad r_k = \frac{n_k}{e^{b_0} + k},

    n_k copies of the query's token among keys 0..k that are not k's previous one: with its earlier copy at j - 1 > 0 and no
    other, 1 for k = j - 1 and j < k < i, 2 for k = i, else 0. To first order in e^(-b_0) it is :math:`e^{b_1 w}/(e^{b_1 w} + i)`.
    """
    check_count(at_least=2, position=position)
    check_count(at_least=position + 1, row=row)
    k = np.arange(row + 1)
    written = ((k >= position - 1).astype(float) + (k == row)) / (math.exp(previous) + k)
    written[position] = math.exp(previous) / (math.exp(previous) + position)
    lifted = np.exp(match * written)
    return float(lifted[position] / lifted.sum())


def overlap_mean(n_heads: int, first: int, second: int) -> float:
    r"""Heads that two random sets of a and b among N share: :math:`ab/N`."""
    _check_sets(n_heads, first, second)
    return first * second / n_heads


def overlap_variance(n_heads: int, first: int, second: int) -> float:
    r"""Variance of that number, :math:`ab(N-a)(N-b)/(N^2(N-1))`."""
    _check_sets(n_heads, first, second)
    return first * second * (n_heads - first) * (n_heads - second) / (n_heads**2 * (n_heads - 1))


def overlap_tail(n_heads: int, first: int, second: int, at_least: int) -> float:
    """P(the sets share at least so many heads), the hypergeometric law."""
    _check_sets(n_heads, first, second)
    k = np.arange(max(at_least, first + second - n_heads, 0), min(first, second) + 1)
    log = _log_choose(first, k) + _log_choose(n_heads - first, second - k) - _log_choose(n_heads, second)
    return float(np.exp(log).sum())


def codes_null(shares: Sequence[float], n_negative: int) -> float:
    r"""Expected share of positive examples whose code no negative one has, codes alike on both:
    :math:`\sum_k p_k (1 - p_k)^{n}`."""
    check_count(n_negative=n_negative)
    p = np.asarray(shares, dtype=np.float64)
    check_share(shares=p)
    return float((p * (1 - p) ** n_negative).sum())


def codes_null_sd(shares: Sequence[float], n_positive: int, n_negative: int) -> float:
    r"""Standard deviation of that share over draws of all prompts' codes, :math:`\sqrt{\mathrm{E} S^2 - (\mathrm{E} S)^2}`.

    .. math:: \mathrm{E} S^2 = \sum_k \Bigl(\frac{p_k(1-p_k)}{m} + p_k^2\Bigr)(1-p_k)^n
              + \Bigl(1 - \frac1m\Bigr) \sum_{k \ne l} p_k p_l (1 - p_k - p_l)^n,

    m positive and n negative prompts: positive and negative codes are independent, counts of positive ones multinomial.
    """
    check_count(n_positive=n_positive, n_negative=n_negative)
    p = np.asarray(shares, dtype=np.float64)
    check_share(shares=p)
    both = np.maximum(1 - p[:, None] - p, 0.0) ** n_negative * p[:, None] * p
    own = ((p * (1 - p) / n_positive + p**2) * (1 - p) ** n_negative).sum()
    second = own + (1 - 1 / n_positive) * (both.sum() - np.trace(both))
    return float(np.sqrt(max(second - codes_null(shares, n_negative) ** 2, 0.0)))


def windows_of(needed: Sequence[int], n_layers: int, most: int) -> list[tuple[int, tuple[int, ...]]]:
    """(wait, window) with which a program works whose last token must look back in exactly the layers ``needed``.

    All windows of at most ``most`` layers from ``wait`` on that contain them, for every wait up to the first of them.
    """
    check_count(n_layers=n_layers, most=most)
    need = set(needed)
    return [
        (wait, window)
        for wait in range(min(need) + 1)
        for size in range(most + 1)
        for window in itertools.combinations(range(wait, n_layers), size)
        if need <= set(window)
    ]


def answer_probability(weight: float, gain: float, n_words: int) -> float:
    r"""Probability of the answer by a read-out of ``gain`` on what a head of this weight on it copies:
    :math:`1/(1 + \sum e^{-g(w - w_k)})`, the rest of the weight spread evenly over the other words."""
    check_share(weight=weight)
    check_count(at_least=2, n_words=n_words)
    other = (1 - weight) / (n_words - 1)
    return 1 / (1 + (n_words - 1) * math.exp(-gain * (weight - other)))


def _log_choose(n: int, k: np.ndarray | int) -> np.ndarray:
    return special.gammaln(n + 1) - special.gammaln(np.asarray(k) + 1) - special.gammaln(n - np.asarray(k) + 1)


def _check_sets(n_heads: int, first: int, second: int) -> None:
    check_count(n_heads=n_heads)
    check_count(at_least=0, first=first, second=second)
    if max(first, second) > n_heads:
        raise ValueError(f"sets of {first} and {second} heads do not fit into n_heads={n_heads}")
