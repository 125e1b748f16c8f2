r"""What attention kernels cost: FLOPs, tiles, bytes, makespans and accuracies of nine published designs.

One multiply-add is 2 FLOPs. Counts are per batch item and head unless stated. N tokens, d key width, d_v value width,
T_Q x T_KV tiles. Each formula here is compared with a direct count in ``tests/theory/costs/test_dense_tiles.py``.

References: FlashAttention (arXiv 2205.14135, 2307.08691), Generalized Neighborhood Attention (arXiv 2504.16922),
Faster Neighborhood Attention (arXiv 2403.04690), Lightning Attention-2 (arXiv 2401.04658), Lean Attention (arXiv
2405.10480), Flash Window Attention (arXiv 2501.06480), Native Sparse Attention (arXiv 2502.11089), MoBA (arXiv
2502.13189) and its retrieval model (arXiv 2511.11571), SageAttention (arXiv 2410.02367).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import integrate, stats


def _positive(**sizes: float) -> None:
    for name, value in sizes.items():
        if not value > 0:
            raise ValueError(f"{name}={value!r} must be positive")


# --- dense tiled attention -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DenseFlops:
    """FLOPs of one dense head: forward, and backward with stored weights, recomputing, or as two kernels."""

    forward: int
    backward_stored: int
    backward_recomputing: int
    backward_two_kernels: int


def dense_flops(n_queries: int, n_keys: int, dim: int, value_dim: int) -> DenseFlops:
    r"""Products of dense attention: :math:`2 N_q N_k (d + d_v)` forward, 4 products backward, 1 or 3 recomputed."""
    _positive(n_queries=n_queries, n_keys=n_keys, dim=dim, value_dim=value_dim)
    pair = 2 * n_queries * n_keys
    stored = 2 * pair * (dim + value_dim)
    return DenseFlops(pair * (dim + value_dim), stored, stored + pair * dim, stored + pair * (2 * dim + value_dim))


def causal_pairs(n: int, window: int | None = None) -> int:
    r"""Visible pairs of causal attention: N(N+1)/2, or :math:`wN - w(w-1)/2` with a sliding window w <= N."""
    w = n if window is None else min(window, n)
    return w * n - w * (w - 1) // 2


def causal_tiles(n: int, query_tile: int, key_tile: int) -> int:
    r"""Tiles visited by causal attention: :math:`\sum_i \lfloor (\min((i+1)T_Q, N) - 1)/T_{KV} \rfloor + 1`."""
    _positive(n=n, query_tile=query_tile, key_tile=key_tile)
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


# --- neighbourhood attention: the tile simulator ---------------------------------------------------------------------


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


# --- linear attention with decay in blocks ---------------------------------------------------------------------------


def lightning_flops(n: int, dim: int, block: int) -> tuple[int, int]:
    """Forward 4 N d (B + d) and backward N d (12 B + 10 d) FLOPs of blockwise linear attention (d = d_v)."""
    _positive(n=n, dim=dim, block=block)
    return 4 * n * dim * (block + dim), n * dim * (12 * block + 10 * dim)


def lightning_speedup(n: int, dim: int, block: int) -> float:
    """FLOP bound over dense softmax attention, N/(B + d); below 1 for N < B + d."""
    return n / (block + dim)


# --- decode: how to share key tiles between processors ---------------------------------------------------------------


@dataclass(frozen=True)
class Makespan:
    """Time in tile units: one processor an output, a fixed number of splits, equal shares (Lean Attention)."""

    per_output: int
    fixed_split: int
    equal_share: int
    efficiency: float
    partials: int


def decode_makespan(n_outputs: int, tiles_per_output: int, processors: int, splits: int = 1) -> Makespan:
    r"""Makespans of decode attention; ``efficiency`` is that of equal shares, at least :math:`1 - (G-1)/W`.

    ``partials`` counts the partial outputs of equal shares (processor g begins at tile g W/G, the first W mod G of them
    take one tile more): an output is split wherever a share begins inside it.
    """
    _positive(n_outputs=n_outputs, tiles_per_output=tiles_per_output, processors=processors, splits=splits)
    work = n_outputs * tiles_per_output
    share, extra = divmod(work, processors)
    starts = [g * share + min(g, extra) for g in range(1, processors) if g * share + min(g, extra) < work]
    split = sum(1 for start in set(starts) if start % tiles_per_output)
    equal = -(-work // processors)
    return Makespan(
        -(-n_outputs // processors) * tiles_per_output,
        -(-n_outputs * splits // processors) * -(-tiles_per_output // splits),
        equal,
        work / (processors * equal),
        n_outputs + split,
    )


# --- many short windows ----------------------------------------------------------------------------------------------


def window_on_chip_bytes(n_window: int, chunk: int = 16, element: int = 4) -> tuple[int, int, float]:
    """On-chip bytes forward and backward with feature chunks, and the padding efficiency (Flash Window Attention)."""
    padded = 1 << max(0, math.ceil(math.log2(n_window)))
    return (
        4 * padded**2 + 2 * element * padded * chunk,
        8 * padded**2 + 3 * element * padded * chunk,
        (n_window / padded) ** 2,
    )


# --- sparse attention by blocks --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NativeSparse:
    """Sizes of native sparse attention: compression block and stride, selection block and count, window."""

    compression: int = 32
    stride: int = 16
    selection: int = 64
    n_selected: int = 16
    window: int = 512

    def tokens(self, cached: int) -> int:
        """Keys and values touched by a query with ``cached`` tokens before it, the exact count."""
        compressed = 0 if cached < self.compression else (cached - self.compression) // self.stride + 1
        return compressed + min(cached, self.n_selected * self.selection) + min(cached, self.window)

    def decode_speedup(self, cached: int) -> float:
        """Bandwidth bound over full attention, s/(s/stride + n l' + w), tending to the stride."""
        return cached / (cached / self.stride + self.n_selected * self.selection + self.window)

    def training_ratio(self, n: int) -> float:
        """Causal pairs over the pairs this pattern touches in a sequence of ``n``."""
        return causal_pairs(n) / sum(self.tokens(s) for s in range(1, n + 1))


def moba_pairs(n: int, block: int, top_k: int) -> int:
    """Visible pairs of block-routed attention: the own block causally, and k - 1 earlier blocks (MoBA)."""
    if n % block:
        raise ValueError(f"block={block} must divide n={n}")
    blocks = n // block
    return blocks * causal_pairs(block) + block * block * sum(min(top_k - 1, c) for c in range(blocks))


def moba_best_blocks(n: int, top_k: int) -> float:
    r"""Number of blocks that balances gate and attention FLOPs, :math:`\sqrt{2kN}`."""
    return math.sqrt(2 * top_k * n)


def retrieval_snr(excess: float, dim: int, block: int) -> float:
    r"""Signal over noise of a centroid score, :math:`\Delta\mu \sqrt{d/(2B)}`."""
    return excess * math.sqrt(dim / (2 * block))


def retrieval_probability(snr: float, n_blocks: int, top_k: int) -> float:
    r"""Probability that the signal block is among the k - 1 routed ones of ``n_blocks`` (the current one is given).

    .. math:: E_z\bigl[\mathrm{BinomCDF}(k-2;\; n-1,\; 1 - \Phi(\sqrt 2\,\mathrm{SNR} + z))\bigr], \quad z \sim N(0, 1).
    """
    if not 2 <= top_k <= n_blocks:
        raise ValueError(f"need 2 <= top_k <= n_blocks, got top_k={top_k}, n_blocks={n_blocks}")

    def integrand(z: float) -> float:
        ahead = stats.norm.sf(math.sqrt(2) * snr + z)
        return stats.norm.pdf(z) * stats.binom.cdf(top_k - 2, n_blocks - 1, ahead)

    return integrate.quad(integrand, -9, 9, epsabs=1e-10)[0]


# --- eight-bit attention ---------------------------------------------------------------------------------------------


def quantised_logit_variance(
    query_step: float, key_step: float, dim: int, *, scale: float, query_square: float = 1.0, key_square: float = 1.0
) -> float:
    r"""Variance of a logit's error: :math:`s^2 d (E[k^2]\delta_Q^2 + E[q^2]\delta_K^2)/12` (SageAttention)."""
    return scale**2 * dim * (key_square * query_step**2 + query_square * key_step**2) / 12


def mixed_precision_speedup(share_qk: float, share_pv: float, rate_qk: float, rate_pv: float) -> float:
    """Throughput bound 1/(a_QK/r_QK + a_PV/r_PV + a_rest) with time shares that sum to one."""
    rest = 1 - share_qk - share_pv
    if rest < -1e-12 or min(share_qk, share_pv) < 0:
        raise ValueError(f"shares {share_qk!r} and {share_pv!r} must be non-negative and sum to at most 1")
    return 1 / (share_qk / rate_qk + share_pv / rate_pv + rest)
