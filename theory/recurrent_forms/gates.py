r"""Decays above one in linear attention, and how long gates remember.

The reversed sigmoid :math:`\sigma(-x)^a` is the decay of a selective model: :math:`\sigma(-x) = e^{-\mathrm{softplus}(x)}`.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from attnlab.theory.checks import check_count, check_positive

_Z, _W = np.polynomial.hermite_e.hermegauss(120)
_W = _W / _W.sum()


def reversed_gate(logit: float, power: float) -> float:
    r""":math:`\sigma(-x)^a = e^{-a\, \mathrm{softplus}(x)}`: the decay of a selective model with step softplus(x) and rate a."""
    return math.exp(-power * float(np.logaddexp(0.0, logit)))


def retention_exact(n_steps: int, spread: float, power: float = 1.0) -> float:
    r"""Mean share of a stored number that is left after t independent gates with normal logits of this spread.

    .. math:: E \prod_{m=1}^{t} \sigma(x_m)^a = \big( E\, \sigma(s z)^a \big)^t

    The reversed gate :math:`\sigma(-x)` has the same law, as logits are symmetric: with a = 1 reversing changes nothing, and only
    a power a below 1 lengthens the memory.
    """
    check_count(n_steps=n_steps)
    check_positive(spread=spread, power=power)
    return float(_W @ special.expit(spread * _Z) ** power) ** n_steps


def retention_second_moment(n_steps: int, spread: float, power: float = 1.0) -> float:
    """Mean square of the same share, whose rows are independent: the law with twice the power."""
    return retention_exact(n_steps, spread, 2 * power)


def share_of_decays_above_one_approx(n_features: int, first: int, last: int, n_points: int = 2**14) -> float:
    r"""How often :math:`\eta_{i-1} / \eta_i > 1` in linear attention with elu + 1 features of standard normal queries and keys.

    .. math:: \frac12 - f_0\, \frac{\ln (b / a)}{b - a}, \qquad f_0 = \int p(s)^2\, s\, ds,

    averaged over steps from position a to b; p is the density of :math:`\sum_n \phi(q_n)`, so that f_0 is the density at 0 of the
    difference of two logarithms of it. No selective model has such decays.

    Why: sums of many keys are nearly equal in all coordinates, so the ratio is that of two independent queries, times
    :math:`Z_{i-1} / Z_i`, whose logarithm adds up to :math:`\ln (b / a)`. What is left out is of order 1/a, times the share of
    :math:`1/a` in this.
    """
    check_count(n_features=n_features, first=first, last=last)
    if last <= first:
        raise ValueError(f"last={last!r} must be above first={first!r}")
    top = 2.0 * n_features + 14.0 * math.sqrt(n_features)
    s = np.linspace(0, top, n_points)
    h = s[1]
    # density of elu(q) + 1 in cells: e^q below 1, 1 + q above
    edges = np.append(s - h / 2, s[-1] + h / 2)
    with np.errstate(divide="ignore"):
        below = special.ndtr(np.log(np.clip(edges, 0.0, 1.0)))
    cells = np.diff(np.where(edges < 1, below, special.ndtr(edges - 1)))
    density = np.fft.irfft(np.fft.rfft(cells, 2 * n_points * n_features) ** n_features)[:n_points] / h
    return 0.5 - float(np.sum(density**2 * s) * h) * math.log(last / first) / (last - first)
