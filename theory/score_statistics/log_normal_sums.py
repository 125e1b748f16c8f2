r"""Weights of linear log-normal attention, sums of d log-normal numbers: :math:`X = \sum_c e^{a q_c + b k_c}` exactly, for any d.

With E an exponential number independent of X, :math:`U = \ln E - \ln X` has the survival function

.. math:: P(U > u) = E\, e^{-e^u X} = \prod_c \varphi(u + a q_c), \qquad \varphi(u) = E\, e^{-e^{u + b z}},

so cumulants of ln X are integrals over one variable: :math:`\kappa_m(\ln X) = (-1)^m (\kappa_m(U) - \kappa_m(\ln E))`, with
:math:`\kappa_2(\ln E) = \pi^2 / 6` and :math:`\kappa_3(\ln E) = -2 \zeta(3)`. Queries and keys are standard normal, so a and b
are the spreads of the exponents. Derived here; the operator is that of [Nahshan2024]_, who take Fenton's log-normal law for X.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import interpolate, optimize, special

from attnlab.theory.checks import check_count, check_positive
from attnlab.theory.score_statistics.log_sum import mean_participation_exact

_Z = np.linspace(-9.5, 9.5, 191)
_DENSITY = np.exp(-(_Z**2) / 2) / math.sqrt(2 * math.pi) * (_Z[1] - _Z[0])
_STEP = 1 / 4  # of u: integrands are analytic in |Im u| < pi / 2, the trapezoidal rule errs by e^(-37)
_FINE = 1 / 32  # of the table of log phi: its cubic spline errs by about 1e-8


def log_cumulants_given_query_exact(query_logits: ArrayLike, key_spread: float) -> np.ndarray:
    r"""Variance and third cumulant over keys of :math:`\ln \sum_c e^{x_c + b z_c}`, given the query's exponents x = a q.

    ``query_logits``: shape (..., d); ``key_spread`` b. Returns shape (..., 2). These are the cumulants of ln P within a row.
    """
    x = np.asarray(query_logits, dtype=np.float64)
    check_positive(key_spread=key_spread)
    u = _grid(key_spread, float(x.min()), float(x.max()) + math.log(x.shape[-1]))
    log_phi = _log_phi(u[0] + x.min(), u[-1] + x.max(), key_spread)
    rows = x.reshape(-1, x.shape[-1])
    survival = np.exp(np.array([log_phi(u[:, None] + row).sum(1) for row in rows]))  # (row, u)
    return _cumulants(u, survival).reshape(*x.shape[:-1], 2)


def log_variance_exact(dim: int, spread: float) -> float:
    r"""Variance of :math:`\ln \sum_c e^{s z_c}` over all d standard normal numbers."""
    check_count(dim=dim)
    check_positive(spread=spread)
    u = _grid(spread, 0.0, math.log(dim))
    return float(_cumulants(u, np.exp(dim * _log_phi(u[0], u[-1], spread)(u))[None])[0, 0])


@functools.lru_cache(maxsize=256)
def mean_log_variance_exact(dim: int, scale: float) -> float:
    r"""Mean over queries of the variance of ln P within a row, at :math:`s = a^2 \sigma_q^2 = b^2 \sigma_k^2`.

    .. math:: \mathrm{Var}(\ln X) - \mathrm{Cov}(\ln X, \ln X'), \qquad
              \mathrm{Cov} = \iint \big( \varphi_2(u, u')^d - \varphi_1(u)^d \varphi_1(u')^d \big)\, du\, du',

    with X and X' two keys' weights for the same query, :math:`\varphi_2(u, u') = E_q\, \varphi(u + a q)\, \varphi(u' + a q)`.

    Why: Hoeffding's formula for the covariance of U and U', which is that of ln X and ln X'.
    """
    check_count(dim=dim)
    check_positive(scale=scale)
    a = math.sqrt(scale)
    u = _grid(math.sqrt(2) * a, 0.0, math.log(dim))
    table = np.exp(_log_phi(u[0] - 10 * a, u[-1] + 10 * a, a)(u[:, None] + a * _Z))  # (u, q)
    one, two = table @ _DENSITY, (table * _DENSITY) @ table.T
    shared = float(np.sum(two**dim - np.outer(one**dim, one**dim)) * (u[1] - u[0]) ** 2)
    return log_variance_exact(dim, math.sqrt(2) * a) - shared


def mean_relative_variance_exact(dim: int, scale: float) -> float:
    r"""Mean over queries of :math:`n \sum_j P_{ij}^2 - 1` for many keys: :math:`(e^s - 1)\, E \sum_c w_c^2`.

    w is the softmax of d normal numbers of variance s; its participation is exact for any d.
    """
    check_count(dim=dim)
    check_positive(scale=scale)
    return math.expm1(scale) * mean_participation_exact(dim, math.sqrt(scale))


def scale_for_relative_variance_exact(target: float, dim: int) -> float:
    r"""The s at which that relative variance is ``target``, by root finding; softmax's is :math:`e^{\sigma^2} - 1`."""
    check_positive(target=target)
    return _root(lambda s: mean_relative_variance_exact(dim, s) - target)


def scale_for_log_variance_exact(target: float, dim: int) -> float:
    r"""The s at which the mean variance of ln P within rows is ``target``, by root finding; softmax's is :math:`\sigma^2`."""
    check_positive(target=target)
    return _root(lambda s: mean_log_variance_exact(dim, s) - target)


def log_variance_of_a_line(scale: float, dim: int, low: float, high: float) -> float:
    r"""The line :math:`A (a^2 \sigma_q^2 + b^2 \sigma_k^2) + B` through the exact variances at s = ``low`` and ``high``.

    [Nahshan2024]_ fit A and B to samples; a line through two exact points stands for it.
    """
    first, last = mean_log_variance_exact(dim, low), mean_log_variance_exact(dim, high)
    return first + (last - first) * (scale - low) / (high - low)


def own_weight_of_log_normal_approx(queries: ArrayLike, n: int, scale: float) -> np.ndarray:
    r"""Weight of a token on its own key where keys are the queries, for linear log-normal attention with a = b = sqrt(s).

    .. math:: \Big( 1 + (n - 1)\, e^{s / 2}\, \frac{\sum_c e^{a q_c}}{\sum_c e^{2 a q_c}} \Big)^{-1}

    ``queries``: standard normal, shape (..., d). Returns shape (...). The sum over other keys is replaced by its mean.
    """
    x = math.sqrt(scale) * np.asarray(queries, dtype=np.float64)
    check_count(at_least=2, n=n)
    check_positive(scale=scale)
    odds = special.logsumexp(2 * x, axis=-1) - special.logsumexp(x, axis=-1) - scale / 2 - math.log(n - 1)
    return special.expit(odds)


def _root(function: Callable[[float], float]) -> float:
    high = 1.0
    while function(high) < 0:
        high *= 2
    return float(optimize.brentq(function, 1e-3, high, xtol=1e-8))


def _grid(spread: float, low: float, high: float) -> np.ndarray:
    """Where the survival function of U falls from 1 to 0: ln X lies between ``low`` and ``high`` up to its spread."""
    return np.arange(-high - 9 * spread - 36, 5 - low + 9 * spread, _STEP)


def _log_phi(low: float, high: float, spread: float) -> interpolate.CubicSpline:
    """The logarithm of phi, tabulated from ``low`` to ``high``."""
    u = np.arange(low - 1, high + 1, _FINE)
    exponent = np.exp(np.minimum(u[:, None] + spread * _Z, 700.0))
    deficit = np.minimum(-np.expm1(-exponent) @ _DENSITY, 0.5)
    tail = np.maximum(np.exp(-exponent) @ _DENSITY, 1e-300)
    return interpolate.CubicSpline(u, np.where(tail > 0.5, np.log1p(-deficit), np.log(tail)))


def _cumulants(u: np.ndarray, survival: np.ndarray) -> np.ndarray:
    """Variance and third cumulant of ln X from the survival functions (row, u) of U; moments by parts about u[0]."""
    h, x = u[1] - u[0], u - u[0]
    # E f(U) = f(u0) + int f'(u) S(u) du: trapezoids, and Euler-Maclaurin's end term h^2 / 12 times the slope 2 of 2 x S
    weight = np.full(u.size, h)
    weight[[0, -1]] = h / 2
    m1, m2, m3 = (survival @ (k * x ** (k - 1) * weight) for k in (1, 2, 3))
    m2 = m2 + h**2 / 6
    variance = m2 - m1**2
    third = m3 - 3 * m1 * m2 + 2 * m1**3
    return np.stack([variance - math.pi**2 / 6, -(third + 2 * float(special.zeta(3)))], -1)
