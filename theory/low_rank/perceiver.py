r"""Perceiver: what a bottleneck of latents cannot give back, and its cost.

Jaegle et al. 2021 (arXiv 2103.03206) for the operator; the shares are dimension counts.
"""

from __future__ import annotations

from typing import Any

from attnlab.theory.checks import check_count
from attnlab.theory.costs.token_projections import head_projections


def unexplained_share(n_tokens: int, n_latents: int, n_reads: int = 1) -> float:
    r"""Share of independent values that the best linear read-out of R different reads, kept apart, cannot explain.

    .. math:: 1 - \min(1,\, R M / n) :

    R maps of rank M each, given the maps.
    """
    check_count(n_tokens=n_tokens, n_latents=n_latents, n_reads=n_reads)
    return 1 - min(1.0, n_reads * n_latents / n_tokens)


def unexplained_share_of_sums(n_tokens: int, n_latents: int, n_reads: int, width: int, value_dim: int) -> float:
    r"""The same where all reads add into M latents of width D: :math:`1 - \min(1, R M / n, M D / (n d_v))`.

    M D numbers cannot hold n d_v values, however often they read.
    """
    check_count(width=width, value_dim=value_dim)
    held = n_latents * width / (n_tokens * value_dim)
    return 1 - min(1.0, n_reads * n_latents / n_tokens, held)


def cheaper_from(n_latents: int, n_blocks: int) -> float:
    r"""Length from which reading and L_s latent blocks cost less than full attention, n M + L_s M^2 < n^2."""
    check_count(n_latents=n_latents)
    check_count(n_blocks=n_blocks, at_least=0)
    return n_latents * (1 + (1 + 4 * n_blocks) ** 0.5) / 2


def multiply_adds(sizes: Any, *, causal: bool = False, n_latents: int = 4, n_blocks: int = 1) -> int:
    """Multiply-adds of one call: keys and values of n tokens, queries and outputs of M latents, M n pairs, and the blocks."""
    D, M, wide = sizes.d_model, n_latents, sizes.n_heads * sizes.d
    read = head_projections(sizes, 2) + 2 * M * D * wide + M * sizes.n * 2 * wide
    return read + n_blocks * (4 * M * D * wide + M * M * 2 * wide)
