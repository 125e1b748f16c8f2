"""Linear attention with decay, computed in blocks of B tokens: FLOPs per head, one multiply-add being 2.

Reference: Lightning Attention-2 (arXiv 2401.04658).
"""

from __future__ import annotations

from attnlab.theory.checks import check_positive


def lightning_flops(n: int, dim: int, block: int) -> tuple[int, int]:
    """Forward 4 N d (B + d) and backward N d (12 B + 10 d) FLOPs of blockwise linear attention (d = d_v)."""
    check_positive(n=n, dim=dim, block=block)
    return 4 * n * dim * (block + dim), n * dim * (12 * block + 10 * dim)


def lightning_speedup(n: int, dim: int, block: int) -> float:
    """FLOP bound over dense softmax attention, N/(B + d); below 1 for N < B + d."""
    return n / (block + dim)
