r"""The share of one softmax that goes to the source, and what holds it as the target grows.

n source keys and t target keys share a softmax; Z_S and Z_T are their sums of exponentials. One softmax is a gated sum of
attention to
the source and to the target, with the gate :math:`m = Z_S / (Z_S + Z_T)`. Fu, Lam, Yu, So, Hu, Liu and Collier 2023 (arXiv
2304.04052)
for the setting; the laws are derived here.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_count, check_positive


def source_mass_limit(n_source: int, n_target: int, margin: float) -> float:
    r"""Long rows, source scores higher by D on average, spreads alike: :math:`m = n / (n + t e^{-D})`; one half at :math:`t
    = n e^D`."""
    check_count(n_source=n_source)
    check_count(at_least=0, n_target=n_target)
    return n_source / (n_source + n_target * math.exp(-margin))


def source_mass_approx(n_source: int, n_target: int, margin: float, spread: float) -> float:
    r"""Its mean over rows of independent Gaussian scores of this spread, to the next order.

    .. math:: m - m^2 (1 - m) \frac{v}{n} + m (1 - m)^2 \frac{v}{t}, \qquad v = e^{s^2} - 1

    with m the limit. Why: :math:`Z_S, Z_T` have relative variances v/n and v/t, and the second derivatives of Z_S / (Z_S + Z_T).
    """
    check_count(n_target=n_target)
    m, v = source_mass_limit(n_source, n_target, margin), math.expm1(spread**2)
    return m - m**2 * (1 - m) * v / n_source + m * (1 - m) ** 2 * v / n_target


def source_mass_std(n_source: int, n_target: int, margin: float, spread: float) -> float:
    r"""Its standard deviation over rows, :math:`m (1 - m) \sqrt{v (1/n + 1/t)}` to leading order."""
    check_count(n_target=n_target)
    m, v = source_mass_limit(n_source, n_target, margin), math.expm1(spread**2)
    return m * (1 - m) * math.sqrt(v * (1 / n_source + 1 / n_target))


def holding_bias(n_source: int, n_target: int, mass: float, margin: float = 0.0) -> float:
    r"""Bias on source scores that keeps the mass: :math:`b = \ln (t / n) + \ln \frac{m}{1 - m} - D`, growing like ln t.

    So a scalar holds the source; no second softmax is needed for that.
    """
    check_count(n_source=n_source, n_target=n_target)
    check_positive(mass=mass, other_mass=1 - mass)
    return math.log(n_target / n_source) + math.log(mass / (1 - mass)) - margin


def mean_odds_exact(own: ArrayLike, target: ArrayLike, inverse: ArrayLike, n_target: int) -> np.ndarray:
    r"""Mean odds of target against source, :math:`E[(1 - m)/m]`, at a token among t of random keys: affine in t.

    .. math:: \frac1n \sum_a \big(w_{aa} + (t - 1) \bar w_a\big)\, E[1 / Z_S(a)]

    with :math:`w_{ab}` the exponential of the score of a token of key a with one of key b. Arguments, the last axis the key:
    ``own`` :math:`w_{aa}`, ``target`` :math:`\bar w_a`, its mean over b, ``inverse`` the mean of one over the source's sum.

    Why: :math:`(1 - m)/m = Z_T / Z_S`, and the keys of other target tokens are independent of the source and of a.
    """
    check_count(n_target=n_target)
    w, mean, z = (np.asarray(x, dtype=np.float64) for x in (own, target, inverse))
    return ((w + (n_target - 1) * mean) * z).mean(-1)


def mean_odds_std(target: ArrayLike, square: ArrayLike, inverse2: ArrayLike, n_target: int, n_draws: int) -> np.ndarray:
    r"""Standard deviation of their mean over sequences of given sources, the keys asked for equally often.

    .. math:: \Big[\frac{t - 1}{N n} \sum_a \big(\overline{w^2}_a - \bar w_a^2\big) E[1 / Z_S(a)^2]\Big]^{1/2}

    ``square``: mean of :math:`w_{ab}^2` over b; ``inverse2``: mean of one over the squared sum; ``n_draws``: sequences N.
    """
    check_count(n_target=n_target, n_draws=n_draws)
    mean, w2, z2 = (np.asarray(x, dtype=np.float64) for x in (target, square, inverse2))
    return np.sqrt((n_target - 1) * ((w2 - mean**2) * z2).mean(-1) / n_draws)
