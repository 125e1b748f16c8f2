r"""The share of one softmax that goes to the source, and what holds it as the target grows.

n source keys and t target keys share a softmax; Z_S and Z_T are their sums of exponentials. One softmax is a gated sum of
attention to
the source and to the target, with the gate :math:`m = Z_S / (Z_S + Z_T)`. Fu, Lam, Yu, So, Hu, Liu and Collier 2023 (arXiv
2304.04052)
for the setting; the laws are derived here.
"""

from __future__ import annotations

import math

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
