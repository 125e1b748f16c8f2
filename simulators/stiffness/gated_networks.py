r"""Residual networks on spirals, plain and with channel gates, and how much each of their blocks changes the feature.

Huang, Liang, Qin, Zhong and Lin 2023 (arXiv 2308.09939). A block adds ``a * f(x)`` to the feature x, with a = 1 or a gate
in (0, 1) for each channel; its stiffness index at an input is ||a f(x)|| / ||x||, its raw index ||f(x)|| / ||x||.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import Adam
from attnlab.simulators.ensemble.plan import Plan
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train

GATES = ("none", "f", "f and x")
"""What the gate sees: there is none; the block's output (squeeze and excitation); output and feature (step-like)."""


@dataclass(frozen=True)
class SpiralSetting:
    """Task, network and training. All kinds of gates of :data:`GATES` are trained on the same data from the same weights.

    ``turns`` of each of the three arms; ``angle_noise``: standard deviation of the angle, in radians. ``reduction``: the
    gate's bottleneck has ``width / reduction`` channels. ``n_shown``: test inputs whose own profiles are kept.
    """

    turns: float = 3.5
    angle_noise: float = 0.1
    n_train: int = 2_000
    n_test: int = 2_000
    width: int = 16
    hidden: int = 32
    n_blocks: int = 10
    reduction: int = 4
    batch: int = 128
    learning_rate: float = 3e-3
    n_steps: int = 1_200
    n_shown: int = 40
    n_replicas: int = 40

    def __post_init__(self) -> None:
        checked(self)
        require_positive(
            self,
            "turns",
            "n_train",
            "n_test",
            "width",
            "hidden",
            "n_blocks",
            "reduction",
            "batch",
            "learning_rate",
            "n_steps",
            "n_shown",
            "n_replicas",
        )
        require_at_least(self, 0, "angle_noise")
        if self.reduction > self.width:
            raise ValueError(
                f"reduction={self.reduction!r} leaves no channel of width={self.width!r}; use a smaller one"
            )
        if self.n_shown > self.n_test:
            raise ValueError(f"n_shown={self.n_shown!r} exceeds n_test={self.n_test!r}; show at most the test inputs")


@simulation(name="stiffness_networks.train_gated", block=16, devices=("cpu", "cuda"))
def train_gated(setting: SpiralSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Train each kind of gate; the axis ``gate`` is in the order of :data:`GATES`.

    ``index``, ``raw_index``, ``gate (replica, gate, block)``: test means of the trained networks, over inputs and channels
    for the gate (1 where there is none); ``index_before``: the first before training; ``index_low``, ``index_high``: least
    and largest input. ``index_shown (replica, gate, input, block)``. ``accuracy (replica, gate)`` on test data, ``loss``
    the last hundredth's mean. ``diverged_at (replica,)``: the first step at which one of the networks diverged.
    """
    data, test = (
        spirals(setting, n, generators(seeds, name))
        for n, name in ((setting.n_train, "train"), (setting.n_test, "test"))
    )
    task = SpiralTask(*(part.to(device) for part in data), setting.batch)
    columns: dict[str, list[np.ndarray]] = {}
    diverged = []
    for gate in GATES:
        model = GatedNetwork(setting.width, setting.hidden, setting.n_blocks, setting.reduction, gate)
        before = measure(
            model, model.initialise(generators(seeds, "parameters"), torch.float32), *test, setting.n_shown
        )
        tail = setting.n_steps - max(setting.n_steps // 100, 1)
        run = train(
            model,
            task,
            Adam(setting.learning_rate),
            seeds,
            Plan(setting.n_steps, loss_steps=tuple(sorted({tail, setting.n_steps})), device=device, label=gate),
        )
        after = measure(model, {name: value.cpu() for name, value in run.parameters.items()}, *test, setting.n_shown)
        for name, value in (
            after | {"index_before": before["index"], "loss": torch.from_numpy(run.loss[:, -1])}
        ).items():
            columns.setdefault(name, []).append(value.numpy())
        diverged.append(run.diverged_at)
    steps = np.stack(diverged, axis=1)
    first = np.where((steps >= 0).any(1), np.where(steps < 0, setting.n_steps, steps).min(1), -1)
    return {name: np.stack(values, axis=1) for name, values in columns.items()} | {"diverged_at": first}


def spirals(setting: Any, n: int, streams: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
    """Points ``(replica, n, 2)`` on three arms, and the arms ``(replica, n)``.

    Radius sqrt(U(0.02, 1)), angle 2 pi (turns * radius + arm / 3) plus noise.
    """
    points, arms = [], []
    for stream in streams:
        uniform, noise = torch.rand(2, n, generator=stream), torch.randn(n, generator=stream)
        radius, arm = (0.02 + 0.98 * uniform[0]).sqrt(), (3 * uniform[1]).long()
        angle = 2 * math.pi * (setting.turns * radius + arm / 3) + setting.angle_noise * noise
        points.append(torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1))
        arms.append(arm)
    return torch.stack(points), torch.stack(arms)


@dataclass(frozen=True)
class SpiralTask:
    """Cross-entropy on batches drawn with replacement from each replica's own training points."""

    points: Tensor  # (replica, n, 2)
    arms: Tensor  # (replica, n)
    batch: int

    @property
    def numbers_per_step(self) -> int:
        return self.batch

    def part(self, rows: slice) -> SpiralTask:
        return replace(self, points=self.points[rows], arms=self.arms[rows])

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        numbers.uniform_(generator=stream)

    def loss(self, model: GatedNetwork, parameters: Parameters, numbers: Tensor) -> Tensor:
        n = self.points.shape[1]
        chosen = (numbers * n).long().clamp_(max=n - 1)  # (replica, batch)
        scores = model(parameters, self.points.take_along_dim(chosen[..., None], 1))
        losses = torch.nn.functional.cross_entropy(
            scores.flatten(0, 1), self.arms.take_along_dim(chosen, 1).flatten(), reduction="none"
        )
        return losses.view(chosen.shape).mean(1)

    def largest_array(self, model: GatedNetwork) -> int:
        return self.batch * model.hidden


@dataclass(frozen=True)
class GatedNetwork:
    r"""Linear map, ``n_blocks`` blocks :math:`x + a \odot W_2 \mathrm{relu}(W_1 x + b_1) + b_2`, linear map to three scores.

    Gate: :math:`a = \sigma(V_2 \mathrm{relu}(V_1 z + c_1) + c_2)`, z = f(x) or (f(x), x). Weights and biases start uniform in
    :math:`\pm 1/\sqrt{\text{fan-in}}`; a network with gates shares the other initial weights with one without.
    """

    width: int
    hidden: int
    n_blocks: int
    reduction: int = 4
    gate: str = "none"

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        w, T, small = self.width, self.n_blocks, max(self.width // self.reduction, 1)
        layers = {"enter": (1, 2, w), "first": (T, w, self.hidden), "second": (T, self.hidden, w), "leave": (1, w, 3)}
        if self.gate != "none":
            layers |= {"squeeze": (T, w if self.gate == "f" else 2 * w, small), "excite": (T, small, w)}
        parameters = {}
        for name, (blocks, n_in, n_out) in layers.items():
            drawn = torch.stack(
                [
                    (2 * torch.rand(blocks, n_in + 1, n_out, generator=stream, dtype=dtype) - 1) / n_in**0.5
                    for stream in streams
                ]
            )
            parameters[name], parameters[f"{name}_bias"] = drawn[:, :, :-1], drawn[:, :, -1:]
        return parameters

    def __call__(self, parameters: Parameters, points: Tensor) -> Tensor:
        """Scores ``(replica, batch, 3)`` of points ``(replica, batch, 2)``."""
        x = _linear(parameters, "enter", 0, points)
        for block in range(self.n_blocks):
            f, a = self.block(parameters, block, x)
            x = x + (f if a is None else a * f)
        return _linear(parameters, "leave", 0, x)

    def block(self, parameters: Parameters, block: int, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The residual branch f(x) and the gate a, ``(replica, batch, width)``; no gate is None."""
        f = _linear(parameters, "second", block, _linear(parameters, "first", block, x).relu())
        if self.gate == "none":
            return f, None
        seen = f if self.gate == "f" else torch.cat([f, x], dim=-1)
        return f, _linear(parameters, "excite", block, _linear(parameters, "squeeze", block, seen).relu()).sigmoid()


@torch.no_grad()
def measure(
    model: GatedNetwork, parameters: Parameters, points: Tensor, arms: Tensor, n_shown: int
) -> dict[str, Tensor]:
    """Indices and gates block by block, and the accuracy, on test points; names as in :func:`train_gated`."""
    x, index, raw, gates = _linear(parameters, "enter", 0, points), [], [], []
    for block in range(model.n_blocks):
        f, a = model.block(parameters, block, x)
        step, norm = (f if a is None else a * f), x.norm(dim=-1)
        index.append(step.norm(dim=-1) / norm)
        raw.append(f.norm(dim=-1) / norm)
        gates.append(torch.ones_like(norm).mean(1) if a is None else a.mean((1, 2)))
        x = x + step
    every = torch.stack(index, dim=-1).double()  # (replica, input, block)
    right = _linear(parameters, "leave", 0, x).argmax(-1) == arms
    return {
        "index": every.mean(1),
        "index_low": every.amin(1),
        "index_high": every.amax(1),
        "index_shown": every[:, :n_shown],
        "raw_index": torch.stack(raw, dim=-1).double().mean(1),
        "gate": torch.stack(gates, dim=-1).double(),
        "accuracy": right.double().mean(1),
    }


def _linear(parameters: Parameters, name: str, block: int, x: Tensor) -> Tensor:
    return torch.baddbmm(parameters[f"{name}_bias"][:, block], x, parameters[name][:, block])
