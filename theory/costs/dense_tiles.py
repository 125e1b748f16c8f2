r"""Dense attention in tiles: FLOPs, visited tiles, bytes, and bounds on the time.

One multiply-add is 2 FLOPs. Counts are per batch item and head unless stated. N tokens, d key width, d_v value width,
T_Q x T_KV tiles. Each formula here is compared with a direct count in ``tests/theory/costs/test_dense_tiles.py``.

Reference: FlashAttention (arXiv 2205.14135, 2307.08691).
"""

from __future__ import annotations

from dataclasses import dataclass

from attnlab.theory.checks import check_positive


@dataclass(frozen=True)
class DenseFlops:
    """FLOPs of one dense head: forward, and backward with stored weights, recomputing, or as two kernels."""

    forward: int
    backward_stored: int
    backward_recomputing: int
    backward_two_kernels: int


def dense_flops(n_queries: int, n_keys: int, dim: int, value_dim: int) -> DenseFlops:
    r"""Products of dense attention: :math:`2 N_q N_k (d + d_v)` forward, 4 products backward, 1 or 3 recomputed."""
    check_positive(n_queries=n_queries, n_keys=n_keys, dim=dim, value_dim=value_dim)
    pair = 2 * n_queries * n_keys
    stored = 2 * pair * (dim + value_dim)
    return DenseFlops(pair * (dim + value_dim), stored, stored + pair * dim, stored + pair * (2 * dim + value_dim))


def causal_pairs(n: int, window: int | None = None) -> int:
    r"""Visible pairs of causal attention: N(N+1)/2, or :math:`wN - w(w-1)/2` with a sliding window w <= N."""
    w = n if window is None else min(window, n)
    return w * n - w * (w - 1) // 2


def causal_tiles(n: int, query_tile: int, key_tile: int) -> int:
    r"""Tiles visited by causal attention: :math:`\sum_i \lfloor (\min((i+1)T_Q, N) - 1)/T_{KV} \rfloor + 1`."""
    check_positive(n=n, query_tile=query_tile, key_tile=key_tile)
    return sum((min(end, n) - 1) // key_tile + 1 for end in range(query_tile, n + query_tile, query_tile))


def causal_tile_efficiency(n: int, query_tile: int, key_tile: int) -> float:
    """Useful pairs over computed pairs; small problems waste most of a tile (N = 40 with 16 x 16 tiles: 0.534)."""
    return causal_pairs(n) / (causal_tiles(n, query_tile, key_tile) * query_tile * key_tile)


def flash_bytes(n: int, dim: int, value_dim: int, visited_tiles: int, key_tile: int, element: int = 4) -> int:
    """Bytes of a forward pass that reads K and V again for every query tile: Q in, O out, log-sum-exp, K/V tiles."""
    return element * n * (dim + value_dim) + 4 * n + visited_tiles * element * key_tile * (dim + value_dim)


def unfused_bytes(n: int, dim: int, value_dim: int, element: int = 4) -> int:
    """Bytes of the unfused forward pass: the four tensors, and scores and weights each written and read."""
    return element * 2 * n * (dim + value_dim) + 4 * element * n * n


def roofline_seconds(
    flops: float, bytes_moved: float, exps: float, *, peak_flops: float, bandwidth: float, exp_rate: float
) -> float:
    """Lower bound on the time: the slowest of arithmetic, memory and exponentials."""
    return max(flops / peak_flops, bytes_moved / bandwidth, exps / exp_rate)


def amdahl(share: float, speedup: float, replaced: float = 1.0) -> float:
    """End-to-end gain 1/(1 - f k + f k/S): share f of the time, of which a part k runs S times faster."""
    return 1 / (1 - share * replaced + share * replaced / speedup)
