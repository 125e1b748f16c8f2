r"""Random projections of the tokens: the published width, what survives of its guarantee, and the limit of small logits.

P = softmax of scores (n, n), w a column of values, R (k, n) with entries N(0, 1/k). Wang et al. 2020 (arXiv 2006.04768), theorems
1 and 2 and their proofs.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from attnlab.theory.checks import check_count, check_not_negative, check_positive


def published_width(n_tokens: int, error: float) -> int:
    r"""The width of the proof of theorem 1, :math:`k = 5 \ln n / (\epsilon^2 - \epsilon^3)`, rounded up; 0 < eps < 1."""
    check_count(at_least=2, n_tokens=n_tokens)
    if not 0 < error < 1:
        raise ValueError(f"error={error!r} must lie between 0 and 1")
    return math.ceil(5 * math.log(n_tokens) / (error**2 - error**3))


def relative_error_at_published_width_limit(n_tokens: int, error: float) -> float:
    r"""Relative error :math:`\sqrt{n/k}` at the published width, for independent values of mean zero and large n.

    It *grows* with n, like :math:`\epsilon \sqrt{n (1 - \epsilon) / (5 \ln n)}`. Why: Johnson and Lindenstrauss keep p . w to
    eps |p| |w|, and |p . w| is smaller than that by :math:`\sqrt n`.
    """
    return math.sqrt(n_tokens / published_width(n_tokens, error))


def additive_violation_bound(n_tokens: int, error: float, n_projected: int) -> float:
    r"""Chance that some row errs by more than eps \|p\| \|w\|, at most :math:`2 n e^{-k (\epsilon^2 - \epsilon^3)/4}`.

    At the published width :math:`2 n^{-1/4}`: the additive form of the theorem is true. Why: the tail of a chi-squared number,
    for p + w and p - w of unit vectors (Johnson and Lindenstrauss).
    """
    check_count(n_tokens=n_tokens, n_projected=n_projected)
    return min(1.0, 2 * n_tokens * math.exp(-n_projected * (error**2 - error**3) / 4))


def small_step_mean_exact(logits: ArrayLike, values: ArrayLike, n_projected: int, step: float) -> float:
    r"""Mean of :math:`e^{x E^\top} F y` for E = delta R, F = e^{-delta} R, exact.

    .. math:: \delta\, (x \cdot y)\, e^{\delta^2 |x|^2/(2k) - \delta}

    It vanishes with delta, whatever x: there is no softmax left in it. From Gaussian integration by parts.
    """
    x, y = np.asarray(logits, dtype=np.float64), np.asarray(values, dtype=np.float64)
    check_count(n_projected=n_projected)
    check_not_negative(step=step)
    return float(step * (x @ y) * math.exp(step**2 * (x @ x) / (2 * n_projected) - step))


def small_step_variance_exact(logits: ArrayLike, values: ArrayLike, n_projected: int, step: float) -> float:
    r"""Its variance, exact; :math:`|y|^2` as delta -> 0: the output is a random number of the size of the values.

    .. math:: e^{-2\delta} \Bigl[ e^{2 \delta^2 |x|^2/k} \Bigl(|y|^2 + \tfrac{4 \delta^2 (x \cdot y)^2}{k}\Bigr)
              - \tfrac{\delta^2 (x \cdot y)^2}{k} e^{\delta^2 |x|^2/k} \Bigr]
    """
    x, y = np.asarray(logits, dtype=np.float64), np.asarray(values, dtype=np.float64)
    check_count(n_projected=n_projected)
    check_not_negative(step=step)
    k, s = n_projected, step**2 * (x @ x) / n_projected
    product2 = step**2 * (x @ y) ** 2 / k
    return float(math.exp(-2 * step) * (math.exp(2 * s) * (y @ y + 4 * product2) - product2 * math.exp(s)))


def stable_rank_of_participation(n_tokens: int, participation: float) -> float:
    r"""Stable rank \|P\|_F^2 / s_1^2 of a random softmax matrix with mean participation :math:`E \sum_j p_j^2`, n large.

    .. math:: \frac{n\,E\sum p^2}{1 + (n\,E\sum p^2 - 1)/n}

    Rows sum to 1, so :math:`P P^\top = 1 1^\top/n + N N^\top` without cross terms, and the top singular value gains what the
    column sums vary by. For Gaussian scores of spread s and long rows it is :math:`e^{s^2}`.
    """
    check_count(n_tokens=n_tokens)
    check_positive(participation=participation)
    energy = n_tokens * participation
    return energy / (1 + (energy - 1) / n_tokens)


def crossover_length(n_projected: int) -> int:
    """Length n = n_q from which softmax attention costs more multiply-adds than the projected one: 2 k."""
    check_count(n_projected=n_projected)
    return 2 * n_projected
