r"""Mixture of block attention: the blind zone of routing by mean keys.

Lu et al. 2025 (arXiv 2502.13189). A key with score A is found by the law of :func:`.routing_hits.mean_hit_exact`. Between
:math:`\ln n + s^2/2`, where full attention gives it weight 1/2, and :math:`s \sqrt{2 B \ln n_b}` it is mostly missed;
multiplying the query changes nothing, as statistic and noise scale alike.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.costs.visible import all_pairs
from attnlab.theory.score_ensembles.law import ScoreLaw
from attnlab.theory.score_ensembles.selection import selection_error
from attnlab.theory.sparse_selection.routing_hits import mean_hit_exact


def hit_exact(score: float, score_std: float, block: int, n_blocks: int, keep: int) -> float:
    """Probability that a key of score A in one of n_b candidate blocks is among the k kept, independent Gaussian scores."""
    return mean_hit_exact(score, score_std, block, n_blocks, keep)


def map_error(law: ScoreLaw, *, block: int = 2, keep: int = 2) -> float:
    r"""Relative Frobenius error of the map: the own block whatever it holds, and the best k - 1 of the others by mean keys.

    The score of a mean key has correlation :math:`1/\sqrt B` with that of each key of its block.
    """
    blocks = -(-law.n_keys // block)
    if blocks * block != law.n_keys:
        raise ValueError(f"block={block!r} does not divide n_keys={law.n_keys}: the law is for blocks of one size")
    if keep >= blocks:
        return 0.0
    if keep < 2:
        raise ValueError(f"keep={keep!r}: only the own block is kept, which no score chooses; take keep >= 2")
    return selection_error(law, keep - 1, blocks - 1, correlation=block**-0.5, always=1 / blocks)


def multiply_adds(sizes: Any, *, causal: bool = False, block: int = 2, keep: int = 2) -> int:
    """Multiply-adds of this file: a score per query and block, and a mask on the dense product."""
    return sizes.n_heads * sizes.queries * -(-sizes.n // block) * sizes.d + all_pairs(sizes)


def published_multiply_adds(sizes: Any, *, block: int = 2, keep: int = 2) -> int:
    """Multiply-adds with kept blocks gathered: n (n/B) d + n k B (d + d_v) per head."""
    kept = sizes.queries * min(sizes.n, keep * block) * (sizes.d + sizes.d_v)
    return sizes.n_heads * (sizes.queries * -(-sizes.n // block) * sizes.d + kept)


def state_numbers(sizes: Any, *, block: int = 2, keep: int = 2) -> int:
    """Numbers per head that a decoder keeps: keys, values, one mean key per block."""
    return sizes.n * (sizes.d + sizes.d_v) + -(-sizes.n // block) * sizes.d
