"""What masks and pools show: offsets in blocks with halos, far keys under strides, waves through a pooled branch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.fixed_patterns.halo import Halo
from attnlab.kernels.operators.fixed_patterns.hilo import HiLo, pooled, window_of
from attnlab.kernels.operators.fixed_patterns.lsg import LSG
from attnlab.kernels.operators.operator import QKV, Grid, Sizes
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class HaloSetting:
    """Blocks of ``block`` cells that see ``halo`` cells more on each side, on a line of ``n_layers`` blocks to each side."""

    block: int = 8
    halo: int = 3
    n_layers: int = 3
    n_replicas: int = 2

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "block", "halo", "n_layers", "n_replicas")


@simulation(name="fixed_patterns.halos", block=8)
def halos(setting: HaloSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``share`` (replica, offset): queries of the middle block that see the cell so far ahead, offsets 0 to block + halo.

    ``keys`` (replica,): keys per query over those of the block; ``left`` (replica, layer): farthest cell to the left of the
    middle block's first one that reaches it.
    """
    b, L = setting.block, setting.n_layers
    n = b * (2 * L + 3)
    first = (L + 1) * b
    rows: dict[str, list] = {name: [] for name in ("share", "keys", "left")}
    for stream in random_streams.generators(seeds, "data"):
        operator = Halo(b, setting.halo)
        own = operator.initialise(Sizes(n=n, d=1, d_v=1, shape=(1, n)), [stream], torch.float64)
        M = operator.matrix(Grid(torch.zeros(1, 1, n, 1, dtype=torch.float64), (1, n)), own)[0, 0, 0]
        seen = (M > 0).double()
        queries = torch.arange(first, first + b)
        rows["share"].append([seen[queries, queries + r].mean().item() for r in range(b + setting.halo + 1)])
        rows["keys"].append(seen[first].sum().item() / b)
        row, left = torch.zeros(n, dtype=torch.float64), []
        row[first] = 1
        for _ in range(L):
            row = row @ M
            left.append(first - int(row.nonzero().min()))
        rows["left"].append(left)
    return {name: np.array(values) for name, values in rows.items()}


@dataclass(frozen=True)
class StrideSetting:
    """Far keys under strides of each of the ``factors``, ``n_heads`` heads, blocks of ``block`` (a multiple of the factors)."""

    factors: tuple[int, ...] = (2, 4, 8)
    block: int = 8
    n_heads: int = 2
    n_replicas: int = 2

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "factors", "block", "n_heads", "n_replicas")
        if any(self.block % factor for factor in self.factors):
            raise ValueError(f"block={self.block!r} must be a multiple of every one of factors={self.factors!r}")


@simulation(name="fixed_patterns.strides", block=8)
def strides(setting: StrideSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``seen`` (replica, factor): share of the thinned far keys that some head sees; ``keys``: of a query in the last head.

    The far part of a query is what factor times a block beyond its three local blocks holds, one side.
    """
    b, H = setting.block, setting.n_heads
    rows: dict[str, list] = {name: [] for name in ("seen", "keys")}
    for stream in random_streams.generators(seeds, "data"):
        seen, keys = [], []
        for factor in setting.factors:
            n = b * (2 * factor + 7)
            at = (factor + 3) * b  # a query with whole far parts to both sides
            q, k = (torch.randn(1, 1, H, n, 2, generator=stream, dtype=torch.float64) for _ in range(2))
            M = LSG(b, factor, "stride").matrix(QKV(q, k, k), {})[0, 0]
            shown = M[:, at] > 0
            far = shown[:, at + 2 * b : at + (2 + factor) * b]
            seen.append(far.any(0).double().mean().item())
            keys.append(int(shown[-1].sum()))
        rows["seen"].append(seen)
        rows["keys"].append(keys)
    return {name: np.array(values) for name, values in rows.items()}


@dataclass(frozen=True)
class WaveSetting:
    """Plane waves of the ``frequencies`` (radians per cell) through the pooled branch with windows of ``window`` cells."""

    frequencies: tuple[float, ...] = (0.3, 1.0, 2.0, 3.0)
    window: int = 2
    n_replicas: int = 2

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "frequencies", "window", "n_replicas")


@simulation(name="fixed_patterns.waves", block=8)
def waves(setting: WaveSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``gain`` (replica, frequency) of the pooled values of waves along a line of 24 windows.

    ``nyquist`` (replica, 2): largest change of the output by a wave of alternating sign in the values, over the largest output;
    low branch alone, then high branch alone.
    """
    s = setting.window
    n = 24 * s
    window, at = window_of((1, n), s), torch.arange(n, dtype=torch.float64)
    gains, blind = [], []
    for stream in random_streams.generators(seeds, "data"):
        row = []
        for frequency in setting.frequencies:
            cosine, sine = (pooled(f(frequency * at)[:, None], window)[:, 0] for f in (torch.cos, torch.sin))
            row.append((cosine**2 + sine**2).mean().sqrt().item())
        gains.append(row)
        x = torch.randn(1, 1, n, 8, generator=stream, dtype=torch.float64)
        alternating = torch.cos(torch.pi * at)[:, None] * torch.randn(8, generator=stream, dtype=torch.float64)
        pair = []
        for low_share in (1.0, 0.0):
            operator = HiLo(s, low_share)
            own = operator.initialise(Sizes(n=n, d=4, d_v=4, n_heads=2, shape=(1, n)), [stream], torch.float64)
            M = operator.matrix(Grid(x, (1, n)), own)
            still, moved = (M @ operator.values(Grid(y, (1, n)), own) for y in (x, x + alternating))
            pair.append(((moved - still).abs().max() / still.abs().max()).item())
        blind.append(pair)
    return {"gain": np.array(gains), "nyquist": np.array(blind)}


@dataclass(frozen=True)
class DecaySetting:
    """One query on ``n_keys`` keys whose weights fall as (1 + distance)^-decay; windows of the ``windows``."""

    windows: tuple[int, ...] = (8, 64, 256)
    n_keys: int = 1024
    decay: float = 0.8
    n_replicas: int = 2

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "windows", "n_keys", "n_replicas")


@simulation(name="fixed_patterns.decays", block=8)
def decays(setting: DecaySetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``mass`` (replica, window): weight that softmax with a bias of -decay ln(1 + distance) gives the nearest keys."""
    distance = torch.arange(setting.n_keys - 1, -1, -1, dtype=torch.float64)
    zero = torch.zeros(1, 1, dtype=torch.float64)
    eye = torch.eye(setting.n_keys, dtype=torch.float64)
    bias = -setting.decay * (1 + distance).log()[None]
    p = attention(zero, zero.expand(setting.n_keys, 1), eye, bias=bias)[0]
    return {"mass": np.tile([p[-w:].sum().item() for w in setting.windows], (len(seeds), 1))}
