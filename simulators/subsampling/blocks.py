"""Attention inside random equal blocks of tokens: what layers of it connect, their paths, and products counted by torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class BlockSetting:
    """``n_tokens`` in ``n_blocks`` random equal blocks, anew in each of ``n_layers`` layers (at least 2); ``n_draws`` of a
    replica."""

    n_tokens: int = 256
    n_blocks: int = 8
    n_layers: int = 3
    n_draws: int = 20
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_blocks", "n_draws", "n_replicas")
        require_at_least(self, 2, "n_tokens", "n_layers")
        if self.n_tokens % self.n_blocks:
            raise ValueError(f"n_blocks={self.n_blocks!r} must divide n_tokens={self.n_tokens!r}")


@dataclass(frozen=True)
class CostSetting:
    """``cells``: (tokens, width of keys, width of values, blocks)."""

    cells: tuple[tuple[int, int, int, int], ...] = ((64, 8, 8, 1), (64, 8, 8, 4), (128, 8, 4, 8), (256, 16, 8, 8))
    n_replicas: int = 2

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_replicas")


@simulation(name="subsampling_blocks.reach", block=8, reads=("n_tokens", "n_blocks", "n_layers", "n_draws"))
def reach(setting: BlockSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Means over draws: ``reach (replica, layer)``, the share of pairs connected by so many layers; ``same``: by two layers with
    one permutation; ``paths``: paths through all layers per pair; ``closed``: from a token to itself; ``shared``: share of pairs
    of different tokens in one block of the first layer."""
    n, w = setting.n_tokens, setting.n_tokens // setting.n_blocks
    found: dict[str, list] = {name: [] for name in ("reach", "same", "paths", "closed", "shared")}
    for seed in seeds:
        rng, rows = np.random.default_rng(seed), []
        for _ in range(setting.n_draws):
            layers = []
            for _ in range(setting.n_layers):
                block = rng.permutation(n) // w
                layers.append((block[:, None] == block).astype(np.float64))
            path, reached = np.eye(n), []
            for layer in layers:
                path = layer @ path
                reached.append((path > 0).mean())
            same = (layers[0] @ layers[0] > 0).mean()
            rows.append([*reached, same, path.mean(), np.trace(path) / n, (layers[0].sum() - n) / (n * (n - 1))])
        mean = np.mean(rows, 0)
        found["reach"].append(mean[: setting.n_layers])
        for name, value in zip(("same", "paths", "closed", "shared"), mean[setting.n_layers :], strict=True):
            found[name].append(value)
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="subsampling_blocks.counts", block=2, reads=("cells",))
def counts(setting: CostSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``multiply_adds (replica, cell)`` of products, counted by torch; ``difference``: largest from softmax masked to the same
    blocks."""
    from torch.utils.flop_counter import FlopCounterMode  # imports Triton

    found: dict[str, list] = {"multiply_adds": [], "difference": []}
    for seed in seeds:
        rng, each = np.random.default_rng(seed), []
        for n, d, width, blocks in setting.cells:
            q, k, v = (torch.from_numpy(rng.standard_normal((n, size))) for size in (d, d, width))
            order = torch.from_numpy(rng.permutation(n))
            with FlopCounterMode(display=False) as counter:
                y = in_blocks(q, k, v, order, blocks)
            block = order.argsort() // (n // blocks)
            dense = (q @ k.mT / d**0.5).masked_fill(block[:, None] != block, -torch.inf).softmax(-1) @ v
            each.append((counter.get_total_flops() // 2, float((y - dense).abs().max())))
        for name, values in zip(found, zip(*each, strict=True), strict=True):
            found[name].append(values)
    return {name: np.array(values) for name, values in found.items()}


def in_blocks(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, order: torch.Tensor, n_blocks: int) -> torch.Tensor:
    """Softmax attention inside equal blocks of the tokens (n, width) taken in ``order``, back in their places."""
    q, k, v = (x[order].unflatten(0, (n_blocks, -1)) for x in (q, k, v))
    y = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
    return y.flatten(0, 1)[order.argsort()]
