r"""The regularised kernel: rows on the sphere of radius sqrt(d) in place of Gaussian ones, and how far below softmax's it is.

Choromanski et al. 2021 (arXiv 2009.14794), theorem 1.
"""

from __future__ import annotations

import math

from scipy.special import gammaln, ive

from attnlab.theory.checks import check_count, check_not_negative


def regularised_ratio_exact(sum_norm: float, dim: int) -> float:
    r"""SMREG / SM, a function of z = \|x + y\| only: :math:`{}_0F_1(; d/2; d z^2/4)\, e^{-z^2/2}`, at most 1.

    Computed from the Bessel function, :math:`{}_0F_1(; \nu + 1; a^2/4) = \Gamma(\nu + 1) (2/a)^\nu I_\nu(a)` with
    :math:`a = z \sqrt d`, :math:`\nu = d/2 - 1`, in logarithms.
    """
    check_not_negative(sum_norm=sum_norm)
    check_count(at_least=2, dim=dim)
    a, nu = sum_norm * math.sqrt(dim), dim / 2 - 1
    scaled = float(ive(nu, a))
    if a == 0 or scaled < 1e-280:  # few terms then: the series
        term = total = 1.0
        for k in range(1, 1000):
            term *= a * a / 4 / (k * (nu + k))
            total += term
            if term < 1e-17 * total:
                break
        return total * math.exp(-(sum_norm**2) / 2)
    log = float(gammaln(nu + 1)) + nu * math.log(2 / a) + math.log(scaled) + a - sum_norm**2 / 2
    return math.exp(log)


def regularised_gap_approx(sum_norm: float, dim: int) -> float:
    r"""1 - SMREG / SM to first order in 1/d and z^4: :math:`z^4 / (4 (d + 2))`."""
    check_not_negative(sum_norm=sum_norm)
    check_count(dim=dim)
    return sum_norm**4 / (4 * (dim + 2))


def published_ratio_bound(dim: int) -> float:
    r"""The published lower bound without its o(): :math:`1 - 2 d^{-1/3}`."""
    check_count(dim=dim)
    return 1 - 2 * dim ** (-1 / 3)
