r"""The nuclear-norm support vector machine of attention, whose direction training key and query matrices finds.

Tarzanagh, Li, Thrampoulidis and Oymak 2023 (arXiv 2308.16898): with :math:`W = K Q^T` and the matrices A_it of
:mod:`max_margin_attention`,

.. math:: W^*_\alpha \in \arg\min \|W\|_* \ \text{s.t.}\ \langle A_{it}, W\rangle \ge 1, \qquad
          \text{dual: } \max \sum \lambda_{it} \ \text{s.t.}\ \Big\|\sum \lambda_{it} A_{it}\Big\|_{op} \le 1,\ \lambda \ge 0.

The nuclear norm is half of the least trace of a positive semidefinite matrix with W as its off-diagonal block. Solved by
an interior-point method; the certificate is recomputed from the returned points, without trusting the solver.
"""

from __future__ import annotations

import functools

import clarabel
import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from attnlab.theory.max_margin_attention.frobenius import Infeasible, MaxMargin, frobenius_svm, margin_matrices

RANK_TOLERANCE = 1e-5  # singular values below this part of the largest count as zero


def nuclear_svm(keys: ArrayLike, queries: ArrayLike, selected: ArrayLike) -> MaxMargin:
    r"""The least nuclear norm that separates the selected tokens with margin one.

    ``residual`` is the relative duality gap between ``weights``, scaled to margins of at least one, and ``multipliers``, scaled
    to :math:`\|\sum \lambda A\|_{op} \le 1`: both points are feasible, so the norm is optimal up to this gap whatever the solver
    did. The minimiser need not be unique; for generic data it is.

    Errors: :class:`~max_margin_attention.Infeasible` with a certificate; ``RuntimeError`` if the solver stops early.
    """
    A = margin_matrices(keys, queries, selected)
    used = np.ones(A.shape[:2], bool)
    used[np.arange(len(A)), np.asarray(selected)] = False
    left = _range_of(A.transpose(2, 0, 1, 3).reshape(A.shape[2], -1))  # of the key differences
    right = _range_of(np.asarray(queries, dtype=np.float64).T)
    rows = left.T @ A[used] @ right
    small, multipliers = _solve(rows)
    slack = np.tensordot(rows, small, 2)
    if not slack.min() > 0:
        raise Infeasible(multipliers / multipliers.sum(), float("nan"))
    small = small / min(slack.min(), 1.0)
    multipliers = np.maximum(multipliers, 0)
    multipliers = multipliers / np.linalg.norm(np.tensordot(multipliers, rows, 1), 2)
    norm = float(np.linalg.norm(small, "nuc"))
    spread = np.zeros(used.shape)
    spread[used] = multipliers
    return MaxMargin(left @ small @ right.T, spread, norm, abs(norm - float(multipliers.sum())) / norm)


def dual_matrix(keys: ArrayLike, queries: ArrayLike, selected: ArrayLike, solution: MaxMargin) -> np.ndarray:
    r"""The matrix :math:`Y = \sum \lambda_{it} A_{it}` of the certificate, of operator norm one.

    The singular vectors of W* belong to the singular values 1 of Y. Trained factors lose a direction of Y with a smaller one
    :math:`\sigma` slowly: gradients tend to the direction of -Y, so :math:`\dot K = Y Q,\ \dot Q = Y^T K` in a suitable time,
    the part of W along it grows like :math:`e^{2\sigma\tau}` against :math:`e^{2\tau}`, and its share falls like
    :math:`\|W\|^{\sigma - 1}`.
    """
    return np.tensordot(solution.multipliers, margin_matrices(keys, queries, selected), 2)


def rank(weights: ArrayLike) -> int:
    """Number of singular values above 1e-5 of the largest: well above the error of the solver, below any true one seen."""
    values = np.linalg.svd(np.asarray(weights, dtype=np.float64), compute_uv=False)
    return int(np.sum(values > RANK_TOLERANCE * values[0]))


def stable_rank(weights: ArrayLike) -> np.ndarray | float:
    """Squared nuclear over squared Frobenius norm, of the last two axes: between 1 and the rank, without a tolerance."""
    values = np.linalg.svd(np.asarray(weights, dtype=np.float64), compute_uv=False)
    return values.sum(-1) ** 2 / (values**2).sum(-1)


def _solve(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights and multipliers of the semidefinite program; ``rows``: (constraint, a, b)."""
    m, a, b = rows.shape
    size = a + b
    where, scale = _triangle(size)
    column, row = where
    n = len(row)
    across = (row < a) & (column >= a)  # the entries of the block W
    constraints = np.zeros((m, n))
    constraints[:, across] = rows[:, row[across], column[across] - a] / scale[across]
    trace = np.where(row == column, 0.5, 0.0)
    matrix = sparse.vstack([sparse.csc_matrix(-constraints), -sparse.identity(n, format="csc")]).tocsc()
    settings = clarabel.DefaultSettings()
    settings.verbose, settings.max_threads = False, 1
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-10
    solver = clarabel.DefaultSolver(
        sparse.csc_matrix((n, n)),
        trace,
        matrix,
        np.concatenate([-np.ones(m), np.zeros(n)]),
        [clarabel.NonnegativeConeT(m), clarabel.PSDTriangleConeT(size)],
        settings,
    )
    found = solver.solve()
    if "Infeasible" in str(found.status):
        multipliers = np.maximum(np.array(found.z[:m]), 0)
        raise Infeasible(
            multipliers / multipliers.sum(),
            float(np.linalg.norm(np.tensordot(multipliers, rows, 1)) / multipliers.sum()),
        )
    if str(found.status) not in ("Solved", "AlmostSolved", "InsufficientProgress"):
        raise RuntimeError(
            f"the semidefinite program with {m} constraints stopped with {found.status}; scale the tokens to length one"
        )
    weights = np.zeros((a, b))
    weights[row[across], column[across] - a] = np.array(found.x)[across] / scale[across]
    return weights, np.array(found.z[:m])


@functools.cache
def _triangle(size: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Columns and rows of the upper triangle, column by column, and the solver's factors (sqrt 2 off the diagonal)."""
    column, row = np.tril_indices(size)
    return (column, row), np.where(row == column, 1.0, np.sqrt(2.0))


def _range_of(matrix: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the column space: the optimum has no part outside, which would only add to its norm."""
    U, values, _ = np.linalg.svd(matrix, full_matrices=False)
    return U[:, values > 1e-12 * values[0]]


__all__ = ["Infeasible", "MaxMargin", "frobenius_svm", "nuclear_svm", "rank", "stable_rank"]
