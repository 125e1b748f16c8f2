r"""Entries of softmax attention over Gaussian queries and keys: scores :math:`s_{ij} = q_i \cdot k_j / \sqrt d`, weights P.

Given its query a row holds independent Gaussian scores of variance :math:`v = \sum_c q_c^2 w_c / d`, with :math:`w_c` the
variances of the keys' coordinates; the row is that of :mod:`~attnlab.theory.score_statistics.log_sum`. Over queries v scatters
like a chi-square number of d degrees of freedom, and all exact laws here average over it. The log-normal limits are those of
linear log-normal attention [Nahshan2024]_; the exact laws, corrections and fluctuations are derived here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from attnlab.theory.checks import check_count, check_positive
from attnlab.theory.score_statistics import log_sum

_NODES = 8  # of the rule over the chi-square number v: exact for polynomials of degree 15


def score_variance_exact(query_variances: ArrayLike, key_variances: ArrayLike) -> float:
    r"""Variance of the scores, :math:`\sigma^2 = \frac1d \sum_c u_c w_c = \bar u\, \bar w + \mathrm{Cov}_c(u, w)`.

    ``query_variances`` u and ``key_variances`` w: one for each coordinate, shape (d,). [Nahshan2024]_ calls the
    covariance C.
    """
    u, w = _coordinates(query_variances, key_variances)
    return float(np.mean(u * w))


def score_variance_without_covariance(query_variances: ArrayLike, key_variances: ArrayLike) -> float:
    r"""The product :math:`\bar u\, \bar w`: the variance of the scores only if u or w is the same for all coordinates."""
    u, w = _coordinates(query_variances, key_variances)
    return float(u.mean() * w.mean())


def score_variance_std_exact(n: int, query_variances: ArrayLike, key_variances: ArrayLike) -> float:
    r"""Standard deviation of the mean square score :math:`\mathrm{tr}(Q^T Q K^T K) / (d\, n^2)` of one n by n map.

    .. math:: \frac1d \sqrt{\frac{4 \sum_c u_c^2 w_c^2}{n}
              + \frac{2 \big( (\sum_c u_c w_c)^2 + \sum_c u_c^2 w_c^2 \big)}{n^2}}

    Why: the variance of tr(A B) for independent Wishart matrices A and B: that of the conditional mean, and the mean of
    the conditional variance :math:`2\, \mathrm{tr}(U B U B) / n`.
    """
    check_count(n=n)
    u, w = _coordinates(query_variances, key_variances)
    x = u * w
    squares = float(np.sum(x**2))
    return math.sqrt(4 * squares / n + 2 * (float(x.sum()) ** 2 + squares) / n**2) / x.size


def score_kurtosis_exact(dim: int) -> float:
    r"""Kurtosis of the scores of many queries, equal variances of the coordinates: :math:`3 (1 + 2 / d)`.

    Why: a Gaussian number whose variance is a chi-square number, :math:`3\, E v^2 / (E v)^2`. The law of ln P is that of
    the scores within a row, so it is normal for d to infinity only.
    """
    check_count(dim=dim)
    return 3 * (1 + 2 / dim)


def score_kurtosis_std_approx(n: int, dim: int) -> float:
    r"""Standard deviation of the pooled kurtosis of one n by n map, the leading terms of queries, keys and pairs.

    .. math:: \kappa \sqrt{\frac{2\, V}{n} + \frac{8}{3 n^2}}, \qquad V = \mathrm{Var}\Big( \frac{v^2}{1 + 2/d} - 2 v \Big)

    with v a chi-square number over d. Why: the logarithm of :math:`m_4 / m_2^2` is linear in the means over queries and
    over keys, :math:`\delta m_4 / m_4 - 2\, \delta m_2 / m_2`; pairs scatter like the kurtosis of n^2 normal numbers,
    variance 24 / n^2.
    """
    check_count(n=n, dim=dim)
    a = 1 / (1 + 2 / dim)
    m = [math.exp(special.gammaln(dim / 2 + k) - special.gammaln(dim / 2)) * (2 / dim) ** k for k in range(5)]
    mean = a * m[2] - 2 * m[1]
    variance = a * a * m[4] - 4 * a * m[3] + 4 * m[2] - mean**2
    return score_kurtosis_exact(dim) * math.sqrt(2 * variance / n + 8 / (3 * n**2))


def mean_log_weight_limit(n: int, spread: float) -> float:
    r"""Mean of ln P of the log-normal law: :math:`-\ln n - \sigma^2 / 2`."""
    check_count(n=n)
    check_positive(spread=spread)
    return -math.log(n) - spread**2 / 2


def mean_log_weight_correction(n: int, query_variances: ArrayLike, key_variances: ArrayLike) -> float:
    r"""The first term that this limit drops: :math:`(E e^{v} - 1) / 2n`, :math:`E e^v = \prod_c (1 - 2 u_c w_c / d)^{-1/2}`.

    Infinite if some :math:`u_c w_c \ge d / 2`.
    """
    check_count(n=n)
    u, w = _coordinates(query_variances, key_variances)
    x = 2 * u * w / u.size
    return math.inf if np.any(x >= 1) else float(np.expm1(-np.log1p(-x).sum() / 2)) / (2 * n)


def entropy_limit(n: int, spread: float) -> float:
    r"""Entropy of a row of the log-normal law, in nats: :math:`\ln n - \sigma^2 / 2`."""
    return mean_log_weight_limit(n, spread) + 2 * math.log(n)


def entropy_correction(n: int, spread: float) -> float:
    r"""The first term in 1/n that the entropy of the log-normal law drops (that in 1/d is 0).

    .. math:: \frac1n \Big( \sigma^2 e^{\sigma^2} - \frac{e^{\sigma^2} - 1}{2} \Big)

    Why: :math:`H = F - s F'` with :math:`F = \ln n + s^2/2 - (e^{s^2} - 1) / 2n`, the mean log-sum-exp to first order in 1/n.
    """
    check_count(n=n)
    check_positive(spread=spread)
    return (spread**2 * math.exp(spread**2) - math.expm1(spread**2) / 2) / n


def relative_variance_limit(spread: float) -> float:
    r"""Relative variance of the weights, :math:`n^2\, \mathrm{Var}(P) = e^{\sigma^2} - 1`, of the log-normal law."""
    check_positive(spread=spread)
    return math.expm1(spread**2)


def relative_variance_correction(n: int, dim: int, spread: float) -> float:
    r"""The first terms that this limit drops.

    .. math:: e^{\sigma^2} \big( \sigma^4 / d + (3 e^{\sigma^2} - 2 e^{2 \sigma^2} - 1) / n \big)

    Why: :math:`E e^v = (1 - 2 \sigma^2 / d)^{-d/2}` over chi-square numbers, and the ratio :math:`B / A^2` of averages of
    :math:`e^{2 s}` and :math:`e^s` to first order in 1/n.
    """
    check_count(n=n, dim=dim)
    check_positive(spread=spread)
    s2 = spread**2
    return math.exp(s2) * (s2**2 / dim + (3 * math.expm1(s2) - 2 * math.expm1(2 * s2)) / n)


def entropy_exact(n: int, dim: int, spread: float) -> float:
    """Mean entropy of a row in nats, for any number of keys n, head size d and spread of the scores."""
    return _over_queries(lambda s: log_sum.mean_entropy_exact(n, s), dim, spread)


def relative_variance_exact(n: int, dim: int, spread: float) -> float:
    r"""Mean of :math:`n \sum_j P_{ij}^2 - 1` over rows, for any n, d and spread: :math:`n^2\, \mathrm{Var}(P)`."""
    return n * _over_queries(lambda s: log_sum.mean_participation_exact(n, s), dim, spread) - 1


def own_weight_of_softmax_approx(queries: ArrayLike, n: int, spread: float) -> np.ndarray:
    r"""Weight of a token on its own key where keys are the queries.

    .. math:: \big( 1 + (n - 1)\, e^{v / 2 - \sigma |q|^2 / \sqrt d} \big)^{-1}

    ``queries``: standard normal, shape (..., d); :math:`v = \sigma^2 |q|^2 / d`. Returns shape (...). The sum over the
    other keys is replaced by its mean; its relative variance, :math:`(e^v - 1) / n`, is what is left out.
    """
    q = np.asarray(queries, dtype=np.float64)
    check_count(n=n)
    check_positive(spread=spread)
    size, dim = np.square(q).sum(-1), q.shape[-1]
    return special.expit(spread * size / math.sqrt(dim) - spread**2 * size / (2 * dim) - math.log(n - 1))


def _over_queries(law: Callable[[float], float], dim: int, spread: float) -> float:
    """Mean of ``law(sqrt(v))`` with v = spread^2 times a chi-square number of d degrees of freedom over d."""
    check_count(dim=dim)
    check_positive(spread=spread)
    k = np.arange(_NODES)  # Golub and Welsch, Laguerre polynomials of order d / 2 - 1: no gamma functions to overflow
    side = np.sqrt(k[1:] * (k[1:] + dim / 2 - 1))
    x, vectors = np.linalg.eigh(np.diag(2 * k + dim / 2) + np.diag(side, 1) + np.diag(side, -1))
    w = vectors[0] ** 2
    used = w > 1e-14
    return float(sum(b * law(spread * math.sqrt(2 * a / dim)) for a, b in zip(x[used], w[used], strict=True)))


def _coordinates(query_variances: ArrayLike, key_variances: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    u, w = (np.asarray(each, dtype=np.float64) for each in (query_variances, key_variances))
    if u.shape != w.shape or u.ndim != 1:
        raise ValueError(
            f"query_variances and key_variances must be vectors of one length, got {u.shape} and {w.shape}"
        )
    check_positive(query_variances=u, key_variances=w)
    return u, w
