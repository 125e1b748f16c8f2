r"""Laws shared by all sparse selection: what dropping keys costs, and what the best and a cheaper choice retain.

n keys with weights p = softmax(s), K the kept set, D the dropped one, :math:`g = \sum_K p_j` the retained mass, and o_K, o_D the
outputs renormalised on each. Scores Gaussian with standard deviation s, the share f kept, :math:`t = \Phi^{-1}(1 - f)`.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from attnlab.theory.checks import check_count, check_share, check_standard_deviation

_NORMAL = NormalDist()


def dropped_mass_error_exact(weights: np.ndarray, values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    r"""The error of keeping K: :math:`o_K - o = (1 - g)(o_K - o_D)`, exact for any K with mass on both sides.

    weights (key,), values (key, width), kept boolean (key,). Hence :math:`|o_K - o| \le 2 (1 - g) \max|v|`.
    """
    g = weights[kept].sum()
    o_K = weights[kept] @ values[kept] / g
    o_D = weights[~kept] @ values[~kept] / (1 - g)
    return (1 - g) * (o_K - o_D)


def error_bound(retained: float, largest_value: float) -> float:
    r"""Largest error for values of norm up to ``largest_value``: :math:`2 (1 - g) \max |v|`."""
    check_share(retained=retained)
    return 2 * (1 - retained) * largest_value


def oracle_mass_limit(score_std: float, share: float) -> float:
    r"""Mass of the largest share f of many Gaussian scores, :math:`g = \Phi(s - t)`; s below half the freezing point."""
    return proxy_mass_limit(score_std, share, 1.0)


def proxy_mass_limit(score_std: float, share: float, correlation: float) -> float:
    r"""Mass of the keys that a proxy of correlation rho with the score ranks highest, :math:`g = \Phi(\rho s - t)`.

    Under p the score is Gaussian with mean s^2, so the standardised proxy has mean rho s and variance 1.
    """
    check_standard_deviation(score_std=score_std)
    check_share(share=share)
    if share in (0, 1):
        return float(share)
    return _NORMAL.cdf(correlation * score_std - _NORMAL.inv_cdf(1 - share))


def proxy_mass_std(score_std: float, share: float, correlation: float, n_keys: int) -> float:
    r"""Standard deviation of that mass in one row of n keys, to leading order (the number of kept keys is fixed).

    .. math:: n\,\mathrm{Var} = e^{s^2} ((1-g)^2 h + g^2 (1-h)) - 2 c\, g (1-g) + c^2 f (1-f), \qquad h = \Phi(2 \rho s - t),

    with :math:`c = e^{\rho s t - \rho^2 s^2/2}` the mean weight at the threshold: the influence is :math:`(1_K - g) w - c
    (1_K - f)`.
    """
    check_count(n_keys=n_keys)
    g, t = proxy_mass_limit(score_std, share, correlation), _NORMAL.inv_cdf(1 - share)
    x = correlation * score_std
    h, c = _NORMAL.cdf(2 * x - t), math.exp(x * t - x**2 / 2)
    spread = math.exp(score_std**2) * ((1 - g) ** 2 * h + g**2 * (1 - h))
    return math.sqrt((spread - 2 * c * g * (1 - g) + c**2 * share * (1 - share)) / n_keys)


def stale_mass_limit(score_std: float, share: float, correlation: float, lag: int) -> float:
    r"""The same with a choice made ``lag`` steps ago, scores of autocorrelation rho per step: proxy of correlation rho^lag."""
    check_count(at_least=0, lag=lag)
    return proxy_mass_limit(score_std, share, correlation**lag)


def needed_share_limit(score_std: float, mass: float) -> float:
    r"""Share of the keys that holds the mass g, :math:`f = \Phi(\Phi^{-1}(g) - s)`: a fixed fraction of n at fixed s."""
    check_share(mass=mass)
    if mass in (0, 1):
        return float(mass)
    return _NORMAL.cdf(_NORMAL.inv_cdf(mass) - score_std)


def block_score_std(score_std: float, block: int) -> float:
    r"""Standard deviation of ln of a block's mass, :math:`s_B^2 = \ln(1 + (e^{s^2} - 1)/B)`, log-normal by its two moments.

    Independent scores; valid while :math:`e^{s^2} \ll B`.
    """
    check_count(block=block)
    return math.sqrt(math.log1p(math.expm1(score_std**2) / block))


def half_weight_score(score_std: float, n_keys: int) -> float:
    r"""Score at which one key among n Gaussian ones has weight 1/2, :math:`\ln n + s^2/2`."""
    check_count(n_keys=n_keys)
    return math.log(n_keys) + score_std**2 / 2
