r"""Multi-head self-attention: parameters, and cost with its projections.

Vaswani et al. 2017 (arXiv 1706.03762), section 3.2.2.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.costs.token_projections import head_projections
from attnlab.theory.costs.visible import token_attention


def n_parameters(sizes: Any) -> int:
    """Numbers of the four projections, 4 D H d = 4 D^2."""
    return 4 * sizes.d_model * sizes.n_heads * sizes.d


def projections_dominate_below(d_model: int) -> float:
    """Length below which the projections cost more than maps and outputs: 4 n D^2 against 2 n^2 D, n = 2 D."""
    return 2.0 * d_model


def multiply_adds(sizes: Any, *, causal: bool = False) -> int:
    """Multiply-adds of one call: four projections and attention of all heads on visible pairs, 4 n D H d + 2 H P d."""
    return head_projections(sizes) + token_attention(sizes, causal)


def state_numbers(sizes: Any) -> int:
    """Numbers that a decoder keeps: keys and values of all heads, 2 n H d."""
    return 2 * sizes.n * sizes.n_heads * sizes.d
