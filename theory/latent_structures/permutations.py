r"""One-to-one structures: exact marginals by permanents, and how far Sinkhorn's plan and belief propagation are from them.

The posterior of a permutation pi is proportional to :math:`\prod_i e^{S_{i \pi(i)}}`. Three doubly stochastic matrices compete:

- its exact marginals, ratios of permanents;
- *Sinkhorn's* plan, the maximiser of :math:`\sum P (S - \ln P)`: marginals of independent rows whose columns are tuned until
  keys are used once on average;
- *Bethe's*, the maximiser of :math:`\sum P (S - \ln P) + \sum (1 - P) \ln (1 - P)`, where belief propagation stops
  (Vontobel 2013, IEEE Transactions on Information Theory 59, 1866).

Scores are (query, key), as many of one as of the other.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from attnlab.theory.checks import check_count


def log_permanent(scores: ArrayLike) -> float:
    r"""Logarithm of :math:`\mathrm{perm}(e^S) = \sum_\pi e^{\sum_i S_{i \pi(i)}}`; cost n 2^n."""
    return float(_prefixes(_square(scores))[-1])


def permutation_marginals(scores: ArrayLike) -> np.ndarray:
    r"""Exact marginals :math:`e^{S_{ij}}\, \mathrm{perm}(e^S \text{ without row i and column j}) / \mathrm{perm}(e^S)`.

    Why: sums over sets of columns that the first rows have used, from both ends, in the log domain; cost n 2^n.
    """
    S = _square(scores)
    n = len(S)
    head, tail = _prefixes(S), _prefixes(S[::-1])
    P = np.zeros_like(S)
    for used in range(2**n):
        i = used.bit_count()
        for j in range(n):
            if not used >> j & 1:
                rest = 2**n - 1 - used - (1 << j)
                P[i, j] += math.exp(head[used] + S[i, j] + tail[rest] - head[-1])
    return P


def slope_exact(n: int) -> float:
    r"""Slope of the exact marginals at infinite temperature.

    .. math:: P_{ij} = \frac1n + \frac{\beta \tilde S_{ij}}{n - 1} + O(\beta^2), \qquad
              \tilde S = S \text{ with the means of rows and columns taken out.}

    Why: the covariance of :math:`1[\pi(i) = j]` and :math:`\sum_k \tilde S_{k \pi(k)}` for a uniform permutation is
    :math:`\tilde S_{ij} / n + \sum_{k \ne i, l \ne j} \tilde S_{kl} / (n (n-1))`, and the last sum is :math:`\tilde S_{ij}`.
    """
    check_count(at_least=2, n=n)
    return 1 / (n - 1)


def slope_of_sinkhorn(n: int) -> float:
    r"""Sinkhorn's plan in the same limit: :math:`1 / n`, too flat by the factor :math:`1 - 1/n`."""
    check_count(at_least=2, n=n)
    return 1 / n


def slope_of_bethe(n: int) -> float:
    r"""Bethe's matrix in the same limit: :math:`(n - 1) / (n (n - 2))`, too steep by the factor :math:`1 + 1 / (n (n-2))`.

    Why: the curvature of :math:`P \ln P - (1 - P) \ln (1 - P)` at P = 1/n is :math:`n - n / (n - 1)`. For n = 2 it is 0,
    and no temperature is high enough.
    """
    check_count(at_least=3, n=n)
    return (n - 1) / (n * (n - 2))


def ring_marginal_exact(n: int, gap: float) -> float:
    r"""Weight of the own key where query i may only use key i or, with a score lower by ``gap``, the next one on a ring.

    :math:`\sigma(n\, \Delta)`: only two permutations are left, the identity and the full turn.
    """
    check_count(at_least=2, n=n)
    return float(special.expit(n * gap))


def ring_marginal_of_sinkhorn(gap: float) -> float:
    r"""Sinkhorn's weight on the same ring, :math:`\sigma(\Delta)` for every n: rows of softmax are doubly stochastic there."""
    return float(special.expit(gap))


def freezing_radius(scores: ArrayLike) -> float:
    r"""Spectral radius of :math:`A_{ij} = e^{S_{ij} - S_{ii}}`, i != j, the best permutation on the diagonal.

    Belief propagation freezes, its beliefs 0 and 1, if and only if it is at most 1; what it leaves to other edges then shrinks by
    its square per round of messages. Exact marginals are never 0 or 1.

    Why: next to the best permutation Bethe's entropy of a circulation f is :math:`\sum_i s_i H(f_{i \cdot} / s_i)` with
    :math:`s_i = \sum_j f_{ij}`, the entropy rate of a Markov chain, so the best direction gains its pressure,
    :math:`\ln \rho(A)` per step. With :math:`y_j` the odds that column j leaves its key, a round of messages is y -> A^T y.
    """
    S = _square(scores)
    A = np.exp(S - np.diag(S)[:, None])
    np.fill_diagonal(A, 0.0)
    return float(np.abs(np.linalg.eigvals(A)).max())


def log_evidence_floor(n: int) -> float:
    r"""Least of :math:`\ln \mathrm{perm}(e^S) - \max_P \sum P (S - \ln P)`: :math:`\ln (n! / n^n)`, reached at equal scores.

    The largest is 0, reached by a single permutation. Why: the permanent of a doubly stochastic matrix is at least
    :math:`n! / n^n` (van der Waerden) and at most 1, and scaling rows and columns moves both sides alike.
    """
    check_count(n=n)
    return math.lgamma(n + 1) - n * math.log(n)


def bethe_evidence_ceiling(n: int) -> float:
    r"""Largest of :math:`\ln \mathrm{perm}(e^S)` over Bethe's: :math:`\tfrac n2 \ln 2`, reached by pairs that may swap; least 0.

    Gurvits 2011 (arXiv 1106.2844) for 0; Anari and Rezaei 2019 (FOCS) for the ceiling.
    """
    check_count(at_least=2, n=n)
    return n / 2 * math.log(2)


def permanent(matrix: ArrayLike) -> float:
    r"""Permanent of a matrix of numbers >= 0: for marginals P, the chance that independent draws of rows are one-to-one."""
    P = np.asarray(matrix, dtype=np.float64)
    if not (P >= 0).all():
        raise ValueError(f"matrix must hold numbers of at least 0, its least is {P.min()!r}")
    with np.errstate(divide="ignore"):
        return math.exp(log_permanent(np.log(P)))


def _prefixes(S: np.ndarray) -> np.ndarray:
    """Log permanents of the first rows on every set of columns, numbered by the bits of the set."""
    n = len(S)
    sums = np.full(2**n, -np.inf)
    sums[0] = 0.0
    for used in range(1, 2**n):
        row = S[used.bit_count() - 1]
        terms = [sums[used - (1 << j)] + row[j] for j in range(n) if used >> j & 1]
        top = max(terms)
        sums[used] = top + math.log(sum(math.exp(t - top) for t in terms)) if top > -np.inf else top
    return sums


def _square(scores: ArrayLike) -> np.ndarray:
    S = np.asarray(scores, dtype=np.float64)
    if S.ndim != 2 or S.shape[0] != S.shape[1] or not 1 <= len(S) <= 16:
        raise ValueError(f"scores of shape {S.shape} must be a square matrix of at most 16 rows: the cost is n 2^n")
    return S
