r"""Size and power of two tests on the columns of attention maps, exact for columns with independent normal effects.

A map has m columns that all of the rows looked at can see; one of them has a bonus of x standard deviations of a column.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy import special

from attnlab.theory.checks import check_count, check_share

_Z = np.arange(-12.0, 12.0, 0.01)


def rank_law_exact(shift: float, n_columns: int) -> np.ndarray:
    r"""P(k of the other columns lie below the shifted one), k = 0..m-1.

    .. math:: P(k) = \int \binom{m-1}{k} \Phi(z + x)^k (1 - \Phi(z + x))^{m-1-k}\, \phi(z)\, dz,

    uniform at x = 0.
    """
    check_count(at_least=2, n_columns=n_columns)
    k = np.arange(n_columns)
    below = special.ndtr(_Z + shift)[:, None]
    above = special.ndtr(-_Z - shift)[:, None]
    log = special.gammaln(n_columns) - special.gammaln(k + 1) - special.gammaln(n_columns - k)
    mass = np.exp(log + special.xlogy(k, below) + special.xlogy(n_columns - 1 - k, above))
    return (mass * (np.exp(-(_Z**2) / 2) * 0.01 / np.sqrt(2 * np.pi))[:, None]).sum(0)


def rank_test_power_exact(shift: float, n_prompts: int, n_columns: int, level: float = 0.05) -> float:
    """The chance that the sum over prompts of the ranks rejects at ``level``; at shift 0 the size, just below the level.

    The test rejects for sums whose uniform tail is at most ``level``; laws are convolved over prompts.
    """
    check_count(n_prompts=n_prompts)
    check_share(level=level)
    tail = _convolved(np.full(n_columns, 1 / n_columns), n_prompts)[::-1].cumsum()[::-1]
    rejects = tail <= level * (1 + 1e-12)
    return float(_convolved(rank_law_exact(shift, n_columns), n_prompts)[rejects].sum())


def rank_test_limit_approx(n_prompts: int, level: float = 0.05, power: float = 0.8) -> float:
    r"""The bonus, in spreads of a column, found with ``power``, by the normal law of the mean rank.

    .. math:: x = \sqrt2\, \Phi^{-1}\Bigl(\tfrac12 + \frac{z_{1-\alpha} + z_{\text{power}}}{\sqrt{12 N}}\Bigr),

    infinite where N prompts are too few. The spread of a rank is taken to be that without a bonus, which makes it cautious.
    """
    check_count(n_prompts=n_prompts)
    share = 0.5 + float(special.ndtri(1 - level) + special.ndtri(power)) / np.sqrt(12 * n_prompts)
    return float(np.sqrt(2) * special.ndtri(share)) if share < 1 else float("inf")


def outlier_test_size_approx(n_columns: int, level: float = 0.05) -> float:
    r"""The chance that some column's studentised excess passes Bonferroni's bound: :math:`1 - (1 - \alpha/m)^m`.

    Each passes with exactly alpha/m, normal columns given; that they pass independently is exact to order 1/m, and the union is
    at most alpha.
    """
    check_count(at_least=4, n_columns=n_columns)
    check_share(level=level)
    return float(-np.expm1(n_columns * np.log1p(-level / n_columns)))


def outlier_test_power_exact(shift: float, n_columns: int, level: float = 0.05) -> float:
    r"""The chance that the shifted column itself is found: its studentised excess has Student's noncentral law.

    .. math:: P\bigl(t'_{m-2}(\delta) > t_{m-2,\,1-\alpha/m}\bigr), \qquad \delta = x/\sqrt{1 + 1/(m-1)}.
    """
    check_count(at_least=4, n_columns=n_columns)
    critical = -special.stdtrit(n_columns - 2, level / n_columns)
    delta = shift / np.sqrt(1 + 1 / (n_columns - 1))
    return float(1 - special.nctdtr(n_columns - 2, delta, critical))


def first_length_above_threshold(multiple: float = 5.0) -> int:
    """The first T at which the null mean H_T/T of the first column exceeds ``multiple``/T, i.e. H_T > ``multiple``: 83 for 5."""
    check_count(multiple=int(multiple))
    total, n = 0.0, 0
    while total <= multiple:
        n += 1
        total += 1 / n
    return n


@functools.lru_cache(maxsize=64)
def _power_of(law: tuple[float, ...], n: int) -> tuple[float, ...]:
    made = np.ones(1)
    for _ in range(n):
        made = np.convolve(made, law)
    return tuple(made)


def _convolved(law: np.ndarray, n: int) -> np.ndarray:
    return np.array(_power_of(tuple(law.tolist()), n))
