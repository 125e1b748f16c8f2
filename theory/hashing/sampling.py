r"""HyperAttention's pieces: Gray codes, what blocks of sorted codes catch, sampled products, and the published numbers of
samples.

Han et al. 2024 (arXiv 2310.05869). Collision probabilities are those of hyperplanes (:mod:`attnlab.theory.hashing.yoso`); the
rest is derived here.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import roots_genlaguerre, roots_hermitenorm

from attnlab.theory.checks import check_count, check_positive, check_share
from attnlab.theory.score_ensembles.law import ScoreLaw


def gray_rank(bits: ArrayLike) -> np.ndarray:
    r"""Rank of codes (..., bit), most significant first, among Gray codes: prefix sums modulo 2, read as a number.

    Consecutive ranks differ in one bit.
    """
    prefix = np.cumsum(np.asarray(bits, dtype=np.int64), axis=-1) % 2
    return prefix @ (1 << np.arange(prefix.shape[-1] - 1, -1, -1))


def caught_limit(angle: float, n_tokens: int, block: int) -> float:
    r"""Chance that a query and the key at this angle share a block, :math:`(1 - \theta/\pi)^{\log_2(n/b)}`, for many tokens.

    Hyperplanes through the origin halve symmetric tokens, so blocks of b among n sorted tokens are the buckets of the first
    :math:`\log_2(n/b)` bits: further bits sort inside blocks and catch nothing more, nor less. n/b a power of two, and as many
    bits.
    """
    levels = math.log2(n_tokens / block)
    if not (levels >= 0 and levels == round(levels)):
        raise ValueError(f"n_tokens={n_tokens!r} over block={block!r} must be a power of two")
    return float((1 - angle / math.pi) ** levels)


def caught_mass_limit(caught: float, planted: float, share: float) -> float:
    r"""Attention mass inside blocks, :math:`c\, p + (1 - p)\, b/n`, where a share p of a row lies on its planted key.

    ``share`` is b/n; the rest of the row is taken as spread evenly over blocks.
    """
    check_share(caught=caught, planted=planted, share=share)
    return caught * planted + (1 - planted) * share


def caught_square_limit(law: ScoreLaw, block: int) -> float:
    r"""Share of :math:`\sum_j P_j^2` in the own block, Gaussian queries and keys of equal lengths, many tokens.

    Under weights :math:`P_j^2` a key is normal around 2 v x, with v = s / sqrt(nu) per direction: its part along the query is
    :math:`2 v |x| + \sqrt v\, z`, that across is :math:`\sqrt v\, \chi_{\nu - 1}`. The mean of :func:`caught_limit`
    over the angle between them; an upper limit, as blocks do not begin where buckets do.
    """
    check_count(at_least=2, width=law.width)
    levels = math.log2(law.n_keys / block)
    if law.width < 2 * levels:
        raise ValueError(
            f"width={law.width}: {levels:g} hyperplanes cut so few directions into cells of very unequal mass; the limit is for "
            f"widths from {2 * levels:g} on"
        )
    if not (levels >= 0 and levels == round(levels)):
        raise ValueError(f"n_keys={law.n_keys!r} over block={block!r} must be a power of two")
    variance, weight = law.variances()
    weight = weight * np.exp(variance)  # queries by their sum of squares
    z, chance = roots_hermitenorm(32)
    t, share = roots_genlaguerre(32, (law.width - 3) / 2)
    along = (2 * np.sqrt(variance)[:, None] + z)[..., None]  # over sqrt v, as v |x|^2 = s_q^2
    caught = (1 - np.arctan2(np.sqrt(2 * t), along) / math.pi) ** levels
    mean = np.einsum("izt,z,t->i", caught, chance / chance.sum(), share / share.sum())
    return float(weight @ mean / weight.sum())


def sampled_product_error_exact(weights: ArrayLike, values: ArrayLike, n_samples: int, chances: ArrayLike) -> float:
    r"""Mean squared Frobenius error of P S^T S V, m rows drawn with replacement with the given chances.

    .. math:: \frac1m \left(\sum_j \frac{|P e_j|^2 |v_j|^2}{\pi_j} - |P V|_F^2\right) .

    Chances :math:`|v_j|^2/|V|_F^2` give :math:`(|P|_F^2 |V|_F^2 - |P V|_F^2)/m`; those in proportion to :math:`|P e_j| |v_j|`
    are best.
    """
    check_count(n_samples=n_samples)
    P, V, pi = (np.asarray(x, dtype=np.float64) for x in (weights, values, chances))
    sizes = np.square(P).sum(0) * np.square(V).sum(1)
    kept = pi > 0
    if sizes[~kept].any():
        raise ValueError("chances are 0 for rows that count; give every row with weight a positive chance")
    return float((sizes[kept] / pi[kept]).sum() - np.square(P @ V).sum()) / n_samples


def sampled_output_error_approx(weights: ArrayLike, values: ArrayLike, n_samples: int) -> float:
    r"""Mean squared Frobenius error of attention over m uniform keys, :math:`\frac nm \sum_{ij} P_{ij}^2 |v_j - o_i|^2`, first
    order in 1/m."""
    check_count(n_samples=n_samples)
    P, V = (np.asarray(x, dtype=np.float64) for x in (weights, values))
    out = P @ V
    gap = np.square(V).sum(1) - 2 * out @ V.T + np.square(out).sum(1)[:, None]
    return float(V.shape[0] * (np.square(P) * gap).sum() / n_samples)


def published_samples(alpha: float, kappa: float, epsilon: float, n_tokens: int) -> int:
    r"""Column samples of the published bound with constant 1, :math:`\kappa^7 \alpha^2 \epsilon^{-6} \ln n`."""
    check_positive(alpha=alpha, kappa=kappa, epsilon=epsilon)
    check_count(at_least=2, n_tokens=n_tokens)
    return math.ceil(kappa**7 * alpha**2 * epsilon**-6 * math.log(n_tokens))


def published_rows(epsilon: float, dim: int, stable_rank: float) -> int:
    r"""Rows of the published bound on products with constant 1, :math:`\epsilon^{-2} d\, \mathrm{srank}(V)`."""
    check_positive(epsilon=epsilon, stable_rank=stable_rank)
    check_count(dim=dim)
    return math.ceil(epsilon**-2 * dim * stable_rank)


def mean_column_weight_exact_limit(score_variance: float, dim: int) -> float:
    r"""Mean over keys of n |P e_j|^2 for Gaussian tokens, many of them, :math:`(1 - 2 s^2/d)^{-d/2}`; :math:`e^{s^2}` for wide
    heads."""
    check_count(dim=dim)
    check_positive(score_variance=score_variance)
    if not 2 * score_variance < dim:
        raise ValueError(
            f"score_variance={score_variance!r} must be below dim / 2 = {dim / 2}: beyond, the mean is infinite"
        )
    return (1 - 2 * score_variance / dim) ** (-dim / 2)
