r"""Weights :math:`f_p(s) = \sum_{l \le p} s^l/l!` in place of :math:`e^s`: signs, order, slopes and the sharp error of a row.

Gerami et al. 2024 (arXiv 2402.07901), section 2; shares, slopes and the sharp bound are derived here. Tokens are
standardised over
their d features, so scores are :math:`s = \sqrt d\, u \cdot w` with u, w of length 1 in the d - 1 dimensions orthogonal to the
ones.
"""

from __future__ import annotations

import math

from scipy import special

from attnlab.theory.checks import check_count, check_positive
from attnlab.theory.polynomial_attention.tensor import factor_range_exact, hardest_counts


def score_bound(dim: int) -> float:
    r"""Largest score of standardised tokens, :math:`\sqrt d`; reached where query and key are equal."""
    check_count(at_least=3, dim=dim)
    return math.sqrt(dim)


def score_variance_exact(dim: int) -> float:
    r"""Variance of the score of two independent standardised Gaussian tokens, :math:`d/(d-1)`: a coordinate of a random
    direction in d - 1 dimensions has mean square 1/(d - 1)."""
    check_count(at_least=3, dim=dim)
    return dim / (dim - 1)


def negative_share_exact(score_std: float) -> float:
    r"""Share of negative weights 1 + s for normal scores, :math:`\Phi(-1/\sigma)`."""
    check_positive(score_std=score_std)
    return float(special.ndtr(-1 / score_std))


def negative_share_of_tokens_exact(dim: int) -> float:
    r"""The same for standardised Gaussian tokens: :math:`\tfrac12 (1 - I_{1/d}(\tfrac12, \tfrac{d-2}2))`.

    :math:`P(\sqrt d\, t < -1)` for one coordinate t of a random direction in d - 1 dimensions, :math:`t^2 \sim
    \mathrm{Beta}(\frac12, \frac{d-2}2)`. More than :math:`\Phi(-1)`, the limit of wide heads.
    """
    check_count(at_least=3, dim=dim)
    return float(1 - special.betainc(0.5, (dim - 2) / 2, 1 / dim)) / 2


def misordered_share_exact(score_std: float) -> float:
    r"""Share of pairs of keys whose weights at order 2 are in the opposite order of their scores: :math:`\Phi(-\sqrt 2/\sigma)`.

    :math:`2 f_2 = 1 + (1 + s)^2`, so :math:`f_2(s) > f_2(t)` for s < t iff s + t < -2; normal s + t does not know s - t.
    """
    check_positive(score_std=score_std)
    return float(special.ndtr(-math.sqrt(2) / score_std))


def slope_bound() -> float:
    r"""Largest spectral norm of :math:`\partial P/\partial s` at order 2, 1/2, as softmax's.

    :math:`J = (\mathrm{diag} P - P P^\top)\, \mathrm{diag}(f_1/f_2)`; with u = 1 + s the ratio is :math:`2u/(u^2 + 1)`, at most 1
    in size, and the matrix has norm at most 1/2, reached at two equal weights with s = 0.
    """
    return 0.5


def largest_weight_bound(dim: int, n_keys: int) -> float:
    r"""Largest weight at order 2 of one of n keys, :math:`f_2(\sqrt d)/(f_2(\sqrt d) + (n-1)/2)`, the others at s = -1."""
    check_count(at_least=2, n_keys=n_keys)
    top = ((1 + score_bound(dim)) ** 2 + 1) / 2
    return top / (top + (n_keys - 1) / 2)


def row_error_bound(order: int, score_bound: float) -> float:
    r"""Largest :math:`\sum_j |P_j - P^{\rm softmax}_j|` for scores up to B, sharp: :math:`2 \tanh(\tfrac14 \ln \rho)`.

    rho is the largest over the least factor :math:`f_p(s) e^{-s}`, by which weights change; keys of two kinds attain it
    (:func:`hardest_row`). Infinite where a factor can be 0 or negative.
    """
    low, high = factor_range_exact(order, score_bound)
    return 2 * math.tanh(math.log(high / low) / 4) if low > 0 else math.inf


def published_row_error_bound(order: int, score_bound: float) -> float:
    r"""The bound by steps, :math:`2\epsilon/(1-\epsilon)` with :math:`\epsilon = B^{p+1} e^{B}/(p+1)!`; infinite from
    :math:`\epsilon = 1`."""
    check_positive(score_bound=score_bound)
    check_count(order=order)
    relative = score_bound ** (order + 1) * math.exp(score_bound) / math.factorial(order + 1)
    return 2 * relative / (1 - relative) if relative < 1 else math.inf


def hardest_row(order: int, score_bound: float, n_keys: int) -> tuple[int, float, float]:
    """Row that attains it: how many of n keys get the high factor, the scores of these, and those of the others."""
    return hardest_counts(order, score_bound ** (1 / 3), n_keys)


def crossover_length(dim: int, value_dim: int, order: int) -> float:
    r"""Length from which softmax attention costs more multiply-adds, :math:`n = n_q = 2 \binom{d+p}{p} (d_v + 1)/(d + d_v)`.

    About :math:`d^p/p!` for d_v = d: below the :math:`d^p` of features that count each ordered product.
    """
    check_count(dim=dim, value_dim=value_dim, order=order)
    return 2 * math.comb(dim + order, order) * (value_dim + 1) / (dim + value_dim)
