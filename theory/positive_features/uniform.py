r"""The largest error over all pairs in a ball, and how many features make it small: the published number and a sharper law.

All q and k with \|q\|, \|k\| <= R, so \|x\|, \|y\| <= l = R d^{-1/4}. Choromanski et al. 2021 (arXiv 2009.14794), theorem 4.
"""

from __future__ import annotations

import math

from attnlab.theory.checks import check_count, check_positive

TRACY_WIDOM_MEAN, TRACY_WIDOM_STD = -1.2065335745820, 1.2680340580  # real matrices (beta = 1)


def published_number_of_features(dim: int, radius: float, error: float) -> int:
    r"""The published sufficient number with constant 1, rounded up.

    .. math:: \frac{d}{\epsilon'^2} \ln \frac{4 d^{3/4} R}{\epsilon'}

    :math:`\epsilon' = \epsilon / h^2`, :math:`h = e^{l^2/2}`. Independent of the length of the sequence, but the factor
    :math:`e^{2 l^2}` is :math:`e^{2 R^2/\sqrt d}`: exponential in sqrt(d) for inputs of length R ~ sqrt(d).
    """
    check_count(dim=dim)
    check_positive(radius=radius, error=error)
    small = error * math.exp(-(radius**2) / math.sqrt(dim))
    return math.ceil(dim / small**2 * math.log(4 * dim**0.75 * radius / small))


def largest_covariance_error_approx(dim: int, n_features: int) -> float:
    r"""Mean of the largest eigenvalue of W^T W / m, minus 1, for m Gaussian rows: Tracy and Widom's mean on Ma's centre.

    .. math:: \frac{(\sqrt{m_-} + \sqrt{d_-})^2 - 1.2065\, \sigma}{m} - 1, \qquad
              \sigma = (\sqrt{m_-} + \sqrt{d_-})\Bigl(\frac{1}{\sqrt{m_-}} + \frac1{\sqrt{d_-}}\Bigr)^{1/3}, \quad
              m_- = m - \tfrac12,\ d_- = d - \tfrac12

    Off by a share of order min(m, d)^{-2/3} of sigma ([Ma2012]_, theorem 2). To first order :math:`2 \sqrt{d/m}`.
    """
    centre, scale = _centre_and_scale(dim, n_features)
    return centre + TRACY_WIDOM_MEAN * scale - 1


def largest_covariance_error_std_approx(dim: int, n_features: int) -> float:
    r"""Its standard deviation from draw to draw, :math:`1.268\, \sigma/m`."""
    return TRACY_WIDOM_STD * _centre_and_scale(dim, n_features)[1]


def uniform_even_error_limit(dim: int, n_features: int, length: float) -> float:
    r"""Largest error of trigonometric (or hyperbolic) features over all pairs of length <= l, as l -> 0.

    .. math:: 2 l^2 \|W^\top W/m - 1\|

    About :math:`4 R^2 / \sqrt m`: at fixed R the number of features that reach an error does not grow with d. Why: with u = x - y
    of length up to 2 l the error is :math:`\frac12 u^\top (W^\top W/m - 1) u` to order l^2; the factor of lengths is 1.
    """
    check_positive(length=length)
    return 2 * length**2 * largest_covariance_error_approx(dim, n_features)


def uniform_positive_error_limit(dim: int, n_features: int, length: float) -> float:
    r"""The same of positive features: :math:`2 l\, E|\bar w| = 2 l \sqrt{2/m}\, \Gamma(\frac{d+1}2)/\Gamma(\frac d2)`.

    About :math:`2 R d^{1/4}/\sqrt m`: first order in l, where trigonometric and hyperbolic features err in second.
    """
    check_count(dim=dim, n_features=n_features)
    check_positive(length=length)
    return 2 * length * math.sqrt(2 / n_features) * math.exp(math.lgamma((dim + 1) / 2) - math.lgamma(dim / 2))


def uniform_positive_error_std_limit(dim: int, n_features: int, length: float) -> float:
    r"""Its standard deviation from draw to draw: :math:`\sqrt{4 l^2 d/m - \text{mean}^2}`."""
    return math.sqrt(4 * length**2 * dim / n_features - uniform_positive_error_limit(dim, n_features, length) ** 2)


def _centre_and_scale(dim: int, n_features: int) -> tuple[float, float]:
    """Centre and scale of the largest eigenvalue of W^T W / m."""
    check_count(at_least=2, dim=dim, n_features=n_features)
    root, side = math.sqrt(n_features - 0.5), math.sqrt(dim - 0.5)
    return (root + side) ** 2 / n_features, (root + side) * (1 / root + 1 / side) ** (1 / 3) / n_features
