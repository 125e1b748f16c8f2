r"""The second eigenvalue of softmax attention maps over Gaussian scores: independent and tied queries and keys, and a bound.

A row-stochastic P has the eigenvalue 1 of the constant vector; the others are those of :math:`P - J`, J with entries 1 / n.
The spectral gap is :math:`1 - |\lambda_2|` [Nahshan2024]_. Derived here.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from attnlab.theory.checks import check_count, check_positive
from attnlab.theory.score_statistics.attention_rows import relative_variance_exact
from attnlab.theory.score_statistics.log_sum import mean_participation_exact


def second_eigenvalue_limit(n: int, spread: float) -> float:
    r"""Of n independent Gaussian queries and keys: :math:`|\lambda_2| \to \sqrt{(e^{\sigma^2} - 1) / n}`, for large n and d.

    Why: Hermite components of degree k of the scores have :math:`D_k` coordinates and the variance
    :math:`c_k = \sigma^{2k} / k!`; in these coordinates :math:`P - J` is a random matrix whose entries (k, l) have
    the variance :math:`c_k / (D_k n)`, a profile of rank one with spectral radius :math:`\sum_k c_k / n`.
    """
    check_count(n=n)
    check_positive(spread=spread)
    return math.sqrt(math.expm1(spread**2) / n)


def edge_of_a_real_ginibre_matrix_approx(dim: float) -> tuple[float, float]:
    r"""Mean and standard deviation of the largest modulus of eigenvalues of a d by d normal matrix, entries of variance 1 / d.

    .. math:: P(|\lambda|_{max} < r) \approx e^{-2 \int_{r \sqrt d}^\infty \rho}\, \prod_{k=1}^{d} P(\Gamma_k < d r^2)^{1/2}

    Why: Kostlan's law of complex entries is the product itself; of real matrices the complex eigenvalues come in conjugate
    pairs, half as many independent moduli (Rider and Sinclair 2014), beside real ones of the density rho of Edelman, Kostlan
    and Shub (1994). Treated as independent; within 0.5 % of samples at d = 16 and 64.
    """
    check_count(dim=dim)
    r = np.linspace(0, 3, 6001)
    x, h = r * math.sqrt(dim), r[1] - r[0]
    moduli = np.log(np.maximum(special.gammainc(np.arange(1, dim + 1)[:, None], x**2), 1e-300)).sum(0) / 2
    power = special.xlogy(dim - 1, x) - x**2 / 2 - special.gammaln(dim / 2) - dim / 2 * math.log(2)
    bulk = special.gammaincc(dim - 1, x**2) / math.sqrt(2 * math.pi) if dim > 1 else 0.0
    density = bulk + np.exp(power) * (special.gammainc((dim - 1) / 2, x**2 / 2) if dim > 1 else 1.0)
    beyond = 2 * np.cumsum(density[::-1])[::-1] * h * math.sqrt(dim)
    cdf = np.exp(moduli - beyond)
    mean = float(np.sum(1 - cdf) - 0.5) * h  # trapezoids: the integrand starts at 1
    square = float(np.sum(2 * r * (1 - cdf)) * h)
    return mean, math.sqrt(square - mean**2)


def effective_dimensions(n: int, dim: int, spread: float) -> int:
    r"""Coordinates that carry the scores' exponential: :math:`1 / \sum_k p_k^2 / D_k`, at most n.

    :math:`p_k` is the share of the variance at degree k, :math:`\sigma^{2k} / k! / (e^{\sigma^2} - 1)`, and
    :math:`D_k = \min(n, \binom{d + k - 1}{k})`. A rule for the edge's finite-size correction, not a theorem.
    """
    check_count(n=n, dim=dim)
    check_positive(spread=spread)
    k = np.arange(1, 60)
    log_share = k * math.log(spread**2) - special.gammaln(k + 1) - math.log(math.expm1(spread**2))
    log_size = special.gammaln(dim + k) - special.gammaln(k + 1) - special.gammaln(dim)
    weight = np.exp(2 * log_share - np.minimum(log_size, math.log(n)))
    return max(1, min(n, round(1 / float(weight.sum()))))


def second_eigenvalue_approx(n: int, dim: int, spread: float) -> tuple[float, float]:
    r"""Mean and standard deviation at finite sizes: the limit with the exact relative variance of the weights, at a random edge.

    .. math:: |\lambda_2| \approx E(D)\, \sqrt{\mathrm{Var}(P)\, n}

    with :math:`n^2 \mathrm{Var}(P)` of :func:`~attnlab.theory.score_statistics.attention_rows.relative_variance_exact` and E
    the edge of a normal matrix with the effective dimensions D.
    """
    mean, std = edge_of_a_real_ginibre_matrix_approx(effective_dimensions(n, dim, spread))
    size = math.sqrt(relative_variance_exact(n, dim, spread) / n)
    return size * mean, size * std


def second_eigenvalue_of_log_normal_approx(n: int, dim: int, scale: float) -> tuple[float, float]:
    r"""Mean and standard deviation for linear log-normal attention, :math:`s = a^2 \sigma_q^2 = b^2 \sigma_k^2`.

    .. math:: |\lambda_2| \approx E(d)\, \sqrt{(e^s - 1) \Big( E \sum_c w_c^2 - \frac1d \Big) / n}

    Why: the query's weights w have the mean 1 / d on every coordinate. That part gives all rows the same columns, a matrix
    :math:`1 (\pi - 1/n)^T` without eigenvalues: concentration that [Nahshan2024]_ call biased. Only the rest counts.
    """
    check_count(n=n, dim=dim)
    check_positive(scale=scale)
    mean, std = edge_of_a_real_ginibre_matrix_approx(dim)
    own = mean_participation_exact(dim, math.sqrt(scale)) - 1 / dim
    size = math.sqrt(math.expm1(scale) * own / n)
    return size * mean, size * std


def biased_share_exact(dim: int, scale: float) -> float:
    r"""Share of the relative variance of linear log-normal attention that is common to all rows,
    :math:`1 / (d\, E \sum_c w_c^2)`."""
    check_count(dim=dim)
    check_positive(scale=scale)
    return 1 / (dim * mean_participation_exact(dim, math.sqrt(scale)))


def second_eigenvalue_of_tied_approx(n: int, dim: int, spread: float) -> tuple[float, float]:
    r"""Mean and standard deviation for K = Q, of entries of variance :math:`\sigma`, while :math:`\sigma` is small.

    .. math:: \lambda_2 = \frac{\sigma}{n \sqrt d}\, \ell + \frac{e^{\sigma \sqrt d} - 1 - \sigma \sqrt d}{n}, \qquad
              \ell = (\sqrt{n - 2} + \sqrt d)^2 - 1.2065\, s, \quad
              s = (\sqrt{n - 2} + \sqrt d) \big( (n - 2)^{-1/2} + d^{-1/2} \big)^{1/3}

    To leading order :math:`(\sigma / \sqrt d) (1 + \sqrt{d / n})^2`, of order 1 in n. Why: the linear part is the
    centred Wishart matrix of the queries, whose largest eigenvalue has the law of Tracy and Widom (Johnstone 2001; standard
    deviation 1.268 s); the diagonal, :math:`|q|^2 / \sqrt d \approx \sigma \sqrt d`, adds what e^x leaves beyond 1 + x.
    """
    check_count(at_least=3, n=n)
    check_count(dim=dim)
    check_positive(spread=spread)
    root, x = math.sqrt(n - 2) + math.sqrt(dim), spread * math.sqrt(dim)
    s = root * (1 / math.sqrt(n - 2) + 1 / math.sqrt(dim)) ** (1 / 3)
    unit = spread / (n * math.sqrt(dim))
    return unit * (root**2 - 1.2065 * s) + (math.expm1(x) - x) / n, 1.268 * unit * s
