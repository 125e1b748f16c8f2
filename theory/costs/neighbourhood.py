"""Neighbourhood attention on a grid: which key tiles a query tile visits, and what that bounds the speed-up by.

Every count factorises over the axes of the grid, so one axis is simulated at a time. Each formula is compared with a direct
count on the explicit mask in ``tests/theory/costs/test_neighbourhood.py``.

References: Generalized Neighborhood Attention (arXiv 2504.16922), Faster Neighborhood Attention (arXiv 2403.04690).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


def neighbourhood_axis(length: int, window: int, stride: int = 1, causal: bool = False) -> np.ndarray:
    """First and last key (token, 2) that each token of one axis sees (GNA, section 3).

    The tokens of a group of ``stride`` share their leader's window, which is pushed inside the axis; causal windows end
    at the token and begin ``window`` - 1 before the group's last member.
    """
    if not 1 <= stride <= window <= length:
        raise ValueError(f"need 1 <= stride <= window <= length, got {stride}, {window}, {length}")
    i = np.arange(length)
    if causal:
        leader = np.minimum(i // stride * stride + stride - 1, length - 1)
        return np.stack([np.maximum(leader - window + 1, 0), i], -1)
    leader = np.minimum(i // stride * stride + stride // 2, length - 1)
    start = np.clip(leader - window // 2, 0, length - window)
    return np.stack([start, start + window - 1], -1)


def neighbourhood_tiles(
    length: int, window: int, stride: int, query_tile: int, key_tile: int, dynamic: bool = True
) -> np.ndarray:
    """Key tiles that each query tile of one axis visits; ``dynamic`` tiling starts at the tile's first key."""
    seen = neighbourhood_axis(length, window, stride)
    starts = np.arange(0, length, query_tile)
    low = np.array([seen[s : s + query_tile, 0].min() for s in starts])
    high = np.array([seen[s : s + query_tile, 1].max() for s in starts])
    return -(-(high - low + 1) // key_tile) if dynamic else high // key_tile - low // key_tile + 1


@dataclass(frozen=True)
class NeighbourhoodSpeedup:
    """Bounds over dense attention with the same tiles: worst tile (the paper's), mean tile, FLOPs."""

    worst_tile: float
    mean_tile: float
    flops: float


def neighbourhood_speedup(
    shape: tuple[int, ...],
    window: tuple[int, ...],
    stride: tuple[int, ...],
    query_tile: tuple[int, ...],
    key_tile: tuple[int, ...],
    dynamic: bool = True,
) -> NeighbourhoodSpeedup:
    """Speed-up bounds of neighbourhood attention on a grid; counts factorise over axes (GNA, section 4).

    The paper's tables are for static key tiles (``dynamic=False``).
    """
    worst = mean = dense = pairs = 1.0
    for length, w, s, t_q, t_k in zip(shape, window, stride, query_tile, key_tile, strict=True):
        tiles = neighbourhood_tiles(length, w, s, t_q, t_k, dynamic)
        worst, mean = worst * int(tiles.max()), mean * float(tiles.mean())
        dense, pairs = dense * -(-length // t_k), pairs * length / w
    return NeighbourhoodSpeedup(dense / worst, dense / mean, pairs)


def is_fully_block_sparse(
    length: int, window: int, stride: int, query_tile: int, key_tile: int, dynamic: bool = True
) -> bool:
    """Whether no tile of this axis needs an element mask."""
    if stride % query_tile or window % key_tile:
        return False
    return dynamic or not (neighbourhood_axis(length, window, stride)[:, 0] % key_tile).any()


def halo_efficiency(query_tile: tuple[int, ...], window: tuple[int, ...]) -> float:
    r"""Useful share of a query tile's dense product over its halo: :math:`\prod w/(T + w - 1)` (Faster NA)."""
    return math.prod(w / (t + w - 1) for t, w in zip(query_tile, window, strict=True))
