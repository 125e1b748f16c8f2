r"""What reach, rank and dilution leave: the numbers that the criteria of the matrix compare with a bar."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from attnlab.theory.checks import check_count, check_not_negative


def share_right(margin: float, n_codes: int) -> float:
    r"""Share read right at a margin of a among V values, :math:`\int \phi(x - a)\, \Phi(x)^{V-1} dx`; 1/V at a = 0."""
    check_not_negative(margin=margin)
    check_count(n_codes=n_codes)
    from scipy.special import ndtr

    x = margin + np.linspace(-9, 9, 4001)
    density = np.exp(-((x - margin) ** 2) / 2) / math.sqrt(2 * math.pi)
    return float(np.trapezoid(density * ndtr(x) ** (n_codes - 1), x))


def read_through_rank(n_pairs: int, rank: int, value_width: int, n_codes: int, n_maps: int) -> float:
    r"""Share of m pairs read right through maps of rank r, :math:`a^2 = h\, d_v\, r/(m - r)`, 1 for m <= r.

    Values are random unit vectors and each of the h maps is a projection of rank r: the right value has r/m of its size, the
    others add noise of variance (r/m)(1 - r/m)/d_v per map. A reference and no bound: signs of a margin can be right where
    averages of values are not, and maps that were trained stayed below it.
    """
    check_count(n_pairs=n_pairs, rank=rank, value_width=value_width, n_maps=n_maps)
    if n_pairs <= rank:
        return 1.0
    return share_right(math.sqrt(n_maps * value_width * rank / (n_pairs - rank)), n_codes)


def share_within_reach(distances: Sequence[int], reach: int, chance: float) -> float:
    """Best score where the answer lies at one of these distances, alike likely: right within ``reach``, else guessed."""
    if not len(distances):
        raise ValueError("distances is empty; give the distance of every answer")
    seen = sum(distance <= reach for distance in distances) / len(distances)
    return seen + (1 - seen) * chance


def softmax_weight(n: int, trained_at: int, weight: float) -> float:
    r"""Weight of the sought key among n, if it was ``weight`` among ``trained_at``: :math:`1/(1 + (n-1) e^{-g})`.

    The gap g of its score to the others is what :math:`p = 1/(1 + (n_0 - 1)e^{-g})` says at the length of training.
    """
    check_count(at_least=2, n=n, trained_at=trained_at)
    if not 0 < weight < 1:
        raise ValueError(f"weight={weight!r} must lie between 0 and 1")
    return 1 / (1 + (n - 1) * (1 / weight - 1) / (trained_at - 1))


def one_step_error(dim: int, n: int) -> float:
    r"""Error of the best step of gradient descent from 0 on n pairs without noise, relative to y^2: :math:`(d+1)/(n+d+1)`.

    For x ~ N(0, I_d) and w isotropic; 1 without pairs.
    """
    check_count(dim=dim)
    if n < 0:
        raise ValueError(f"n={n!r} must not be negative")
    return (dim + 1) / (n + dim + 1)


@functools.cache
def filter_error_beyond_rank(side: int, rank: int, n_filters: int = 64) -> float:
    """Share of a random 3 x 3 filter on a grid of side x side that no map of this rank has: the tail of its squared singular
    values, mean over Gaussian filters of a fixed stream."""
    check_count(side=side, rank=rank)
    shifts, tails = _shifts(side), []
    for taps in np.random.default_rng(0).normal(size=(n_filters, 9)):
        s2 = np.linalg.svd(np.tensordot(taps, shifts, 1), compute_uv=False) ** 2
        tails.append(s2[rank:].sum() / s2.sum())
    return float(np.mean(tails))


def _shifts(side: int) -> np.ndarray:
    """The nine maps (cell, cell) that move a grid by -1, 0, 1 in both directions, zero beyond the border."""
    found = []
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            found.append(np.kron(np.eye(side, k=down), np.eye(side, k=right)))
    return np.array(found)
