"""What linear attention with m features costs: two products without a mask, blocks of tokens with one."""

from __future__ import annotations


def two_products(n_queries: int, n_keys: int, features: int, width: int) -> int:
    """Multiply-adds of phi(K)^T V and phi(Q) of that, per head: (n + n_q) m w; ``width`` w of the values, normaliser included."""
    return (n_queries + n_keys) * features * width


def in_chunks(n: int, features: int, width: int, chunk: int = 64) -> int:
    """Multiply-adds of causal linear attention in blocks of C tokens, per head: sum of C^2 (m + w) + 2 C m w.

    Within a block hidden pairs are computed, too; the state is read and written once per block.
    """
    whole, rest = divmod(n, chunk)
    blocks = [chunk] * whole + [rest] * (rest > 0)
    return sum(c * c * (features + width) + 2 * c * features * width for c in blocks)
