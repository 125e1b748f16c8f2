r"""Block gates: what the best choice of blocks can retain, and what pooled keys can see.

Gao et al. 2024 (arXiv 2410.13276). The best share f of blocks of B independent scores holds :math:`\Phi(s_B - t)`,
:math:`s_B^2 = \ln(1 + (e^{s^2} - 1)/B)` while :math:`e^{s^2} \ll B`: hardly more than f. Blocks work where scores are
alike inside them: for scores b_block + w_j the block spread is :math:`s_b^2 + \ln(1 + (e^{s_w^2} - 1)/B)`.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.costs.visible import all_pairs
from attnlab.theory.sparse_selection.retained_mass import block_score_std, oracle_mass_limit


def oracle_block_mass_approx(score_std: float, share: float, block: int, shared_std: float = 0.0) -> float:
    """Mass of the share of blocks with the largest sums; ``shared_std`` is the spread of the part that a block shares."""
    return oracle_mass_limit(math.hypot(shared_std, block_score_std(score_std, block)), share)


def multiply_adds(
    sizes: Any, *, causal: bool = False, block: int = 2, keep: int = 2, width: int = 4, form: str = "prefill"
) -> int:
    """Multiply-adds of this file: gates, and a mask on the dense product."""
    blocks = -(-sizes.n // block)
    rows = blocks if form == "prefill" else sizes.queries
    gates = rows * sizes.d * width + blocks * 3 * sizes.d * width + rows * blocks * width
    return sizes.n_heads * gates + all_pairs(sizes)


def published_multiply_adds(sizes: Any, *, block: int = 2, keep: int = 2, width: int = 4, form: str = "prefill") -> int:
    """Multiply-adds with kept blocks gathered."""
    kept = sizes.queries * min(sizes.n, keep * block) * (sizes.d + sizes.d_v)
    whole = multiply_adds(sizes, block=block, keep=keep, width=width, form=form) - all_pairs(sizes)
    return whole + sizes.n_heads * kept


def state_numbers(sizes: Any, *, block: int = 2, keep: int = 2, width: int = 4, form: str = "prefill") -> int:
    """Numbers per head that a decoder keeps: keys, values, one gate key per block."""
    return sizes.n * (sizes.d + sizes.d_v) + -(-sizes.n // block) * width
