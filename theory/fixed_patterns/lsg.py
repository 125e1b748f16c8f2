r"""Local, sparse, global attention: who sees a far key.

Condevaux and Harispe 2022 (arXiv 2210.15497). Beyond the local part every f-th key stands for f: a key planted there at a
random place is seen with probability 1/f under strides, :math:`\min(1, H/f)` by H heads with different offsets. Choosing by
norm helps little: for Gaussian keys and a query with scores of standard deviation s the kept mass of the thinned part is
:math:`\Phi(s^2/\sqrt{2 d} - t)`, :math:`t = \Phi^{-1}(1 - 1/f)`, as norm and score correlate at :math:`s/\sqrt{2d}`.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

from attnlab.theory.checks import check_count, check_positive
from attnlab.theory.costs.visible import all_pairs


def seen_by_stride(factor: int, n_heads: int = 1) -> float:
    """Probability that some head sees a key planted beyond the local part, min(1, H/f)."""
    check_count(factor=factor, n_heads=n_heads)
    return min(1.0, n_heads / factor)


def kept_by_norm(factor: int, score_std: float, dim: int) -> float:
    r"""Mass that the keys of largest norm keep of the thinned part, :math:`\Phi(s^2/\sqrt{2d} - t)`, many keys per block."""
    check_positive(factor=factor, dim=dim)
    normal = NormalDist()
    return normal.cdf(score_std**2 / math.sqrt(2 * dim) - normal.inv_cdf(1 - 1 / factor))


def kept_by_norm_limit(factor: int, score_std: float, dim: int) -> float:
    r"""The same at any width, many keys: the weight :math:`e^{s k_1}` moves one coordinate of a key by s.

    So its squared norm is non-central chi-squared, and :math:`g = P(\chi'^2_d(s^2) > \chi^2_{d,\,1 - 1/f})`.
    """
    check_positive(factor=factor, score_std=score_std, dim=dim)
    from scipy import stats

    return float(stats.ncx2.sf(stats.chi2.isf(1 / factor, dim), dim, score_std**2))


def keys_per_query(block: int, n_global: int = 1) -> int:
    """Keys of an interior query: three blocks whole, one per side thinned, and the global tokens, 5 b + g."""
    return 5 * block + n_global


def reach(n_layers: int, block: int, factor: int) -> int:
    """Farthest token behind a block's first that local and sparse keys connect in L layers, L b (1 + f)."""
    return n_layers * block * (1 + factor)


def multiply_adds(sizes: Any, *, causal: bool = False, block: int = 2, factor: int = 2, choice: str = "norm") -> int:
    """Multiply-adds of this file, a mask on the dense product: hidden pairs are computed, too."""
    return all_pairs(sizes)


def published_multiply_adds(sizes: Any, *, block: int = 2, factor: int = 2, choice: str = "norm") -> int:
    """Multiply-adds of the published algorithm, which gathers blocks: H n (5 b + 1)(d + d_v)."""
    return sizes.n_heads * sizes.queries * min(sizes.n, keys_per_query(block)) * (sizes.d + sizes.d_v)


def state_numbers(sizes: Any, *, block: int = 2, factor: int = 2, choice: str = "norm") -> int:
    """Numbers per head that a decoder keeps: all keys and values, from which later blocks choose."""
    return sizes.n * (sizes.d + sizes.d_v)
