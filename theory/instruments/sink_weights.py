r"""The weight of the first key in causal attention: without and with a score bonus, for flat and for noisy scores.

Row i = 1..T of a causal map sees i keys. The first key has the score b + x, the others x_j, x and x_j normal of spread s. For
noisy scores the weights are averaged over the scores exactly, by a Laplace transform:

.. math:: \frac{\theta}{\theta + S} = \int_0^\infty \theta e^{-u(\theta + S)}\,du, \qquad
          \varphi(u) = \mathrm{E}\, e^{-u e^{s z}}, \qquad
          \mathrm{E} A_{i} = \int_0^\infty -e^b \varphi'(u e^b)\, \varphi(u)^{i-1}\, du.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy import optimize

from attnlab.theory.checks import check_count, check_not_negative, check_share

_STEP = 0.04
_LOG_U = np.arange(-36.0, 44.0, _STEP)
_Z = np.arange(-10.0, 10.0, 0.02)


def null_mean_of_first(n_tokens: int) -> float:
    r"""Mean weight of the first key over all rows without an effect, :math:`H_T/T`; exact for any exchangeable scores.

    Why: row i sees i exchangeable keys, whose weights add up to 1.
    """
    return null_mean_of_column(n_tokens, 0)


def null_mean_of_column(n_tokens: int, column: int) -> float:
    r"""Mean weight of a key over the rows that see it, :math:`\frac1{T-k}\sum_{i=k+1}^{T} \frac1i`, k = ``column`` from 0;
    exact."""
    check_count(n_tokens=n_tokens)
    check_count(at_least=0, column=column)
    if column >= n_tokens:
        raise ValueError(f"column={column!r} must lie below n_tokens={n_tokens}")
    return float((1 / np.arange(column + 1, n_tokens + 1)).mean())


def null_mean_without_self(n_tokens: int) -> float:
    r"""The same for the first key without row 1, which can only look at itself: :math:`(H_T - 1)/(T - 1)`; exact."""
    check_count(at_least=2, n_tokens=n_tokens)
    return float((1 / np.arange(2, n_tokens + 1)).mean())


def mean_weight_flat_exact(bonus: float, n_tokens: int) -> float:
    r"""Mean weight of the first key with a bonus over equal scores, :math:`\frac1T\sum_{i=1}^T \frac{e^b}{e^b + i - 1}`."""
    check_count(n_tokens=n_tokens)
    return float((1 / (1 + np.arange(n_tokens) * np.exp(-bonus))).mean())


def bonus_of_mean_weight(weight: float, n_tokens: int) -> float:
    r"""The bonus b at which :func:`mean_weight_flat_exact` is ``weight``: the strength that one reads by inverting that law.

    Right for equal scores only: of noisy ones it gives less than was planted. Errors: ``ValueError`` for weights outside (1/T,
    1).
    """
    check_count(at_least=2, n_tokens=n_tokens)
    check_share(weight=weight)
    if not 1 / n_tokens < weight < 1:
        raise ValueError(f"weight={weight!r} must lie between 1/{n_tokens}, the first row's own part, and 1")
    return float(optimize.brentq(lambda b: mean_weight_flat_exact(b, n_tokens) - weight, -60.0, 60.0, xtol=1e-13))


def mean_weight_noisy_exact(bonus: float, n_tokens: int, score_sd: float, first_sd: float | None = None) -> float:
    r"""The expected mean weight of the first key with a bonus, where all scores have independent normal noise of spread s.

    ``first_sd``: the spread of the first key's own noise, where it is another (0 in the sheet's cases).

    .. math:: \frac1T \int_0^\infty -e^b \varphi'(u e^b)\, \frac{1 - \varphi(u)^T}{1 - \varphi(u)}\, du,

    exact but for the quadrature (1e-10). Effects of keys on all queries (columns) change nothing but s^2, the total variance of
    a score: every row is averaged by itself.
    """
    check_count(n_tokens=n_tokens)
    own = score_sd if first_sd is None else first_sd
    check_not_negative(score_sd=score_sd, first_sd=own)
    phi, slope = _laplace(score_sd, 0, 0.0), _laplace(own, 1, float(bonus))
    rows = sum(phi**i for i in range(n_tokens))
    return float((np.exp(_LOG_U + bonus) * slope * rows).sum() * _STEP / n_tokens)


def mean_weight_noisy_approx(bonus: float, n_tokens: int, score_sd: float) -> float:
    r"""The same with the sum over other keys replaced by its mean: :math:`i - 1 \to (i-1)e^{s^2/2}`, and no noise on the first
    key."""
    return mean_weight_flat_exact(bonus - score_sd**2 / 2, n_tokens)


def variances_of_rows_exact(
    n_tokens: int, score_sd: float, bonus: float = 0.0, first_sd: float | None = None
) -> np.ndarray:
    r"""Variance of the weight A_i of the first key in row i = 1..T, all scores independent, (T,).

    .. math:: \mathrm{E} A_i^2 = \int_0^\infty u\, e^{2b} \varphi''(u e^b)\, \varphi(u)^{i-1}\, du, \qquad
              \mathrm{E} A_i = \int_0^\infty -e^b \varphi'(u e^b)\, \varphi(u)^{i-1}\, du.
    """
    check_count(n_tokens=n_tokens)
    own = score_sd if first_sd is None else first_sd
    check_not_negative(score_sd=score_sd, first_sd=own)
    lift, phi = np.exp(_LOG_U + bonus), _laplace(score_sd, 0, 0.0)
    first, second = lift * _laplace(own, 1, float(bonus)), lift**2 * _laplace(own, 2, float(bonus))
    powers = [phi**i for i in range(n_tokens)]
    return np.array([max((second * p).sum() * _STEP - ((first * p).sum() * _STEP) ** 2, 0.0) for p in powers])


def sd_of_mean_weight_exact(n_tokens: int, score_sd: float, bonus: float = 0.0, first_sd: float | None = None) -> float:
    r"""Standard deviation over maps of the mean weight of the first key, all scores independent: rows are, too.

    :math:`\sqrt{\sum_i \mathrm{Var} A_i}/T`. With effects of keys on all queries rows move together: see the bound.
    """
    return float(np.sqrt(variances_of_rows_exact(n_tokens, score_sd, bonus, first_sd).sum()) / n_tokens)


def sd_of_mean_weight_bound(n_tokens: int, score_sd: float, bonus: float = 0.0) -> float:
    r"""The most that it can be however rows depend on each other, :math:`\sum_i \sqrt{\mathrm{Var} A_i}/T`; s the whole spread
    of a score."""
    return float(np.sqrt(variances_of_rows_exact(n_tokens, score_sd, bonus)).sum() / n_tokens)


@functools.lru_cache(maxsize=32)
def _laplace(score_sd: float, order: int, shift: float) -> np.ndarray:
    """E e^(k s z) exp(-e^(y + shift) e^(s z)) at every y of the grid, k = ``order``: up to sign the k-th derivative of phi."""
    density = np.exp(-(_Z**2) / 2) * 0.02 / np.sqrt(2 * np.pi)
    lift = score_sd * _Z
    power = np.exp(order * lift) * density
    return np.array([(np.exp(-np.exp(np.minimum(y + shift + lift, 700.0))) * power).sum() for y in _LOG_U])
