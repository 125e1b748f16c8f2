r"""How often block routing finds a planted key: mean, maximum and log-sum-exp of a block as its statistic.

n_b blocks of B keys with independent scores N(0, s^2), one key replaced by score A, the k best blocks kept. Given the planted
block's statistic x, the number of other blocks above it is binomial with :math:`q(x) = P(\text{noise block} > x)`:

.. math:: P(\text{hit}) = \mathbb E_x\, \mathrm{BinomCDF}(k - 1;\; n_b - 1,\; q(x)) .
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from attnlab.theory.checks import check_count, check_positive

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(160)
_WEIGHTS = _WEIGHTS / math.sqrt(2 * math.pi)


def mean_hit_exact(score: float, score_std: float, block: int, n_blocks: int, keep: int) -> float:
    """Routing by the mean score of a block: x ~ N(A/B, s^2 (B - 1)/B^2), noise N(0, s^2/B). Exact up to quadrature."""
    _check(score_std, block, n_blocks, keep)
    x = score / block + score_std * math.sqrt(block - 1) / block * _NODES
    above = stats.norm.sf(x * math.sqrt(block) / score_std)
    return float(_WEIGHTS @ stats.binom.cdf(keep - 1, n_blocks - 1, above))


def max_hit_exact(score: float, score_std: float, block: int, n_blocks: int, keep: int) -> float:
    """Routing by the largest score of a block; q(x) = 1 - Phi(x/s)^B. Exact up to quadrature over the block's other keys."""
    _check(score_std, block, n_blocks, keep)
    u = (np.arange(4000) + 0.5) / 4000  # quantiles of the largest of B - 1 others
    other = stats.norm.ppf(u ** (1 / max(block - 1, 1))) * score_std if block > 1 else np.full(1, -np.inf)
    x = np.maximum(score, other)
    above = -np.expm1(block * stats.norm.logcdf(x / score_std))
    return float(np.mean(stats.binom.cdf(keep - 1, n_blocks - 1, above)))


def log_sum_hit_approx(score: float, score_std: float, block: int, n_blocks: int, keep: int) -> float:
    r"""Routing by the log-sum-exp of a block; sums of exponentials taken log-normal with their two moments.

    :math:`M = B e^{s^2/2}`, :math:`V = B e^{s^2}(e^{s^2} - 1)`, log-variance ln(1 + V/M^2).
    """
    _check(score_std, block, n_blocks, keep)
    mean, std = _log_normal_sum(score_std, block)
    own_mean, own_std = _log_normal_sum(score_std, max(block - 1, 1))
    x = np.logaddexp(score, own_mean + own_std * _NODES)
    return float(_WEIGHTS @ stats.binom.cdf(keep - 1, n_blocks - 1, stats.norm.sf((x - mean) / std)))


def half_hit_score_of_means(score_std: float, block: int, n_blocks: int) -> float:
    r"""Score found half of the time by mean routing with keep = 1, :math:`s \sqrt B\, \Phi^{-1}(2^{-1/(n_b - 1)})`.

    Leaves out the noise of the planted block's other keys, which moves the true half point by less than its width.
    """
    check_positive(score_std=score_std)
    check_count(at_least=2, n_blocks=n_blocks)
    return score_std * math.sqrt(block) * stats.norm.ppf(2 ** (-1 / (n_blocks - 1)))


def blind_zone(score_std: float, block: int, n_blocks: int) -> tuple[float, float]:
    r"""Scores with weight above 1/2 in full attention that mean routing misses.

    From :math:`\ln n + s^2/2` to :math:`s\sqrt{2 B \ln n_b}`.
    """
    return math.log(block * n_blocks) + score_std**2 / 2, score_std * math.sqrt(2 * block * math.log(n_blocks))


def _log_normal_sum(score_std: float, count: int) -> tuple[float, float]:
    variance = math.log1p(math.expm1(score_std**2) / count)
    return math.log(count) + score_std**2 / 2 - variance / 2, math.sqrt(variance)


def _check(score_std: float, block: int, n_blocks: int, keep: int) -> None:
    check_positive(score_std=score_std)
    check_count(block=block, n_blocks=n_blocks, keep=keep)
