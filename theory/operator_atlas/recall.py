r"""Recall of stored pairs: which state, or which rank of a map, reads how many back.

One of V values is chosen by the largest of V scores. The right one is ahead of the others by a margin a, in units of their
common normal noise: the share read right is :math:`P(a + z_0 > \max_{1 \le v < V} z_v) = \int \phi(x - a)\, \Phi(x)^{V-1} dx`.

A linear memory :math:`M = \sum_j k_j v_j^\top` of unit keys in R^r and one-hot values, read at one of its keys, has for every
value the sum of the cosines of the other keys that carry it, each of variance 1/r, and 1 more for the right value. With m = c V
pairs, c per value, :math:`a^2 \approx r/c = S/m` with the state S = r V: the state per pair is all that counts.
"""

from __future__ import annotations

import math

import numpy as np

from attnlab.theory.checks import check_count, check_not_negative


def share_right(margin: float, n_codes: int) -> float:
    r"""Share read right at a margin of a among V values, :math:`\int \phi(x - a)\, \Phi(x)^{V-1} dx`; 1/V at a = 0."""
    check_not_negative(margin=margin)
    check_count(n_codes=n_codes)
    if math.isinf(margin):
        return 1.0
    from scipy.special import ndtr

    node, weight = np.polynomial.legendre.leggauss(200)
    x = margin + 10 * node
    density = np.exp(-((x - margin) ** 2) / 2) / math.sqrt(2 * math.pi)
    return float(10 * weight @ (density * ndtr(x) ** (n_codes - 1)))


def memory_recall_limit(state: float, n_pairs: int, n_codes: int) -> float:
    r"""Share read right by a linear memory of S numbers that holds m pairs, :math:`a = \sqrt{S/m}`, many keys per value."""
    check_not_negative(state=state)
    check_count(n_pairs=n_pairs)
    return share_right(math.sqrt(state / n_pairs), n_codes)


def memory_recall_exact(key_width: int, per_code: int, n_codes: int, steps: int = 512) -> float:
    r"""The same for c keys per value: cosines on the sphere have density :math:`\propto (1 - t^2)^{(r-3)/2}`, not a normal one.

    The right value has c - 1 other keys, each wrong one c; sums of cosines by convolution on a grid of 1/``steps``.
    """
    check_count(at_least=4, key_width=key_width)
    check_count(per_code=per_code, n_codes=n_codes)
    t = np.linspace(-1, 1, 2 * steps + 1)
    one = np.maximum(1 - t * t, 0) ** ((key_width - 3) / 2)
    one /= one.sum()
    right = np.ones(1)  # on -(c - 1) ... c - 1
    for _ in range(per_code - 1):
        right = np.convolve(right, one)
    wrong = np.convolve(right, one)  # on -c ... c
    below = np.cumsum(wrong) - wrong / 2  # the middle of a cell
    return float(right @ below[2 * steps :] ** (n_codes - 1))


def best_map_recall(n_pairs: int, rank: int, value_width: int, n_codes: int, n_maps: int = 1) -> float:
    r"""Share read right through h maps of rank r, each the best projection of its rank: :math:`a^2 = h\, d_v\, r/(m - r)`.

    The signal of a projection is r/m, its noise (r/m)(1 - r/m)/d_v for random unit values; 1 for m <= r. A least-squares
    reference, by a few per cent above what such maps do, and not a bound that was proved.
    """
    check_count(n_pairs=n_pairs, rank=rank, value_width=value_width, n_maps=n_maps)
    if n_pairs <= rank:
        return 1.0
    return share_right(math.sqrt(n_maps * value_width * rank / (n_pairs - rank)), n_codes)
