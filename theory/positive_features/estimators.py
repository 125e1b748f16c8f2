r"""Relative errors of trigonometric, positive and hyperbolic features of softmax's kernel, and where each wins.

x, y scaled queries and keys, SM = e^{x . y}, m Gaussian rows w. Errors are mean squares of (estimate / SM - 1). The paper's
three forms (Choromanski et al. 2021, arXiv 2009.14794, lemma 2, equation 8) become, divided by SM^2,

.. math:: \text{positive } \frac{e^{z^2} - 1}{m}, \qquad \text{hyperbolic } \frac{\cosh z^2 - 1}{m}, \qquad
          \text{trigonometric } \frac{\cosh \delta^2 - 1}{m}, \qquad z = |x + y|,\ \delta = |x - y|:

trigonometric features are hyperbolic ones of an imaginary argument, :math:`z^2 \to -\delta^2`. So functions below take one
number ``square``: :math:`z^2` for hyperbolic features, :math:`-\delta^2` for trigonometric ones.
"""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.special import hyp1f1

from attnlab.theory.checks import check_count, check_not_negative, check_positive


def positive_relative_error_exact(square: float, n_features: int) -> float:
    r"""Mean square relative error of positive features, :math:`(e^{z^2} - 1)/m`; ``square`` is :math:`z^2`."""
    check_not_negative(square=square)
    check_count(n_features=n_features)
    return math.expm1(square) / n_features


def even_relative_error_exact(square: float, n_features: int) -> float:
    r"""The same of hyperbolic (``square`` :math:`z^2`) or trigonometric features (:math:`-\delta^2`): :math:`(\cosh s - 1)/m`.

    Written :math:`2 \sinh^2(s/2)/m`, which loses no digits at small s. A projection of hyperbolic or trigonometric features has
    two columns.
    """
    check_count(n_features=n_features)
    return 2 * math.sinh(square / 2) ** 2 / n_features


def pair_excess_exact(square: float, dim: int) -> float:
    r"""Relative covariance of two projections that are orthogonal: :math:`e^{-s}\, {}_1F_1(d; d/2; s/2) - 1`.

    The same for positive and hyperbolic features (s = z^2) and for trigonometric ones (s = -delta^2). Why: the sum of two
    orthogonal rows with the lengths of Gaussian ones has a uniform direction and a squared length of chi^2_{2d}; differences,
    too. For s >= 0 it is never positive, as :math:`(d)_k \le 2^k (d/2)_k`; for s < 0 it can be.
    """
    check_count(at_least=2, dim=dim)
    if square >= 0:
        return float(hyp1f1(dim, dim / 2, square / 2)) * math.exp(-square) - 1
    return float(hyp1f1(-dim / 2, dim / 2, -square / 2)) * math.exp(-square / 2) - 1  # Kummer: no cancellation in e^s


def orthogonal_relative_error_exact(independent: float, square: float, n_features: int, dim: int) -> float:
    r"""Mean square relative error of m <= d orthogonal rows: ``independent`` + (1 - 1/m) times the excess of a pair.

    ``independent`` is the error of as many independent rows. More rows than d come in independent blocks: the error of one
    block over their number.
    """
    check_count(n_features=n_features)
    if n_features > dim:
        raise ValueError(
            f"n_features={n_features!r} must be at most dim={dim!r}: rows of several blocks are independent"
        )
    return independent + (1 - 1 / n_features) * pair_excess_exact(square, dim)


def orthogonal_gain_bound(square: float, n_features: int, dim: int) -> float:
    r"""Least gain of orthogonal rows, over SM^2: :math:`\frac{2 (m - 1)}{m (d + 2)} (1 - e^{-z^2/2})^2` (theorem 2).

    Sharp as z -> 0. Why: with :math:`r_k = (d)_k / (2^k (d/2)_k)`, falling in k, gain and bound are sums of :math:`z^{2k}/k!`
    times :math:`1 - r_k` and :math:`\frac{2}{d+2}(1 - 2^{1-k})`. They are equal at k = 2; from k = 3 on
    :math:`1 - r_k \ge 3/(d + 4) \ge 2/(d+2)` for d >= 2.
    """
    check_not_negative(square=square)
    check_count(n_features=n_features, dim=dim)
    return 2 * (n_features - 1) / (n_features * (dim + 2)) * math.expm1(-square / 2) ** 2


def squared_error_std_exact(kind: str, square: float, n_features: int) -> float:
    r"""Standard deviation of the squared relative error of one draw of m independent rows.

    .. math:: \sqrt{\frac{\mu_4 + 3 (m-1) \sigma^4}{m^3} - \frac{\sigma^4}{m^2}}

    with the central moments of one projection: those of a log-normal number (``kind`` "positive"), or (``"even"``) of
    :math:`e^{-s/2} \cosh(\sqrt s\, g)`, whose third and fourth raw moments are :math:`(e^{3s} + 3 e^{-s})/4` and
    :math:`(e^{6s} + 4 + 3 e^{-2s})/8`.
    """
    check_count(n_features=n_features)
    s, e = square, math.exp
    if kind == "positive":
        variance, fourth = math.expm1(s), e(6 * s) - 4 * e(3 * s) + 6 * e(s) - 3
    elif kind == "even":
        variance = 2 * math.sinh(s / 2) ** 2
        fourth = (e(6 * s) + 4 + 3 * e(-2 * s)) / 8 - (e(3 * s) + 3 * e(-s)) + 6 * math.cosh(s) - 3
    else:
        raise ValueError(f"kind={kind!r} is unknown; use 'positive' or 'even'")
    m = n_features
    return math.sqrt((fourth + 3 * (m - 1) * variance**2) / m**3 - (variance / m) ** 2)


def crossover_angle_exact(length: float) -> float:
    r"""Angle (radians) past which positive features beat trigonometric ones, \|x\| = \|y\| = r: :math:`e^{z^2} = \cosh \delta^2`.

    :math:`z^2 = 2 r^2 (1 + \cos t)`, :math:`\delta^2 = 2 r^2 (1 - \cos t)`. Always past 90 degrees; near
    :math:`\arccos(-\ln 2 / (4 r^2))` once r >= 1. Hyperbolic features beat trigonometric ones from 90 degrees on, exactly.
    """
    check_positive(length=length)
    r2 = length**2

    def gap(t: float) -> float:
        delta2 = 2 * r2 * (1 - math.cos(t))
        return 2 * r2 * (1 + math.cos(t)) - delta2 - math.log1p(math.exp(-2 * delta2)) + math.log(2)

    return float(brentq(gap, math.pi / 2, math.pi, xtol=1e-14, rtol=1e-14))


def positive_error_growth_limit(angle: float) -> float:
    r"""Slope of log MSE of positive features in r^2 as r grows, x and y of length r at an ``angle`` t: :math:`2 + 4 \cos t`.

    The error is :math:`e^{2 z^2 - |x|^2 - |y|^2}` to leading order. It vanishes with the kernel only past 120 degrees; between 90
    and 120 degrees SM = e^{r^2 cos t} vanishes and the error diverges.
    """
    return 2 + 4 * math.cos(angle)


def hurting_squares_exact(dim: int, most: float = 18.0) -> tuple[float, ...]:
    r"""Values of :math:`\delta^2` up to ``most`` at which orthogonal rows begin, in turn cease, to hurt trigonometric features.

    Sign changes of :func:`pair_excess_exact` at :math:`-\delta^2`, found on a grid of 1/16. In two dimensions there is none:
    with t = :math:`\delta^2/2` the excess is :math:`(1 - t) e^t - 1 < 0`. Where d is even it is a polynomial of degree d/2 times
    e^t, minus 1, so harm comes in windows, and d = 4 k + 2 ends without harm.
    """
    check_count(at_least=2, dim=dim)
    check_positive(most=most)

    def excess(square: float) -> float:
        return pair_excess_exact(-square, dim)

    grid = [0.5 + k / 16 for k in range(int((most - 0.5) * 16) + 1)]
    signs = [excess(each) > 0 for each in grid]
    return tuple(
        float(brentq(excess, *grid[k : k + 2], xtol=1e-13, rtol=1e-14))
        for k in range(len(grid) - 1)
        if signs[k] != signs[k + 1]
    )
