r"""Short and long convolutions before linear attention: what a token costs, and the chunk at which two costs are equal.

Liu et al. 2024 (arXiv 2406.08128) for the operator; the counts are derived.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_count
from attnlab.theory.costs.linear_form import in_chunks
from attnlab.theory.costs.token_projections import head_projections


def cost_per_token(chunk: int, dim: int, value_dim: int) -> float:
    r"""Multiply-adds per token of causal linear attention in chunks, hidden pairs skipped: :math:`C (d_k + d_v)/2 + 2 d_k d_v`.

    Flat in the number of tokens: the first part is within the chunk, the second writes and reads the state.
    """
    check_count(chunk=chunk, dim=dim, value_dim=value_dim)
    return chunk * (dim + value_dim) / 2 + 2 * dim * value_dim


def balanced_chunk(dim: int) -> int:
    """Chunk at which the two parts are equal for d_k = d_v = d: C d = 2 d^2, C = 2 d."""
    check_count(dim=dim)
    return 2 * dim


def multiply_adds(sizes: Any, *, causal: bool = False, short: int = 2) -> int:
    """Multiply-adds of one call: five projections, a merged kernel of n taps (n^2 D, zeros included), blocks of 64."""
    taps = max(sizes.n, short)
    core = sizes.n_heads * in_chunks(sizes.n, sizes.d, sizes.d)
    return head_projections(sizes, 5) + sizes.n * taps * sizes.d_model + core
