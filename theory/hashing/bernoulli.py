r"""Hashed outputs as sums of dependent Bernoulli numbers: covariances, errors, angles; slopes of the weights and their surrogate.

Unit queries and keys at angles theta, tau bits, m hashes. Zeng et al. 2021 (arXiv 2111.09714) for weights, surrogate and
normalisation; the second-order laws follow from the collisions of three vectors
(:func:`attnlab.theory.hashing.yoso.joint_collision`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from attnlab.theory.checks import check_count
from attnlab.theory.hashing.yoso import collision, joint_collision


def angles(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    """Angles (n, m) between rows (n, d) and (m, d) of any lengths, without loss of digits at small angles."""
    x, y = (np.asarray(each, dtype=np.float64) for each in (first, second))
    x, y = (each / np.linalg.norm(each, axis=-1, keepdims=True) for each in (x, y))
    apart = np.linalg.norm(x[:, None] - y, axis=-1)
    return np.asarray(2 * np.arctan2(apart, np.linalg.norm(x[:, None] + y, axis=-1)))


def output_covariance_exact(
    query: ArrayLike, keys: ArrayLike, values: ArrayLike, n_bits: int, n_hashes: int
) -> np.ndarray:
    r"""Covariance of the coordinates of :math:`\frac1m \sum_h \sum_j B_{hj} v_j` for one query, shape (d_v, d_v).

    .. math:: \frac1m \sum_{jl} v_j v_l^\top (P_{jl} - W_j W_l), \qquad
              P_{jl} = \Bigl(1 - \frac{\theta_j + \theta_l + \theta_{jl}}{2\pi}\Bigr)^\tau

    ``query`` (d,), ``keys`` (n, d), ``values`` (n, d_v).
    """
    check_count(n_hashes=n_hashes)
    q, K, V = (np.asarray(x, dtype=np.float64) for x in (query, keys, values))
    own = angles(q[None], K)[0]
    W = collision(own, n_bits)
    joint = joint_collision(own[:, None], own[None], angles(K, K), n_bits)
    np.fill_diagonal(joint, W)
    return np.asarray(V.T @ (joint - np.outer(W, W)) @ V / n_hashes)


def relative_error_exact(query: ArrayLike, keys: ArrayLike, values: ArrayLike, n_bits: int, n_hashes: int) -> float:
    r"""Root mean square error of an output over its length, :math:`\sqrt{\operatorname{tr} C} / |W V|`."""
    mean = _mean(query, keys, values, n_bits)
    C = output_covariance_exact(query, keys, values, n_bits, n_hashes)
    return float(np.sqrt(np.trace(C)) / np.linalg.norm(mean))


def angle_loss_approx(query: ArrayLike, keys: ArrayLike, values: ArrayLike, n_bits: int, n_hashes: int) -> float:
    r"""How much shorter than 1 the mean of the normalised output is along the true direction u, first order in 1/m.

    .. math:: 1 - E\, u \cdot \frac{o}{|o|} \approx \frac{\operatorname{tr} C - u^\top C u}{2 |W V|^2}

    From the expansion of o/|o|: noise across u turns the output, noise along it does nothing to first order. So the normalised
    output is biased, where the output is not.
    """
    mean = _mean(query, keys, values, n_bits)
    C = output_covariance_exact(query, keys, values, n_bits, n_hashes)
    r = np.linalg.norm(mean)
    u = mean / r
    return float((np.trace(C) - u @ C @ u) / (2 * r**2))


def shared_hash_covariance_exact(first: float, second: float, between: float, n_bits: int) -> float:
    r"""Covariance of one key's collisions with two queries in one hash: :math:`P - W_1 W_2`, P of the three vectors.

    ``first``, ``second``: angles of the queries with the key; ``between``: of the queries. It is positive for queries that are
    alike: all queries use the same hashes, so an average over queries does not average the error away.
    """
    joint = joint_collision(first, second, between, n_bits)
    return float(joint - collision(first, n_bits) * collision(second, n_bits))


def exponential_crossings() -> tuple[float, float]:
    r"""Values of q . k between which the weight exceeds :math:`e^{\tau (q \cdot k - 1)}`, the same for every tau: -0.889, 0.720.

    Roots of :math:`\ln(1 - \theta/\pi) = \cos \theta - 1`, as both weights are powers of tau. Above, up to 1, the exponential
    is larger (the weight falls like a square root of 1 - q . k there), and below too, where the weight vanishes.
    """

    def gap(angle: float) -> float:
        return math.log1p(-angle / math.pi) + 1 - math.cos(angle)

    return tuple(math.cos(brentq(gap, *ends, xtol=1e-15)) for ends in ((2.0, 3.1), (0.3, 2.0)))  # type: ignore[return-value]


def weight_slope_exact(inner: ArrayLike, n_bits: int) -> np.ndarray:
    r"""Slope of the weight in q . k: :math:`\frac{\tau (1 - \theta/\pi)^{\tau - 1}}{\pi \sin \theta}`, infinite at 1."""
    check_count(n_bits=n_bits)
    x = np.asarray(inner, dtype=np.float64)
    rest = 1 - np.arccos(x) / math.pi
    return np.asarray(n_bits * rest ** (n_bits - 1) / (math.pi * np.sqrt((1 - x) * (1 + x))))


def surrogate_slope(inner: ArrayLike, n_bits: int) -> np.ndarray:
    r"""The published surrogate :math:`\frac\tau2 W`, below the slope everywhere."""
    return n_bits / 2 * collision(np.arccos(np.asarray(inner, dtype=np.float64)), n_bits)


def largest_surrogate_constant() -> tuple[float, float]:
    r"""Largest c with :math:`c\, \tau W` below the slope everywhere, and where it touches: 0.54954 at q . k = 0.4421.

    .. math:: \frac{\text{slope}}{\tau W} = \frac{1}{(\pi - \theta) \sin \theta}

    Least where :math:`\tan(\pi - \theta) = -(\pi - \theta)`; tau drops out.
    """
    rest = float(brentq(lambda p: math.sin(p) + p * math.cos(p), 1.5, 2.5, xtol=1e-15))  # rest = pi - theta
    return 1 / (rest * math.sin(rest)), -math.cos(rest)


def surrogate_gradients(
    queries: ArrayLike, keys: ArrayLike, values: ArrayLike, output_gradient: ArrayLike, n_bits: int
) -> np.ndarray:
    r"""Mean surrogate gradient of queries, :math:`\frac\tau2 [W \circ (dY V^\top)] K`, shape (n_q, d); unit q and k."""
    Q, K, V, dY = (np.asarray(x, dtype=np.float64) for x in (queries, keys, values, output_gradient))
    return np.asarray(n_bits / 2 * (collision(angles(Q, K), n_bits) * (dY @ V.T)) @ K)


def exact_gradients(
    queries: ArrayLike, keys: ArrayLike, values: ArrayLike, output_gradient: ArrayLike, n_bits: int
) -> np.ndarray:
    r"""The same with the slope of the weights in place of the surrogate."""
    Q, K, V, dY = (np.asarray(x, dtype=np.float64) for x in (queries, keys, values, output_gradient))
    return np.asarray((weight_slope_exact(np.cos(angles(Q, K)), n_bits) * (dY @ V.T)) @ K)


def _mean(query: ArrayLike, keys: ArrayLike, values: ArrayLike, n_bits: int) -> np.ndarray:
    q = np.asarray(query, dtype=np.float64)
    return np.asarray(collision(angles(q[None], keys)[0], n_bits) @ np.asarray(values, dtype=np.float64))
