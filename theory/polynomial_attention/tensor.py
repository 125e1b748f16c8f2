r"""Tensor attention by polynomials: rank of the truncated exponential, and how far its outputs can be off.

Alman and Song 2023 (arXiv 2310.04064). A query weighs pairs of keys by :math:`\exp x_{ijk}`,
:math:`x_{ijk} = \frac1d \sum_c Q_{ic} K^{(1)}_{jc} K^{(2)}_{kc}`, and averages products of two values. Entries of size at most B
give :math:`|x| \le b = B^3` and values of size at most :math:`B^2`. With :math:`T_g(x) = \sum_{l \le g} x^l / l!` for the
exponential
everything depends on the factor :math:`T_g(x) e^{-x}` by which a weight changes. Its range and the sharp bound are derived here.
"""

from __future__ import annotations

import math

from attnlab.theory.checks import check_count, check_positive


def rank_exact(dim: int, degree: int) -> int:
    """Rank of the matrix (query, pair) of truncated exponentials for entries in general position, C(d + g, g) monomials."""
    check_count(dim=dim)
    check_count(at_least=0, degree=degree)
    return math.comb(dim + degree, degree)


def truncated_exponential(x: float, degree: int) -> float:
    r"""The polynomial :math:`T_g(x)`."""
    return math.fsum(x**k / math.factorial(k) for k in range(degree + 1))


def factor_range_exact(degree: int, score_bound: float) -> tuple[float, float]:
    r"""Least and largest :math:`T_g(x) e^{-x}` over :math:`|x| \le b`.

    Its derivative is :math:`-x^g e^{-x} / g!`. So it falls everywhere for even g, from its largest value at -b, and for odd
    g it has its
    largest value, 1, at 0 and its least at an end; that may be negative.
    """
    check_positive(score_bound=score_bound)
    check_count(degree=degree)
    b = score_bound
    ends = truncated_exponential(-b, degree) * math.exp(b), truncated_exponential(b, degree) * math.exp(-b)
    return min(ends), max(ends) if degree % 2 == 0 else 1.0


def output_error_bound(degree: int, entry_bound: float) -> float:
    r"""Largest error of an output, sharp:

    .. math:: 2 B^2 \tanh(\tfrac14 \ln \rho), \qquad \rho = \max_x T_g(x) e^{-x} \,/\, \min_x T_g(x) e^{-x} .

    An output is a mean of values; factors between low and high move it most if values :math:`B^2` get the high and :math:`-B^2`
    the low one: the log-odds of the two move by ln rho, and :math:`\tanh\frac{a + \ln\rho}2 - \tanh\frac a2` is largest at
    :math:`a = -\frac12 \ln\rho`. Infinite where a factor can be 0 or negative: then a denominator may vanish.
    """
    check_positive(entry_bound=entry_bound)
    low, high = factor_range_exact(degree, entry_bound**3)
    return 2 * entry_bound**2 * math.tanh(math.log(high / low) / 4) if low > 0 else math.inf


def chained_error_bound(degree: int, entry_bound: float) -> float:
    r"""The bound by steps: :math:`\epsilon = e^b\, b^{g+1} \max(1, e^b)/(g+1)!` per entry, then
    :math:`\frac{2\epsilon}{1 - \epsilon} B^2`; infinite from :math:`\epsilon = 1` on."""
    check_positive(entry_bound=entry_bound)
    check_count(degree=degree)
    b = entry_bound**3
    relative = math.exp(2 * b) * b ** (degree + 1) / math.factorial(degree + 1)
    return 2 * relative / (1 - relative) * entry_bound**2 if relative < 1 else math.inf


def least_degree(accuracy: float, entry_bound: float) -> int:
    """Least degree whose sharp bound is at most the accuracy."""
    check_positive(accuracy=accuracy)
    degree = 1
    while output_error_bound(degree, entry_bound) > accuracy:
        degree += 1
    return degree


def hardest_counts(degree: int, entry_bound: float, n_keys: int) -> tuple[int, float, float]:
    r"""Keys that nearly attain the bound: how many of n get the high factor, and the scores of the high and of the low ones.

    Low are the keys at :math:`x = -b` for odd g, at :math:`+b` for even g; high those at 0 and at :math:`-b`. Their numbers
    make the
    log-odds :math:`-\frac12\ln\rho`.
    """
    check_count(at_least=2, n_keys=n_keys)
    b = entry_bound**3
    low, high = factor_range_exact(degree, b)
    at_high, at_low = (-b, b) if degree % 2 == 0 else (0.0, -b)
    ratio = math.exp(at_low - at_high) * math.sqrt(low / high)
    return min(n_keys - 1, max(1, round(n_keys * ratio / (1 + ratio)))), at_high, at_low
