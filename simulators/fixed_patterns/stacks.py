"""Stacks of patterns with uniform weights: where influence lies, and what a window passes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.operators.fixed_patterns.dilated_neighbourhood import DilatedNeighbourhood
from attnlab.kernels.operators.fixed_patterns.multi_scale_windows import SCALES, MultiScaleWindows
from attnlab.kernels.operators.fixed_patterns.window_recurrence import WindowRecurrence
from attnlab.kernels.operators.operator import QKV, Grid, Sizes, Tokens
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class CombSetting:
    """A stack of dilated neighbourhoods of ``size`` cells on a line, one step per layer (``dilations``), all scores equal."""

    size: int = 7
    dilations: tuple[int, ...] = (1, 1, 1, 1)
    n_replicas: int = 2

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "size", "dilations", "n_replicas")


@simulation(name="fixed_patterns.combs", block=8)
def combs(setting: CombSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``influence`` (replica, offset): Jacobian of the middle cell's output, offsets -R to R, R the stack's reach; ``std``.

    The operators' own maps on tokens of zeros, multiplied through the layers; the line is long enough that no border is met.
    """
    half = setting.size // 2 * sum(setting.dilations)
    n = max(4 * half + 1, setting.size * max(setting.dilations))
    middle, at = n // 2, torch.arange(-half, half + 1, dtype=torch.float64)
    rows, stds = [], []
    for stream in random_streams.generators(seeds, "data"):
        row = torch.zeros(1, n, dtype=torch.float64)
        row[0, middle] = 1
        for step in setting.dilations:
            operator = DilatedNeighbourhood(setting.size, step)
            own = operator.initialise(Sizes(n=n, d=1, d_v=1, shape=(1, n)), [stream], torch.float64)
            row = row @ operator.matrix(Grid(torch.zeros(1, 1, n, 1, dtype=torch.float64), (1, n)), own)[0, 0, 0]
        seen = row[0, middle - half : middle + half + 1]
        rows.append(seen.numpy())
        stds.append(((seen * at**2).sum() - (seen * at).sum() ** 2).sqrt().item())
    return {"influence": np.array(rows), "std": np.array(stds)}


@dataclass(frozen=True)
class ScaleSetting:
    """``n_layers`` (a multiple of 4) of multi-scale windows with base ``window``, four heads whose outputs count equally."""

    window: int = 16
    n_layers: int = 4
    n_replicas: int = 2

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_replicas")
        require_at_least(self, 4, "window", "n_layers")
        if self.n_layers % 4:
            raise ValueError(f"n_layers={self.n_layers!r} must be a multiple of 4: layers form four groups")


@simulation(name="fixed_patterns.scales", block=8)
def scales(setting: ScaleSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``mean`` and ``std`` (replica,) of the distance of influence on the last token, ``reach`` of it, ``mean_window``.

    ``profile`` (replica, distance). Equal scores, causal; the sequence is longer than the reach.
    """
    w, layers = setting.window, setting.n_layers
    n = 2 * w * layers
    found: dict[str, list] = {name: [] for name in ("mean", "std", "reach", "mean_window", "profile")}
    zero = torch.zeros(1, 1, 4, n, 1, dtype=torch.float64)
    for _ in seeds:
        row, seen = torch.zeros(1, n, dtype=torch.float64), []
        row[0, -1] = 1
        for depth in (SCALES[4 * layer // layers] for layer in range(layers)):
            M = MultiScaleWindows(w, depth).matrix(QKV(zero, zero, zero), {}, causal=True)[0, 0]  # (head, query, key)
            seen.append((M[:, -1] > 0).sum(-1).double().mean().item())
            row = row @ M.mean(0)
        p = row[0].flip(0)
        at = torch.arange(n, dtype=torch.float64)
        mean = (p @ at).item()
        found["mean"].append(mean)
        found["std"].append((p @ (at - mean) ** 2).sqrt().item())
        found["reach"].append(int(p.nonzero().max()))
        found["mean_window"].append(np.mean(seen))
        found["profile"].append(p.numpy())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class CellSetting:
    """A recurrent attention network of width ``width`` (even), windows of ``window`` tokens, with or without ``review``."""

    width: int = 6
    window: int = 8
    review: bool = True
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_replicas")
        require_at_least(self, 4, "width", "window")
        if self.width % 2:
            raise ValueError(f"width={self.width!r} must be even: two heads")


@simulation(name="fixed_patterns.cells", block=8)
def cells(setting: CellSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Ranks of Jacobians of the second of two windows: ``across`` (replica,) by the first, ``own`` by itself.

    ``gap`` (replica,): the largest singular value that is counted as zero over the smallest that is not, across.
    """
    D, W = setting.width, setting.window
    operator = WindowRecurrence(W, setting.review)
    found: dict[str, list] = {name: [] for name in ("across", "own", "gap")}
    for stream in random_streams.generators(seeds, "data"):
        own = operator.initialise(Sizes(n=2 * W, d=D // 2, d_v=D // 2, n_heads=2), [stream], torch.float64)
        x = torch.randn(1, 1, 2 * W, D, generator=stream, dtype=torch.float64)

        def later(tokens: torch.Tensor, own: dict = own) -> torch.Tensor:
            return operator.apply(Tokens(tokens), own)[0, 0, W:]

        J = torch.autograd.functional.jacobian(later, x).reshape(W * D, 2, W * D)
        ranks = []
        for name, part in (("across", J[:, 0]), ("own", J[:, 1])):
            values = torch.linalg.svdvals(part)
            ranks.append(int((values > 1e-9 * values[0]).sum()))
            found[name].append(ranks[-1])
            if name == "across":
                found["gap"].append((values[ranks[-1]] / values[ranks[-1] - 1]).item())
    return {name: np.array(values) for name, values in found.items()}
