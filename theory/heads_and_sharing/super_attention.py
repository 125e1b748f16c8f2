r"""Super attention: parameters against multi-head, and cost.

Hosseini and Hosseini 2024 (arXiv 2403.01643), equation 11.
"""

from __future__ import annotations

import math
from typing import Any

from attnlab.theory.checks import check_count
from attnlab.theory.costs.token_projections import head_projections
from attnlab.theory.costs.visible import token_attention


def n_parameters(n_tokens: int, d_model: int) -> int:
    """Numbers of two projections and the matrix over positions, 2 D^2 + n^2."""
    check_count(n_tokens=n_tokens, d_model=d_model)
    return 2 * d_model**2 + n_tokens**2


def fewer_parameters_below(d_model: int) -> float:
    r"""Length below which that is less than multi-head's 4 D^2: :math:`\sqrt 2\, D`."""
    check_count(d_model=d_model)
    return math.sqrt(2) * d_model


def multiply_adds(sizes: Any, *, causal: bool = False) -> int:
    """Multiply-adds of one call: two projections, attention on visible pairs, the matrix over positions n^2 d per head."""
    positions = sizes.n_heads * sizes.n**2 * sizes.d
    return head_projections(sizes, 2) + token_attention(sizes, causal) + positions
