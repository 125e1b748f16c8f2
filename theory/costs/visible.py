"""Visible pairs, and what plain attention on them costs: shared by the operators of the atlas."""

from __future__ import annotations

from typing import Any


def visible_pairs(n_queries: int, n_keys: int, causal: bool) -> int:
    """Pairs that see each other; with ``causal`` the last query sits at the last key."""
    return n_queries * n_keys - (n_queries * (n_queries - 1) // 2 if causal else 0)


def plain_attention(sizes: Any, causal: bool) -> int:
    """Multiply-adds of scores and output on visible pairs, H P (d + d_v); ``sizes`` has n, queries, d, d_v, n_heads."""
    return sizes.n_heads * visible_pairs(sizes.queries, sizes.n, causal) * (sizes.d + sizes.d_v)


def all_pairs(sizes: Any) -> int:
    """The same with hidden pairs computed, too: what an operator on the readable path does."""
    return sizes.n_heads * sizes.queries * sizes.n * (sizes.d + sizes.d_v)


def token_attention(sizes: Any, causal: bool) -> int:
    """Scores and output of operators that take tokens (values as wide as keys), on visible pairs: H P 2 d."""
    return sizes.n_heads * visible_pairs(sizes.queries, sizes.n, causal) * 2 * sizes.d


def all_token_pairs(sizes: Any) -> int:
    """The same with hidden pairs computed, too."""
    return sizes.n_heads * sizes.queries * sizes.n * 2 * sizes.d
