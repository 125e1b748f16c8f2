r"""How fast Sinkhorn's algorithm makes an attention matrix doubly stochastic: contraction in Hilbert's projective metric.

``K = exp(S)`` is the matrix of exponentiated scores. Hilbert's distance of two positive vectors ``exp(a)`` and ``exp(b)`` is
the spread (maximum minus minimum) of ``a - b``.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.array_functions import tanh
from attnlab.theory.checks import check_count, check_not_negative


def projective_diameter(scores: ArrayLike) -> float:
    r"""Largest Hilbert distance of two images of ``K = exp(S)``.

    .. math:: \Delta(S) = \max_{ijkl} (S_{ik} + S_{jl} - S_{il} - S_{jk}) ,

    at most twice the spread of the scores, S of shape (query, key).
    """
    S = np.asarray(scores, dtype=float)
    if S.ndim != 2 or not np.isfinite(S).all():
        raise ValueError(f"scores must be a finite matrix, got shape {S.shape}")
    rows = S[:, None, :] - S[None, :, :]  # (query, query, key)
    return float(np.max(rows.max(-1) - rows.min(-1)))


def birkhoff_contraction(diameter: Any) -> Any:
    r"""Factor by which a positive matrix contracts Hilbert's metric: ``tanh(Delta / 4)``.

    Sharp for every matrix (Birkhoff, Trans. AMS 85, 1957, for the contraction). It is below 1 for all finite scores.
    """
    check_not_negative(diameter=diameter)
    return tanh(diameter / 4)


def sinkhorn_error_bound(diameter: Any, n_iterations: int) -> Any:
    r"""Bound on the spread of the log column sums after ``n_iterations`` row-and-column steps.

    .. math:: \delta_t \le \tanh(\Delta / 4)^{2 t - 1} \, \Delta ,

    where the start is softmax attention (rows sum to 1), a step divides by the column sums and then by the row sums, and
    the columns of the result are summed (Franklin and Lorenz, Linear Algebra Appl. 114/115, 1989, for geometric
    convergence in this metric).

    Why: with row factors ``u_t = 1 / (K v_t)`` and column factors ``v_t = 1 / (K^T u_{t-1})`` the column sums are
    ``K^T u_t / K^T u_{t-1}``. Inversion keeps Hilbert's metric, so a step contracts by ``tanh(Delta / 4)^2``; ``u_0`` and
    ``u_1`` are inverses of images of K, at most Delta apart, and K^T contracts once more.
    """
    check_count(n_iterations=n_iterations)
    check_not_negative(diameter=diameter)
    return birkhoff_contraction(diameter) ** (2 * n_iterations - 1) * diameter
