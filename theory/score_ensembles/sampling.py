r"""Errors of softmax over keys that chance picks: a subset per query, and samples that all queries share.

The estimate is a ratio :math:`\hat W_j = X_j P_j / T`, :math:`T = \sum_l X_l P_l`, X_j of mean 1. Both laws keep every term of
relative order 1/m and 1/n: with :math:`\delta = T - 1` of variance :math:`\eta`,

.. math:: \mathbb E \sum_j (\hat W_j - P_j)^2 = \sum_j P_j^2 \bigl( \mathbb E X_j^2\, (1 + 3 \eta) - 2\, \mathbb E X_j^2 \delta
          - 2 (1 + \eta - \mathbb E X_j \delta) + 1 \bigr) .

To leading order the error is that of the counts X alone, :math:`\sqrt{n/m - 1}` or :math:`\sqrt{n/m}`, whatever the scores: for
values without a common part half of the keys, picked at random, are as good as an answer of zero. Derived here.
"""

from __future__ import annotations

import numpy as np

from attnlab.theory.checks import check_count
from attnlab.theory.score_ensembles.law import ScoreLaw


def subset_error(law: ScoreLaw, n_kept: int) -> float:
    r"""Softmax over ``n_kept`` = m keys, drawn without replacement for every query.

    With :math:`f = n (n - m)/((n - 1) m)`, :math:`\eta = f (e^{s_q^2} - 1)/n`, :math:`\kappa = f (e^{2 s_q^2} - 1)/n`,

    .. math:: \epsilon^2 = \tfrac nm - 1 + (3 \tfrac nm - 2)\, \eta - 2 (\tfrac nm - 1)\, \kappa

    in a row without a planted key. A planted key of weight p is among the m with chance :math:`\mu = m/n`, and then the others
    are all divided by :math:`p + (1 - p) \mu`, else by :math:`(1 - p) \mu`: two rows with their own errors.
    """
    check_count(n_kept=n_kept)
    n, m = law.n_keys, min(n_kept, law.n_keys)
    f, mu = n * (n - m) / ((n - 1) * m), m / n

    def of_row(variance: np.ndarray, p: np.ndarray, Q: np.ndarray) -> np.ndarray:
        eta, kappa = f * np.expm1(variance) / n, f * np.expm1(2 * variance) / n
        total = np.zeros_like(p)
        for kept, chance in ((True, mu), (False, 1 - mu)):
            D = (p if kept else 0.0) + (1 - p) * mu  # the mean of T mu
            share = (1 - p) * mu / D  # of D that varies
            first = 1 + share**2 * eta - share * kappa  # of E 1_j / T
            second = 1 + 3 * share**2 * eta - 2 * share * kappa  # of E 1_j / T^2
            others = Q * (mu / D**2 * second - 2 * mu / D * first + 1)
            own = p**2 * ((1 + 3 * share**2 * eta) / D**2 - 2 * (1 + share**2 * eta) / D + 1) if kept else p**2
            total += chance * (own + others)
        return total

    return law.relative(of_row)


def shared_samples_error(law: ScoreLaw, n_samples: int, exact_share: float = 0.0, exact_keys: float = 0.0) -> float:
    r"""Softmax over m uniform samples with replacement, counted n/m times, beside keys that are known exactly.

    ``exact_share`` is the share of :math:`\sum_j P_j^2` on those keys, ``exact_keys`` their share of the keys. With a = n/m,
    :math:`\eta = (a\, e^{s_q^2} (1 - \text{share}) - a (1 - \text{keys}))/n` and the skewness of the counts,

    .. math:: \epsilon^2 = (1 - \text{share}) \bigl( a (1 + 3 \eta) - 2 (a^2 + a)\, (e^{2 s_q^2} - 1)/n \bigr) + \eta .
    """
    check_count(n_samples=n_samples)
    if law.height is not None:
        raise ValueError(
            f"height={law.height!r}: a sampled planted key ends the expansion in 1/m; give a law without one"
        )
    n, a, rest = law.n_keys, law.n_keys / n_samples, 1 - exact_share

    def of_row(variance: np.ndarray, p: np.ndarray, Q: np.ndarray) -> np.ndarray:
        eta = a * (rest * np.exp(variance) - (1 - exact_keys)) / n
        skew = 2 * (a**2 + a) * np.expm1(2 * variance) / n
        return Q * (rest * (a * (1 + 3 * eta) - skew) + eta)

    return law.relative(of_row)
