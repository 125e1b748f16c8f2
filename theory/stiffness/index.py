r"""The stiffness index of a trajectory: what it is for a linear flow, and how it falls along a stack of random blocks.

Huang, Liang, Qin, Zhong and Lin 2023 (arXiv 2308.09939) measure how fast a feature changes along the depth of a residual
network by the index that Liang, Huang and Zhang (ICLR 2022) defined for solutions of ODEs,

.. math:: S(u, \dot u) = \|\dot u\| / \|u\|, \qquad S_t = \|x_{t+1} - x_t\| / \|x_t\| \text{ for block t (unit step)}.

The statements below are elementary.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_positive


def stiffness_index(state: ArrayLike, following: ArrayLike, step: float = 1.0) -> np.ndarray:
    r"""Index of one step, :math:`\|x_{t+1} - x_t\| / (h \|x_t\|)`, norms over the last axis; not zero states."""
    x, y = np.asarray(state, dtype=np.float64), np.asarray(following, dtype=np.float64)
    check_positive(step=step)
    norm = np.linalg.norm(x, axis=-1)
    if np.any(norm == 0):
        raise ValueError("a state is zero, and its index is not defined; leave it out")
    return np.linalg.norm(y - x, axis=-1) / (step * norm)


def gated_index_bounds(gate: ArrayLike, branch: ArrayLike, state: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    r"""Sharp bounds on the index of a gated block, :math:`\min |a|\, \|f\|/\|x\| \le \|a \odot f\|/\|x\| \le \max |a|\,
    \|f\|/\|x\|`.

    Arrays (..., channel); returns two arrays (...). Equal gates reach both ends.
    """
    a, f, x = (np.asarray(each, dtype=np.float64) for each in (gate, branch, state))
    raw = np.linalg.norm(f, axis=-1) / np.linalg.norm(x, axis=-1)
    return np.abs(a).min(-1) * raw, np.abs(a).max(-1) * raw


def linear_index_range(matrix: ArrayLike) -> tuple[float, float]:
    r"""Least and largest index of the flow :math:`\dot u = A u`: the extreme singular values of A; both are reached."""
    singular = np.linalg.svd(_square(matrix), compute_uv=False)
    return float(singular[-1]), float(singular[0])


def linear_index_rms(matrix: ArrayLike) -> float:
    r"""Root mean square of the index of :math:`\dot u = A u` over uniform directions of u, :math:`\|A\|_F / \sqrt d`."""
    A = _square(matrix)
    return float(np.linalg.norm(A) / len(A) ** 0.5)


def linear_index_spread(matrix: ArrayLike) -> float:
    r"""Standard deviation over uniform directions u of half of :math:`|A u|^2` over its mean: of the rms index, per
    direction.

    .. math:: \frac{1}{2} \sqrt{\frac{2 (d\, \mathrm{tr} M^2 / (\mathrm{tr} M)^2 - 1)}{d + 2}}, \qquad M = A^T A .

    Exact; divided by :math:`\sqrt n` it is the relative error of the root mean square over n directions, to first
    order.
    """
    squares = np.linalg.svd(_square(matrix), compute_uv=False) ** 2
    d = len(squares)
    return float(np.sqrt(2 * (d * (squares**2).sum() / squares.sum() ** 2 - 1) / (d + 2)) / 2)


def eigenvector_index(eigenvalue: complex, step: float) -> float:
    r"""Index of :math:`\dot u = A u` between two times ``step`` apart, A normal and u in the eigenspace of lambda, conj(lambda).

    .. math:: |e^{\lambda h} - 1| / h \to |\lambda| \text{ as } h \to 0.
    """
    check_positive(step=step)
    return float(abs(np.expm1(complex(eigenvalue) * step)) / step)


def orthogonal_increments_index(n_blocks: int, increment: float = 1.0, start: float = 1.0) -> np.ndarray:
    r"""Index along a stack whose increments, all of norm s, are orthogonal to each other and to the first feature; (n_blocks,).

    .. math:: S_t = s / \sqrt{\|x_0\|^2 + t s^2}, \qquad t = 0, 1, \ldots

    For s = ||x_0|| this is :math:`1 / \sqrt{1 + t}`. Independent random blocks that normalise their input and have zero mean
    outputs of this norm satisfy it up to fluctuations that vanish with the width.
    """
    if n_blocks < 1 or not (increment > 0 and start > 0):
        raise ValueError(f"n_blocks={n_blocks!r}, increment={increment!r} and start={start!r} must be positive")
    return increment / np.sqrt(start**2 + np.arange(n_blocks) * increment**2)


def aligned_increments_index(n_blocks: int, increment: float = 1.0, start: float = 1.0) -> np.ndarray:
    r"""The other extreme, increments of norm s that all point along the feature: :math:`S_t = s / (\|x_0\| + t s)`."""
    if n_blocks < 1 or not (increment > 0 and start > 0):
        raise ValueError(f"n_blocks={n_blocks!r}, increment={increment!r} and start={start!r} must be positive")
    return increment / (start + np.arange(n_blocks) * increment)


def _square(matrix: ArrayLike) -> np.ndarray:
    A = np.asarray(matrix, dtype=np.float64)
    if A.ndim != 2 or A.shape[0] != A.shape[1]:
        raise ValueError(f"matrix must be square, got shape {A.shape}")
    return A
