r"""Depth two: a majority vote of random rank-one heads, counted in a first layer and acted on in a second.

A head with q = k uniform on the sphere chooses the point with the larger <x_i, q>, if <q, y> > 0, and the other if not. The
votes of H independent heads are counted, and the second layer outputs the point with more of them.

References: Amsel, Yehudai and Bruna 2024 (arXiv 2407.16153), Theorem 5 (two layers, N = 2).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, roots_legendre

from attnlab.theory.checks import check_count
from attnlab.theory.head_rank.full_rank_head import coordinate_density


def head_accuracy(coordinate: ArrayLike) -> np.ndarray:
    r"""Probability ``1/2 + arcsin|t| / pi`` that a random head with q = k chooses the nearest point, given t = <w, y>.

    Why: it is right when y and w (turned to <w, y> > 0) are on one side of a random plane. It does not depend on d.
    """
    return 0.5 + np.arcsin(np.abs(np.asarray(coordinate, dtype=np.float64))) / math.pi


def vote_error_exact(dim: int, n_heads: int) -> float:
    r"""Error of the majority vote, averaged over random heads; at a tie the output is the mean of both points.

    .. math:: E = \mathbb E_t \bigl[ 2 P(B < H/2) + \tfrac12 P(B = H/2) \bigr], \qquad
              B \sim \mathrm{Bin}(H, \tfrac12 + \arcsin|t| / \pi), \quad t \sim p_d.

    The factors are the squared distances of the target to the other point and to the mean.
    """
    check_count(at_least=2, dim=dim)
    check_count(n_heads=n_heads)
    x, weight = roots_legendre(600)
    z = (x + 1) / 2  # t = sin(pi z^2 / 2): nodes gather at 0, where votes are close
    phi = z**2 * math.pi / 2
    mass = weight * z * math.pi / 2 * np.cos(phi) * 2 * coordinate_density(np.sin(phi), dim)
    accuracy = head_accuracy(np.sin(phi))
    wrong = bdtr((n_heads + 1) // 2 - 1, n_heads, accuracy)
    tie = bdtr(n_heads // 2, n_heads, accuracy) - wrong if n_heads % 2 == 0 else 0.0
    return float(np.sum(mass * (2 * wrong + 0.5 * tie)))


def vote_error_approx(dim: int, n_heads: float) -> float:
    r"""The same for Gaussian votes and coordinates: ``(2 / pi) arctan((pi / 2) sqrt(d / H))``.

    To leading order ``sqrt(d / H)``: d / error^2 rank-one heads suffice with two layers.
    """
    return 2 / math.pi * math.atan(math.pi / 2 * math.sqrt(dim / n_heads))
