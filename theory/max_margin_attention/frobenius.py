r"""Attention as a hard-margin support vector machine: the Frobenius-norm program, its certificate, and local optimality.

Tarzanagh, Li, Thrampoulidis and Oymak 2023 (arXiv 2308.16898). Tokens :math:`x_{it}` (or keys), queries :math:`z_i`, one
selected token :math:`\alpha_i` an input, and the matrices :math:`A_{it} = (x_{i\alpha_i} - x_{it}) z_i^T`:

.. math:: W_\alpha = \arg\min \|W\|_F \quad\text{s.t.}\quad \langle A_{it}, W\rangle \ge 1 \text{ for all } i,\ t \ne \alpha_i.

A prompt vector p (arXiv 2306.13596) is the case of one-dimensional queries :math:`z_i = 1`. Every solution carries the
largest violation of its optimality conditions. The nuclear-norm program is in :mod:`max_margin_attention_nuclear`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import null_space
from scipy.optimize import nnls

INFEASIBLE = 1e-9  # residual of the non-negative least squares below which no direction separates
ACTIVE = 1e-6  # a constraint within this of its bound counts as active


@dataclass(frozen=True)
class MaxMargin:
    """A solution: ``weights (key_dim, query_dim)``, ``multipliers (input, token)``, its norm, its certificate.

    ``residual`` is the largest relative violation of the optimality conditions (stationarity, both signs, and
    complementarity); for the nuclear norm it is the relative duality gap of points that are exactly feasible.
    """

    weights: np.ndarray
    multipliers: np.ndarray
    norm: float
    residual: float


class Infeasible(ValueError):
    """No weights select the given tokens; ``multipliers`` >= 0 with sum 1 combine the constraints to zero."""

    def __init__(self, multipliers: np.ndarray, distance: float) -> None:
        super().__init__(
            f"no weights separate the selected tokens: a convex combination of the {multipliers.size} constraints "
            f"has norm {distance:.2g}; select other tokens, or raise the dimension"
        )
        self.multipliers, self.distance = multipliers, distance


def margin_matrices(keys: ArrayLike, queries: ArrayLike, selected: ArrayLike) -> np.ndarray:
    """The matrices ``A_it``, shape (input, token, key_dim, query_dim); zero at the selected token.

    ``keys``: (input, token, key_dim); ``queries``: (input, query_dim); ``selected``: (input,), token indices.
    """
    keys, queries, selected = _instance(keys, queries, selected)
    gaps = keys[np.arange(len(keys)), selected][:, None] - keys
    return gaps[..., :, None] * queries[:, None, None, :]


def frobenius_svm(keys: ArrayLike, queries: ArrayLike, selected: ArrayLike) -> MaxMargin:
    r"""The least Frobenius norm that separates the selected tokens with margin one.

    Why: the dual of the distance of the origin from a polyhedron is a non-negative least-squares problem, solved exactly by
    active sets. The multipliers satisfy :math:`W_\alpha = \sum \lambda_{it} A_{it}`.

    Errors: :class:`Infeasible` with a certificate.

    >>> frobenius_svm([[[2.0, 0.0], [0.0, 0.0]]], [[1.0]], [0]).weights.ravel()
    array([0.5, 0. ])
    """
    A = margin_matrices(keys, queries, selected)
    used = _others(A, selected)
    weights, multipliers, residual = least_distance(A[used].reshape(used.sum(), -1), np.ones(used.sum()))
    spread = np.zeros(used.shape)
    spread[used] = multipliers
    weights = weights.reshape(A.shape[2:])
    return MaxMargin(weights, spread, float(np.linalg.norm(weights)), residual)


def least_distance(rows: ArrayLike, bounds: ArrayLike) -> tuple[np.ndarray, np.ndarray, float]:
    r"""The shortest w with ``rows @ w >= bounds``: ``(w, multipliers, residual)``.

    Solves :math:`\min_{u \ge 0} \|E u - f\|` with :math:`E = [\text{rows}^T; \text{bounds}^T]` and f the last unit vector; with
    r the residual vector, :math:`w = -r_{1..D} / r_{D+1}` and :math:`\lambda = -u / r_{D+1}`. The active rows are solved for
    once more, which brings the residual to rounding.

    References: [LawsonHanson1974]_, chapter 23.
    """
    A, b = np.asarray(rows, dtype=np.float64), np.asarray(bounds, dtype=np.float64)
    if A.ndim != 2 or b.shape != A.shape[:1] or not (np.isfinite(A).all() and np.isfinite(b).all()):
        raise ValueError(
            f"rows must be a finite matrix and bounds a finite vector with one entry per row, got {A.shape} and {b.shape}"
        )
    target = np.zeros(A.shape[1] + 1)
    target[-1] = 1.0
    E = np.vstack([A.T, b])
    u, distance = nnls(E, target, maxiter=30 * max(A.shape))
    if distance < INFEASIBLE:
        raise Infeasible(u / u.sum(), float(np.linalg.norm(u @ A) / u.sum()))
    r = E @ u - target
    w, multipliers = -r[:-1] / r[-1], u / -r[-1]
    support = multipliers > 0
    polished = np.zeros(len(A))
    polished[support] = np.linalg.lstsq(A[support] @ A[support].T, b[support], rcond=None)[0]
    candidates = [(w, multipliers), (polished @ A, polished)]
    w, multipliers = min(candidates, key=lambda pair: kkt_residual(A, b, *pair))
    return w, multipliers, kkt_residual(A, b, w, multipliers)


def kkt_residual(rows: np.ndarray, bounds: np.ndarray, w: np.ndarray, multipliers: np.ndarray) -> float:
    """The largest violation of the optimality conditions of :func:`least_distance`, each relative to its own scale."""
    slack, size = rows @ w - bounds, max(float(np.linalg.norm(w)), np.finfo(float).tiny)
    total = max(float(np.abs(multipliers).sum()), np.finfo(float).tiny)
    return float(
        max(
            np.linalg.norm(w - multipliers @ rows) / size,
            max(0.0, -slack.min(initial=0.0)),
            max(0.0, -multipliers.min(initial=0.0)) / total,
            np.abs(multipliers * slack).max(initial=0.0) / total,
        )
    )


def feasible(keys: ArrayLike, queries: ArrayLike, selected: ArrayLike) -> bool:
    r"""Whether some weights give every selected token the largest score of its input.

    True for every selection and almost all data if :math:`d \ge \max(T - 1, n)`, which is sufficient only: then the
    :math:`z_i` are linearly independent, and so are the :math:`x_{i\alpha_i} - x_{it}` of each i, hence all :math:`A_{it}`.
    """
    try:
        frobenius_svm(keys, queries, selected)
    except Infeasible:
        return False
    return True


def active_tokens(keys: ArrayLike, queries: ArrayLike, selected: ArrayLike, weights: ArrayLike) -> np.ndarray:
    """The neighbours: tokens whose constraint the solution meets with equality, boolean (input, token)."""
    A = margin_matrices(keys, queries, selected)
    margins = np.einsum("itab,ab->it", A, np.asarray(weights, dtype=np.float64))
    return _others(A, selected) & (margins < 1 + ACTIVE)


def locally_optimal(
    keys: ArrayLike, queries: ArrayLike, scores: ArrayLike, selected: ArrayLike, solution: MaxMargin | None = None
) -> bool:
    r"""Whether every selected token scores higher than each of its neighbours.

    .. math:: \gamma_{i\alpha_i} > \gamma_{it} \text{ for all } i \text{ and all } t \ne \alpha_i \text{ with }
              \langle A_{it}, W_\alpha \rangle = 1

    Tokens of higher score may exist as long as they are no neighbours. ``scores``: (input, token).
    """
    solution = solution or frobenius_svm(keys, queries, selected)
    scores, chosen = np.asarray(scores, dtype=np.float64), np.asarray(selected)
    best = scores[np.arange(len(scores)), chosen][:, None]
    return bool(np.all((best > scores) | ~active_tokens(keys, queries, selected, solution.weights)))


def several_token_svm(
    keys: ArrayLike, queries: ArrayLike, kept: ArrayLike, relaxed: ArrayLike | None = None
) -> np.ndarray:
    r"""The direction in which attention masks all but the kept tokens of each input.

    .. math:: \min \|W\|_F \quad\text{s.t.}\quad (x_{it} - x_{i\tau})^T W z_i = 0 \ (t, \tau \in O_i), \qquad
              (x_{it} - x_{i\tau})^T W z_i \ge b_i \ (t \in O_i,\ \tau \notin O_i)

    ``kept``: boolean (input, token), the sets O_i, none empty. The margin b_i is one, and zero for ``relaxed`` inputs (boolean,
    (input,)): those that no longer contribute to the gradient, say because all ReLU units of the head are off, need only
    keep their tokens masked, not mask them further. Solved in the null space of the equalities. With one kept token an input and
    nothing relaxed it is :func:`frobenius_svm`. If nothing is to be masked the result is zero.
    """
    keys, queries, kept = _kept_instance(keys, queries, kept)
    margins = np.where(np.zeros(len(keys), bool) if relaxed is None else np.asarray(relaxed, dtype=bool), 0.0, 1.0)
    equal, apart, bounds = [], [], []
    for X, z, keep, margin in zip(keys, queries, kept, margins, strict=True):
        first = X[keep][0]
        equal += [np.outer(first - x, z).ravel() for x in X[keep][1:]]
        apart += [np.outer(first - x, z).ravel() for x in X[~keep]]
        bounds += [margin] * int((~keep).sum())
    shape = keys.shape[2], queries.shape[1]
    if not any(bounds):
        return np.zeros(shape)
    basis = null_space(np.array(equal)) if equal else np.eye(shape[0] * shape[1])
    return (basis @ least_distance(np.array(apart) @ basis, np.array(bounds))[0]).reshape(shape)


def log_ratio_weights(keys: ArrayLike, queries: ArrayLike, attention: ArrayLike, kept: ArrayLike) -> np.ndarray:
    r"""The finite component W_fin: the shortest W that gives the kept tokens their ratios of attention.

    .. math:: (x_{it} - x_{i\tau})^T W z_i = \log (s_{it} / s_{i\tau}), \qquad t, \tau \in O_i

    ``attention``: (input, token), positive where kept. Zero if every input keeps one token.
    """
    keys, queries, kept = _kept_instance(keys, queries, kept)
    rows, logs = [], []
    for X, z, keep, s in zip(keys, queries, kept, np.asarray(attention, dtype=np.float64), strict=True):
        rows += [np.outer(X[keep][0] - x, z).ravel() for x in X[keep][1:]]
        logs += list(np.log(s[keep][0]) - np.log(s[keep][1:]))
    shape = keys.shape[2], queries.shape[1]
    return np.linalg.lstsq(np.array(rows), np.array(logs), rcond=None)[0].reshape(shape) if rows else np.zeros(shape)


def correlation(A: ArrayLike, B: ArrayLike) -> np.ndarray | float:
    """Cosine of the angle between matrices (of the last two axes), in [-1, 1]."""
    return 1 - misalignment(A, B)


def misalignment(A: ArrayLike, B: ArrayLike) -> np.ndarray | float:
    """One minus the correlation of the last two axes, ``|a - b|^2 / 2`` for the unit matrices: all digits of small values."""
    A, B = np.asarray(A, dtype=np.float64), np.asarray(B, dtype=np.float64)
    a, b = (M / np.linalg.norm(M, axis=(-2, -1), keepdims=True) for M in (A, B))
    return ((a - b) ** 2).sum((-2, -1)) / 2


def angle(A: ArrayLike, B: ArrayLike) -> np.ndarray | float:
    """Angle between matrices (of the last two axes), in [0, pi] radians."""
    return 2 * np.arcsin(np.sqrt(np.minimum(misalignment(A, B) / 2, 1.0)))


def _others(A: np.ndarray, selected: ArrayLike) -> np.ndarray:
    """Which (input, token) are not selected."""
    used = np.ones(A.shape[:2], bool)
    used[np.arange(len(A)), np.asarray(selected)] = False
    return used


def _instance(keys: ArrayLike, queries: ArrayLike, selected: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    keys, queries, selected = (
        np.asarray(keys, dtype=np.float64),
        np.asarray(queries, dtype=np.float64),
        np.asarray(selected),
    )
    if keys.ndim != 3 or queries.ndim != 2 or selected.shape != keys.shape[:1] or len(queries) != len(keys):
        raise ValueError(
            f"keys must be (input, token, key_dim), queries (input, query_dim) and selected (input,), got "
            f"{keys.shape}, {queries.shape} and {selected.shape}"
        )
    if selected.dtype.kind not in "iu" or np.any((selected < 0) | (selected >= keys.shape[1])):
        raise ValueError(f"selected={selected!r} must hold token indices from 0 to {keys.shape[1] - 1}")
    return keys, queries, selected


def _kept_instance(keys: ArrayLike, queries: ArrayLike, kept: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    kept = np.asarray(kept)
    keys, queries, _ = _instance(keys, queries, np.zeros(len(kept), int))
    if kept.dtype != bool or kept.shape != keys.shape[:2] or not kept.any(axis=1).all():
        raise ValueError(
            f"kept must be boolean (input, token) = {keys.shape[:2]} with a kept token in every input, got {kept!r}"
        )
    return keys, queries, kept
