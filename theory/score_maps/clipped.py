r"""Clipped softmax on random scores: how many weights are exactly zero, how much of a row is kept, and the cost.

Scores independent Gaussian of standard deviation s, n keys; a softmax weight is :math:`p_j = e^{s z_j - s^2/2} / n` for many
keys. Bondarenko et al. 2023 (arXiv 2306.12929) for the map; the laws are derived.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.costs.visible import all_pairs


def threshold(n_keys: int, gamma: float, zeta: float = 1.0) -> float:
    r"""Relative weight below which a key is cut, :math:`a = -n \gamma / (\zeta - \gamma)`; 1 cuts all below average."""
    if not (n_keys >= 1 and gamma < 0 and zeta >= 1):
        raise ValueError(f"need n_keys >= 1, gamma < 0, zeta >= 1, got {n_keys!r}, {gamma!r}, {zeta!r}")
    return -n_keys * gamma / (zeta - gamma)


def zero_share(score_std: float, n_keys: int, gamma: float, zeta: float = 1.0) -> float:
    r"""Limit of the share of exact zeros, :math:`\Phi((\ln a + s^2/2) / s)`, a the threshold."""
    if not score_std > 0:
        raise ValueError(f"score_std={score_std!r} must be positive")
    return _phi((math.log(threshold(n_keys, gamma, zeta)) + score_std**2 / 2) / score_std)


def kept_mass(score_std: float, n_keys: int, gamma: float, zeta: float = 1.0) -> float:
    r"""Limit of the row sum where no weight is cut at 1.

    .. math:: (\zeta - \gamma)\,[\Phi(d) - a\, \Phi(d - s)], \qquad d = (s^2/2 - \ln a) / s .

    A call option on a log-normal weight: what exceeds the threshold.
    """
    if not score_std > 0:
        raise ValueError(f"score_std={score_std!r} must be positive")
    a = threshold(n_keys, gamma, zeta)
    d = (score_std**2 / 2 - math.log(a)) / score_std
    return (zeta - gamma) * (_phi(d) - a * _phi(d - score_std))


def multiply_adds(sizes: Any, *, causal: bool = False, gamma: float = 0.0, zeta: float = 1.0) -> int:
    """Multiply-adds of one call for all heads; the normaliser is needed before the cut, so hidden pairs are computed, too."""
    return all_pairs(sizes)


def _phi(x: float) -> float:
    """Distribution function of a standard normal number."""
    return math.erfc(-x / math.sqrt(2)) / 2
