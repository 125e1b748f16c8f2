r"""Which stacks of variants can solve which task, and how well those do that cannot.

Variants: "standard", "approximate" (polynomial in the place of the exponential), "non_approximate" (one score per key), "random"
and "fixed" (maps that do not depend on the input), "static" (maps of token embeddings), "mlp" (no mixing). Layers have no
feed-forward blocks. Derived here; Xue, Moosavi and Aletras 2025 (arXiv 2510.11602) for the variants.
"""

from __future__ import annotations

import math

import numpy as np

from attnlab.theory.checks import check_count, check_one_of

VARIANTS = ("standard", "approximate", "non_approximate", "random", "fixed", "static", "mlp")
#: Layers that can bring a token to its neighbour by position: all that mix, since positions are in the tokens.
SHIFTS = ("standard", "approximate", "non_approximate", "random", "fixed", "static")
#: Layers that compare what a query holds with what the layer below has put beside each value.
MATCHES = ("standard", "approximate")
#: Layers that mix tokens at all.
MIXES = SHIFTS


def recall_accuracy(first: str, second: str, n_pairs: int, n_values: int) -> float:
    r"""Accuracy on recall (k1 v1 ... kn vn k) that a stack of two layers can reach.

    1 if the first layer can bring every key to its value and the second can compare it with the query; else
    :func:`bag_of_values_accuracy` if any layer mixes; else chance, :math:`1/V`.

    Why: only a layer whose map depends on what the layer below has written can select the value by its key. Without such a layer
    what is read is a sum over values that does not know which key each belongs to, so that a permutation of the values among the
    keys changes nothing, and the best answer is the most frequent value. A map of token embeddings matches the query to keys,
    before whose values were read.
    """
    check_one_of(VARIANTS, first=first, second=second)
    if first in SHIFTS and second in MATCHES:
        return 1.0
    if first in MIXES or second in MIXES:
        return bag_of_values_accuracy(n_pairs, n_values)
    return 1 / n_values


def bag_of_values_accuracy(n_pairs: int, n_values: int) -> float:
    r"""Accuracy of naming the most frequent of n independent values out of V: :math:`E[\max_v c_v] / n`, exact.

    Why: the asked-for pair is uniform among the n, so a value that occurs c times is right with probability c/n. From the number
    of sequences in which no value occurs more than c times, :math:`n!\,[x^n] (\sum_{k \le c} x^k/k!)^V`.
    """
    check_count(n_pairs=n_pairs, n_values=n_values)
    total = float(n_values) ** n_pairs
    mean = 0.0
    for c in range(n_pairs):  # E max = sum over c >= 0 of P(max > c)
        series = np.zeros(n_pairs + 1)
        series[0] = 1.0
        step = np.array([1 / math.factorial(k) for k in range(c + 1)])
        for _ in range(n_values):
            series = np.convolve(series, step)[: n_pairs + 1]
            series = np.pad(series, (0, n_pairs + 1 - len(series)))
        mean += 1 - math.factorial(n_pairs) * series[n_pairs] / total
    return mean / n_pairs


def any_value_accuracy(n_pairs: int, n_values: int) -> float:
    r"""Accuracy of naming one of the n values at random: :math:`1/n + (1 - 1/n)/V`; the rival that does not count."""
    check_count(n_pairs=n_pairs, n_values=n_values)
    return 1 / n_pairs + (1 - 1 / n_pairs) / n_values


def newest_weight_exact(position: int) -> float:
    r"""Mean softmax weight of the newest of i tokens with exchangeable scores: :math:`1/i`, whatever the law of the scores.

    Why: all i weights have the same mean, and their sum is 1.
    """
    check_count(position=position)
    return 1 / position


def pointing_rows_bound(n_tokens: int, lag: int) -> int:
    r"""Most rows of a causal map with one score per key whose largest weight lies a lag of D >= 1 back: :math:`\lceil (n - D)/(D
    + 1) \rceil`.

    Sharp. Why: row i needs :math:`s_{i-D}` above all scores up to i, among them :math:`s_{i+j-D}`, 1 <= j <= D, and row i + j
    needs the reverse; so such rows are more than D apart. Standard attention points back in every row.
    """
    check_count(n_tokens=n_tokens, lag=lag)
    return max(0, -(-(n_tokens - lag) // (lag + 1)))


def uneven_balance(n_heads: int) -> float:
    r"""Value of the load-balance loss :math:`\sum_i f_i P_i` (one head of m per token) that uneven routing reaches, below the
    even 1/m.

    .. math:: \frac1m - \frac{1}{4 m^2}

    Why: a share a of tokens prefers head 1 by next to nothing, the others head 2 for certain. Then :math:`f = (a, 1 - a)` and P
    on them is
    :math:`(a/m, 1 - a + a/m)`, so the sum is :math:`a/m + (1 - a)^2`, least at :math:`1 - a = 1/(2m)`.
    """
    check_count(at_least=2, n_heads=n_heads)
    return 1 / n_heads - 1 / (4 * n_heads**2)
