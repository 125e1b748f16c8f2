r"""Landmark attention: dropping a block drops what its landmark holds, and when landmarks lose nothing.

Mohtashami and Jaggi 2023 (arXiv 2305.16300). Weights are p_A(landmark) p_b(token). Leaving block b out and renormalising changes
the output by :math:`p_A(b)(o_{-b} - o_b)`, the identity of :mod:`.retained_mass` with g = 1 - p_A(b). If the landmark's score is
the log-sum-exp of its block the weights are those of full attention on ordinary tokens. A landmark key is linear in the query
and the log-sum-exp is not, so no key does this for all queries.
"""

from __future__ import annotations

from typing import Any


def slots_read(n_tokens: int, block: int, keep: int) -> int:
    """Keys read per query with retrieval: a landmark per block, and k blocks."""
    return n_tokens // block + keep * block


def multiply_adds(sizes: Any, *, causal: bool = False, block: int = 3, keep: int | None = None) -> int:
    """Multiply-adds of one call: all scores, and all weights on values."""
    return sizes.n_heads * sizes.n**2 * (sizes.d + sizes.d_v)


def published_multiply_adds(sizes: Any, *, block: int = 3, keep: int | None = None) -> int:
    """Multiply-adds of retrieval: n (n/m + k m)(d + d_v) per head; of training, half the pairs."""
    if keep is None:
        return sizes.n_heads * sizes.n * (sizes.n + 1) // 2 * (sizes.d + sizes.d_v)
    return sizes.n_heads * sizes.n * min(sizes.n, slots_read(sizes.n, block, keep)) * (sizes.d + sizes.d_v)


def state_numbers(sizes: Any, *, block: int = 3, keep: int | None = None) -> int:
    """Numbers per head that a decoder keeps: all keys and values."""
    return sizes.n * (sizes.d + sizes.d_v)
