r"""Sums of rank-one hard-max heads with scalar values on two orthonormal points: exact errors, and the best values.

Head h chooses x_1 or x_2 by sign(<q_h, y> <k_h, w>) and contributes a_h times the chosen point. All errors are quadratic in
a with the two kernels below, so the population error of any such model is known without sampling.

References: Amsel, Yehudai and Bruna 2024 (arXiv 2407.16153), the random construction of the experiments. Funk-Hecke formula:
Atkinson and Han 2012, theorem 2.22.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cholesky, solve_triangular
from scipy.special import roots_legendre

from attnlab.theory.head_rank.full_rank_head import coordinate_density
from attnlab.theory.head_rank.lower_bounds import harmonic_dimension, sign_eigenvalue

_DEGREES = 301  # terms fall like l^(-2 - d/2); 1e-8 of the sum is left at d = 3


def head_agreement(Q: ArrayLike, K: ArrayLike) -> np.ndarray:
    r"""Probability that two heads choose the same point, for unit rows of Q, K ``(head, dim)``.

    .. math:: C_{hh'} = \tfrac12 + \tfrac{2}{\pi^2} \arcsin\langle q_h, q_{h'}\rangle \arcsin\langle k_h, k_{h'}\rangle.

    It is also the inner product of what they choose, since the points are orthonormal. The arcsine is taken as pi/2 minus the
    angle 2 arctan2(|a - b|, |a + b|): an inner product that rounds to 1 - 1e-16 would put it off by 1e-8.
    """
    return 0.5 + 2 / math.pi**2 * _arcsines(_unit("Q", Q)) * _arcsines(_unit("K", K))


def target_agreement(cosine: ArrayLike, dim: int) -> np.ndarray:
    r"""Probability that a head with <q, k> = ``cosine`` chooses the nearest point.

    .. math:: b(c) = \tfrac12 + \tfrac12 \sum_{l \text{ odd}} N(d, l)\, \lambda_l^3\, P_l(c),

    P_l the Gegenbauer polynomial with P_l(1) = 1. On the circle, with theta' = min(theta, pi - theta), it is
    ``1/2 + sign(cos theta) (1/4 - (theta' / pi)^2)``. At c = 1 it is ``1/2 + E|arcsin t| / pi``.
    """
    cosine = np.asarray(cosine, dtype=np.float64)
    return 0.5 + 0.5 * _zonal_sum(cosine, dim, _DEGREES, lambda l, lam: harmonic_dimension(dim, l) * lam**3)


def best_errors(Q: ArrayLike, K: ArrayLike) -> np.ndarray:
    r"""Least errors over the values of the first 1, 2, ..., H heads, shape (head,).

    .. math:: \min_a\, 1 - 2 a \cdot b + a^T C a = 1 - b^T C^{-1} b.

    One Cholesky factor C = L L^T serves all: ``b^T C^-1 b`` of the first h heads is the sum of the first h squares of L^-1 b.
    """
    C, b = _kernels(Q, K)
    return 1 - np.cumsum(solve_triangular(cholesky(C, lower=True), b, lower=True) ** 2)


def best_values(Q: ArrayLike, K: ArrayLike) -> np.ndarray:
    """The values a = C^-1 b of least error, shape (head,)."""
    return np.linalg.solve(*_kernels(Q, K))


def aligned_heads_limit(dim: int) -> float:
    r"""Least error of infinitely many heads with q = k uniform, and one with constant scores.

    .. math:: \tfrac12 \Bigl(1 - \frac{(\mathbb E |\arcsin t|)^2}{\mathbb E \arcsin^2 t}\Bigr), \qquad t \sim p_d.

    Their average moves by (2/pi) arcsin<w, y> along w, a function of one variable that is not the sign.
    """
    x, weight = roots_legendre(600)
    phi = (x + 1) * math.pi / 4  # t = sin(phi), phi in (0, pi/2)
    mass = weight * math.pi / 4 * np.cos(phi) * 2 * coordinate_density(np.sin(phi), dim)
    return float(0.5 * (1 - np.sum(mass * phi) ** 2 / np.sum(mass * phi**2)))


def ideal_weight(angles: ArrayLike, dim: int, max_degree: int) -> np.ndarray:
    r"""Density of values over heads (q, k) at an angle that gives the sign exactly, up to degree ``max_degree``.

    .. math:: u(\theta) = \sum_{l \text{ odd} \le L} \frac{N(d, l)}{\lambda_l} P_l(\cos\theta).

    Why: two Funk-Hecke steps turn ``int int u(q, k) sign<q, y> sign<k, w>`` into ``sum N lambda_l^2 u_l P_l(<w, y>)``, and the
    sign is ``sum N lambda_l P_l``. The terms grow with l: no density exists in the limit, and heights depend on L.
    """
    return _zonal_sum(
        np.cos(np.asarray(angles, dtype=np.float64)), dim, max_degree, lambda l, lam: harmonic_dimension(dim, l) / lam
    )


def _zonal_sum(cosine: np.ndarray, dim: int, max_degree: int, coefficient) -> np.ndarray:
    """Sum over odd l of coefficient(l, lambda_l) P_l(cosine), by the three-term recurrence of P_l."""
    before, now, total = np.ones_like(cosine), cosine, np.zeros_like(cosine)
    for degree in range(1, max_degree + 1):
        if degree % 2:
            total = total + coefficient(degree, sign_eigenvalue(dim, degree)) * now
        if dim == 2:
            before, now = now, 2 * cosine * now - before
        else:
            before, now = now, ((2 * degree + dim - 2) * cosine * now - degree * before) / (degree + dim - 2)
    return total


def _kernels(Q: ArrayLike, K: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    Q, K = _unit("Q", Q), _unit("K", K)
    return head_agreement(Q, K), target_agreement(np.clip((Q * K).sum(1), -1, 1), Q.shape[1])


def _arcsines(rows: np.ndarray) -> np.ndarray:
    """arcsin of the inner products of unit rows ``(head, dim)``, to rounding also where rows are parallel."""
    angles = [2 * np.arctan2(np.linalg.norm(rows - row, axis=1), np.linalg.norm(rows + row, axis=1)) for row in rows]
    return math.pi / 2 - np.array(angles)


def _unit(name: str, rows: ArrayLike) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.float64)
    if rows.ndim != 2 or np.abs((rows**2).sum(-1) - 1).max(initial=0) > 1e-9:
        raise ValueError(
            f"{name} must hold unit vectors, shape (head, dim), got shape {rows.shape} with squared norms up to "
            f"{(rows**2).sum(-1).max(initial=0):.6g}; divide each row by its norm"
        )
    return rows
