r"""One head of full rank that points at the nearest point: its error at finite inverse temperature, and a linear baseline.

The head has Q K^T = beta I and V = I, so that its scores are beta <x_i, y>. Points are on the unit sphere of R^d; the
coordinate t = <x, y> of a uniform point has density p_d(t) proportional to (1 - t^2)^((d-3)/2) and distribution function F_d.

References: Amsel, Yehudai and Bruna 2024 (arXiv 2407.16153), Fact 1. The finite-temperature laws are derived here.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import quad
from scipy.special import betainc, gammaln, roots_legendre

from attnlab.theory.checks import check_count, check_positive


def coordinate_density(t: ArrayLike, dim: int) -> np.ndarray:
    r"""Density of a coordinate of a uniform point of the sphere.

    .. math:: p_d(t) = \frac{\Gamma(d/2)}{\sqrt\pi\, \Gamma((d-1)/2)} (1 - t^2)^{(d-3)/2}, \qquad |t| < 1.
    """
    check_count(at_least=2, dim=dim)
    return math.exp(_log_peak(dim)) * (1 - np.asarray(t, dtype=np.float64) ** 2) ** ((dim - 3) / 2)


def coordinate_cdf(t: ArrayLike, dim: int) -> np.ndarray:
    """Distribution function F_d of a coordinate of a uniform point of the sphere."""
    check_count(at_least=2, dim=dim)
    t = np.asarray(t, dtype=np.float64)
    return 0.5 + 0.5 * np.sign(t) * betainc(0.5, (dim - 1) / 2, t**2)


def full_rank_error_exact(dim: int, inverse_temperature: float) -> float:
    r"""Error of the full-rank softmax head on two orthonormal points.

    .. math:: E(\beta) = \tfrac12\, \mathbb E_t\, (1 - \tanh(\beta |t| / \sqrt 2))^2, \qquad t \sim p_d.

    Why: the scores differ by sqrt(2) beta <w, y>, so that the weights differ by tanh(beta t / sqrt 2), and the output misses
    the target by the rest of that along w / sqrt 2.
    """
    check_count(at_least=2, dim=dim)
    check_positive(inverse_temperature=inverse_temperature)
    scale = math.sqrt(2) / inverse_temperature

    def weighted(t: float) -> float:
        return (1 - math.tanh(t / scale)) ** 2 * float(coordinate_density(t, dim))

    edges = [0.0, *(edge for edge in (scale, 4 * scale, 25 * scale) if edge < 1), 1.0]
    return sum(quad(weighted, a, b, epsabs=1e-15, epsrel=1e-12, limit=200)[0] for a, b in itertools.pairwise(edges))


def full_rank_error_limit(dim: int, inverse_temperature: float) -> float:
    r"""Leading order of :func:`full_rank_error_exact` for large beta: ``sqrt(2) p_d(0) (2 ln 2 - 1) / beta``."""
    check_count(at_least=2, dim=dim)
    check_positive(inverse_temperature=inverse_temperature)
    return math.sqrt(2) * math.exp(_log_peak(dim)) * (2 * math.log(2) - 1) / inverse_temperature


@functools.cache
def near_tie_constant(dim: int, n_points: int, *, orthogonal: bool = False) -> float:
    r"""Constant C of the error C / beta of the full-rank softmax head that points at the nearest of m independent points.

    .. math:: C = 2 (\ln 2 - \tfrac12)\; m (m-1) \int p_d(t)^2\, F_d(t)^{m-2} (1 - t^2)\, dt.

    Why: to leading order only ties of the two nearest points count. A gap g puts the weight 1/(1 + e^{beta g}) on the second,
    and int dg / (1 + e^{beta g})^2 = (ln 2 - 1/2)/beta. Two points with the same inner product t with y are at the mean
    squared distance 2 (1 - t^2). ``orthogonal`` leaves the factor 1 - t^2 out, as if the two were orthogonal: too large by
    5 % at d = 64, m = 15. The farthest of m points has the same constant; in self-attention over N points m = N - 1.
    """
    check_count(at_least=2, dim=dim)
    check_count(at_least=2, n_points=n_points)  # one point has no rival
    t, weight = _nodes()
    density = coordinate_density(t, dim)
    apart = 1.0 if orthogonal else 1 - t**2
    gap = n_points * (n_points - 1) * np.sum(weight * density**2 * coordinate_cdf(t, dim) ** (n_points - 2) * apart)
    return float(2 * (math.log(2) - 0.5) * gap)


@functools.cache
def linear_predictor_error(dim: int, n_points: int) -> float:
    r"""Error of the best linear predictor of the farthest point from the own point x_q and the sum S of the other m = N - 1.

    .. math:: E = 1 - (\mathbb E\, t_{\min})^2 - \tfrac1m \bigl(1 + \mathbb E\, t_{\min} (T - t_{\min})\bigr)^2,

    with t_1..t_m the inner products with x_q and T their sum. Why: x_q and S are uncorrelated, E|S|^2 = m, and other
    points have mean t x_q given their inner products, so <target, S> has mean 1 + E t_min (T - t_min). What attention adds
    shows below this line.
    """
    check_count(at_least=2, dim=dim)
    check_count(at_least=2, n_points=n_points)
    m = n_points - 1
    t, weight = _nodes()
    density, above = coordinate_density(t, dim), 1 - coordinate_cdf(t, dim)
    least = float(np.sum(weight * m * density * above ** (m - 1) * t))
    first_moment_above = density * (1 - t**2) / (dim - 1)  # int_t^1 s p_d(s) ds
    rest = float(np.sum(weight * m * (m - 1) * density * above ** (m - 2) * t * first_moment_above)) if m > 1 else 0.0
    return 1 - least**2 - (1 + rest) ** 2 / m


@functools.cache
def _nodes() -> tuple[np.ndarray, np.ndarray]:
    """Nodes t = sin(phi) and weights for integrals over t in (-1, 1), Gauss-Legendre in phi."""
    x, weight = roots_legendre(600)
    phi = x * math.pi / 2
    return np.sin(phi), weight * math.pi / 2 * np.cos(phi)


def _log_peak(dim: int) -> float:
    return float(gammaln(dim / 2) - gammaln((dim - 1) / 2) - 0.5 * math.log(math.pi))
