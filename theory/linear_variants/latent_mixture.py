r"""Latent attention: no recency at the start, blocks of low rank, state and cost.

Dolga, Maystre and others 2024 (arXiv 2402.17512) for the operator; the facts are derived.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_count
from attnlab.theory.costs.linear_form import two_products


def newest_weight(n_seen: int) -> float:
    r"""Mean weight of the newest of t exchangeable tokens, 1/t exactly, for every number of latents and every size of scores.

    Each latent's softmax over t exchangeable tokens gives each of them 1/t on average, and rows are mixtures of latents with
    weights that depend on the query alone.
    """
    check_count(n_seen=n_seen)
    return 1 / n_seen


def block_rank(rows: int, columns: int, n_latents: int) -> int:
    """Greatest rank of a block of the causal map that lies below the diagonal: the number of latents; the whole map is full."""
    check_count(rows=rows, columns=columns, n_latents=n_latents)
    return min(rows, columns, n_latents)


def multiply_adds(sizes: Any, *, causal: bool = False) -> int:
    """Multiply-adds of one call for all heads: two products with d latents; causal, the map times values (n_q n d_v)."""
    if causal:
        return sizes.n_heads * sizes.queries * sizes.n * sizes.d_v
    return sizes.n_heads * two_products(sizes.queries, sizes.n, sizes.d, sizes.d_v)


def state_numbers(sizes: Any) -> int:
    """Numbers per head of the state: L running maxima, L masses, L reads, L (d_v + 2)."""
    return sizes.d * (sizes.d_v + 2)
