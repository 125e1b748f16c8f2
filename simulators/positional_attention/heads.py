"""Gated positional heads as they start: weights of queries, distance from a convolution, and the gradient of the gate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels.operators.operator import Grid, Parameters, Sizes
from attnlab.kernels.operators.positional_attention.gated_positions import GatedPositions, centres
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class HeadsSetting:
    """A layer of ``n_heads`` purely positional heads on a ``side`` x ``side`` grid, for every one of ``localities``."""

    side: int = 31
    n_heads: int = 9
    localities: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    n_replicas: int = 2

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 3, "side")
        require_positive(self, "n_heads", "localities", "n_replicas")
        if self.side % 2 == 0:
            raise ValueError(f"side={self.side} has no middle cell; use an odd one")


@simulation(name="positional_attention.heads", block=2)
def heads(setting: HeadsSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """What the middle cell sees, ``(replica, locality)``, and what a corner and an edge see.

    ``centre``: largest weight of the first head; ``nearest``: the next among them; ``distance``, ``entropy``: of the head in the
    middle of the kernel; ``error``, ``edge_error``, ``corner_error``: root mean square over the kernel's slices of the
    distance from the convolution of the image padded with zeros, for a random kernel with orthonormal slices, one channel in
    and 16 out. ``seen (replica, locality, row, column)``: weights of the first head on 11 x 11 cells around the middle.
    """
    side, middle = setting.side, setting.side // 2
    names = ("centre", "nearest", "distance", "entropy", "error", "edge_error", "corner_error")
    found: dict[str, list] = {name: [] for name in names}
    seen, near = [], slice(max(0, middle - 5), middle + 6)
    for stream in random_streams.generators(seeds, "data"):
        kernel = torch.linalg.qr(torch.randn(16, setting.n_heads, generator=stream, dtype=torch.float64))[0].T
        for locality in setting.localities:
            maps = positional_maps(locality, setting.n_heads, side)
            row = maps[:, middle * side + middle]  # (head, key)
            away = offsets(side)[middle * side + middle]
            seen.append(row[0].view(side, side)[near, near].numpy())
            at_home = row[setting.n_heads // 2]
            found["centre"].append(row[0].max())
            found["nearest"].append(row[0][row[0] < row[0].max() * (1 - 1e-9)].max())
            found["distance"].append((at_home * away.norm(dim=-1)).sum())
            found["entropy"].append(torch.special.entr(at_home).sum())
            for name, query in (("error", (middle, middle)), ("edge_error", (0, middle)), ("corner_error", (0, 0))):
                found[name].append(_error(maps, kernel, query, side))
    told = {name: np.reshape([float(x) for x in values], (len(seeds), -1)) for name, values in found.items()}
    return told | {"seen": np.reshape(seen, (len(seeds), len(setting.localities), *seen[0].shape))}


def _error(maps: Tensor, kernel: Tensor, query: tuple[int, int], side: int) -> Tensor:
    """Relative Frobenius distance of the layer at a query, a matrix (key, channel), from the convolution with this kernel."""
    layer = maps[:, query[0] * side + query[1]].T @ kernel
    convolution = torch.zeros_like(layer)
    for (row, column), taps in zip(centres(len(kernel)), kernel, strict=True):
        at = int(query[0] + row), int(query[1] + column)
        if 0 <= at[0] < side and 0 <= at[1] < side:
            convolution[at[0] * side + at[1]] += taps
    return (layer - convolution).norm() / kernel.norm()


def positional_maps(locality: float, n_heads: int, side: int) -> Tensor:
    """The positional maps ``(head, query, key)`` of the operator at its start, float64."""
    made = GatedPositions(locality).initialise(Sizes(side**2, 1, 1, n_heads), [torch.Generator()], torch.float64)
    return GatedPositions(locality).positional((side, side), made["position"])[0]


def offsets(side: int) -> Tensor:
    """Offsets from query to key ``(query, key, 2)`` of a square grid, row-major."""
    at = torch.arange(side * side)
    cells = torch.stack([at // side, at % side], -1).double()
    return cells[None] - cells[:, None]


@dataclass(frozen=True)
class UniformSetting:
    """Uniform attention on square grids of ``sides``."""

    sides: tuple[int, ...] = (3, 5, 11, 21)
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "sides", "n_replicas")


@simulation(name="positional_attention.uniform", block=1)
def uniform(setting: UniformSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``distance (replica, side)``: mean distance over queries of maps whose position scores are all zero."""
    found = []
    for side in setting.sides:
        maps = GatedPositions().positional((side, side), torch.zeros(1, 1, 3, dtype=torch.float64))[0, 0]
        found.append((maps * offsets(side).norm(dim=-1)).sum(1).mean().item())
    return {"distance": np.tile(found, (len(seeds), 1))}


@dataclass(frozen=True)
class LayerSetting:
    """Random gated layers: ``n_heads`` heads of width ``head_dim`` on a ``side`` x ``side`` grid, gates of size ``gate_std``."""

    side: int = 5
    n_heads: int = 4
    head_dim: int = 3
    gate_std: float = 3.0
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "side", "n_heads", "head_dim", "gate_std", "n_replicas")


@simulation(name="positional_attention.layers", block=8)
def layers(setting: LayerSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Of random layers and images: ``row_sum (replica, head, query)``; ``gate_gradient (replica, head)`` of a random linear
    loss of the
    maps by autograd; and what it is made of: ``gate (replica, head)``, ``map_gradient``, ``positional``, ``content``
    (replica, head,
    query, key)."""
    found: dict[str, list] = {
        name: [] for name in ("row_sum", "gate_gradient", "gate", "map_gradient", "positional", "content")
    }
    op, n = GatedPositions(), setting.side**2
    sizes = Sizes(n, setting.head_dim, setting.head_dim, setting.n_heads)
    for stream in random_streams.generators(seeds, "data"):
        own = op.initialise(sizes, [stream], torch.float64)
        own["gate"] = setting.gate_std * torch.randn(own["gate"].shape, generator=stream, dtype=torch.float64)
        x = torch.randn(1, 1, n, sizes.d_model, generator=stream, dtype=torch.float64)
        inputs = Grid(x, (setting.side, setting.side))
        G = torch.randn(setting.n_heads, n, n, generator=stream, dtype=torch.float64)
        gate = own["gate"].clone().requires_grad_()
        maps = _maps(op, inputs, own | {"gate": gate})
        (gradient,) = torch.autograd.grad((maps * G).sum(), gate)
        found["row_sum"].append(maps.detach().sum(-1))
        found["gate_gradient"].append(gradient[0])
        found["gate"].append(own["gate"][0])
        found["map_gradient"].append(G)
        found["positional"].append(op.positional(inputs.shape, own["position"])[0])
        found["content"].append(_maps(op, inputs, own | {"gate": torch.full_like(own["gate"], -math.inf)}))
    return {name: torch.stack(values).numpy() for name, values in found.items()}


def _maps(op: GatedPositions, inputs: Grid, own: Parameters) -> Tensor:
    return op.matrix(inputs, own)[0, 0]
