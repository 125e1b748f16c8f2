r"""Multi-head combination of scaled dot products: cost and cache.

Vaswani et al. 2017 (arXiv 1706.03762), section 3.2.2.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.costs.token_projections import head_projections
from attnlab.theory.costs.visible import token_attention


def multiply_adds(sizes: Any, *, causal: bool = False) -> int:
    """Multiply-adds of one call: four projections, attention of all heads on visible pairs."""
    return head_projections(sizes) + token_attention(sizes, causal)


def state_numbers(sizes: Any) -> int:
    """Numbers that a decoder keeps: keys and values of all heads, 2 n H d."""
    return 2 * sizes.n * sizes.n_heads * sizes.d
