r"""Native sparse attention: selection by sums of compressed weights sharpens with the query, unlike routing by means.

Yuan et al. 2025 (arXiv 2502.11089). A selection block's score is the sum of softmax weights of its compressed parts of l keys: a
log-sum-exp of their means. When all scores are multiplied it tends to the largest mean, and the hit to
:func:`sharpest_hit_exact`; the mean of the whole block (:mod:`.moba`) gives the same hit at every scale.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats

from attnlab.theory.checks import check_count
from attnlab.theory.costs.visible import all_pairs

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(160)


def sharpest_hit_exact(score: float, score_std: float, part: int, parts: int, n_blocks: int, keep: int) -> float:
    r"""Hit of the largest of ``parts`` disjoint means of ``part`` keys per block, the limit of a large query scale.

    x = max of N(A/l, s^2 (l - 1)/l^2) and of parts - 1 noise means N(0, s^2/l); q(x) = 1 - Phi(x sqrt(l)/s)^parts.
    """
    check_count(part=part, parts=parts, n_blocks=n_blocks, keep=keep)
    own = score / part + score_std * math.sqrt(part - 1) / part * _NODES
    u = (np.arange(400) + 0.5) / 400
    other = stats.norm.ppf(u ** (1 / (parts - 1))) * score_std / math.sqrt(part) if parts > 1 else np.full(1, -np.inf)
    x = np.maximum(own[:, None], other[None])
    above = -np.expm1(parts * stats.norm.logcdf(x * math.sqrt(part) / score_std))
    hits = stats.binom.cdf(keep - 1, n_blocks - 1, above).mean(1)
    return float(_WEIGHTS @ hits / math.sqrt(2 * math.pi))


def multiply_adds(
    sizes: Any,
    *,
    causal: bool = False,
    length: int = 2,
    stride: int = 1,
    selection: int = 2,
    keep: int = 2,
    window: int = 2,
) -> int:
    """Multiply-adds of this file: gates, compression and its branch, sums per block, a mask on the dense product, a window."""
    n, d, d_v = sizes.n, sizes.d, sizes.d_v
    parts = 0 if n < length else (n - length) // stride + 1
    compressed = parts * length * d * d + n * parts * (d + d_v) + n * parts * -(-n // selection)
    near = sum(min(i, window - 1) + 1 + (0 if causal else min(n - 1 - i, window - 1)) for i in range(n))
    return sizes.n_heads * (3 * n * d + compressed + near * (d + d_v)) + all_pairs(sizes)


def state_numbers(
    sizes: Any, *, length: int = 2, stride: int = 1, selection: int = 2, keep: int = 2, window: int = 2
) -> int:
    """Numbers per head that a decoder keeps: keys and values, and the compressed ones."""
    parts = 0 if sizes.n < length else (sizes.n - length) // stride + 1
    return (sizes.n + parts) * (sizes.d + sizes.d_v)
