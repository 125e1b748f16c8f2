r"""Training gated positional heads on maps of tunable locality, images being white.

A head is :math:`A = g P + (1 - g) C`; on white images the mean squared error of its output against that of a target map T is
:math:`\frac1n \sum_i |A_i - T_i|^2`, so that maps are compared and no image is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import Adam, GradientDescent
from attnlab.simulators.ensemble.plan import Plan, Record, log_spaced_steps
from attnlab.simulators.ensemble.schedules import cosine
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_inside, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train
from attnlab.simulators.positional_attention.heads import offsets, positional_maps


@dataclass(frozen=True)
class WindowSetting:
    """One gate between a Gaussian of ``locality`` and the mean of the image, on the mean over a window of ``radius`` around each
    cell, of a ``side`` x ``side`` grid. Starts are sigmoids of normal numbers of size ``start_std`` around 1."""

    side: int = 11
    radius: int = 2
    locality: float = 1.0
    start_std: float = 1.0
    learning_rate: float = 2.0
    n_steps: int = 3_000
    n_records: int = 12
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 0, "radius")
        require_positive(self, "side", "locality", "start_std", "learning_rate", "n_steps", "n_records", "n_replicas")


@dataclass(frozen=True)
class Gate:
    """The one parameter: the logit of a gate."""

    start_std: float

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        draw = [torch.randn(1, generator=stream, dtype=dtype) for stream in streams]
        return {"gate": 1 + self.start_std * torch.stack(draw)}


@dataclass(frozen=True, eq=False)
class MapDistance:
    """Mean over queries of the squared distance of the mixed map from the target; maps ``(query, key)``."""

    positional: Tensor
    content: Tensor
    target: Tensor
    numbers_per_step: int = 0

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        """Nothing is drawn."""

    def loss(self, model: Gate, parameters: Parameters, numbers: Tensor | None) -> Tensor:
        g = torch.sigmoid(parameters["gate"])[:, :, None]
        away = g * self.positional + (1 - g) * self.content - self.target
        return (away * away).sum((1, 2)) / len(self.target)

    def largest_array(self, model: Gate) -> int:
        return self.target.numel()


@simulation(name="positional_attention.windows", block=16)
def windows(setting: WindowSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``gate (replica, record)`` along ``steps`` of gradient descent in float64; the maps ``positional``, ``target``
    (replica, query,
    key), the same in all replicas."""
    away = offsets(setting.side)
    near = (away.abs().amax(-1) <= setting.radius).double()
    target = near / near.sum(1, keepdim=True)
    positional = positional_maps(setting.locality, 1, setting.side)[0]
    uniform = torch.full_like(target, 1 / len(target))
    steps = log_spaced_steps(setting.n_steps, setting.n_records)
    run = train(
        Gate(setting.start_std),
        MapDistance(positional, uniform, target),
        GradientDescent(setting.learning_rate),
        seeds,
        Plan(setting.n_steps, loss_steps=steps, dtype=torch.float64, label="gate"),
        [Record(lambda model, p: {"gate": torch.sigmoid(p["gate"][:, 0])}, steps)],
    )
    maps = {"positional": positional.numpy(), "target": target.numpy()}
    same = {name: np.tile(x, (len(seeds), 1, 1)) for name, x in maps.items()}
    return same | {"gate": run.records["gate"], "steps": np.tile(steps, (len(seeds), 1))}


@dataclass(frozen=True)
class MatchingSetting:
    """Cells of a ``side`` x ``side`` grid hold all identities in random order, which come in pairs. The target of a cell is
    ``local_share`` times the Gaussian blur of ``locality`` around it and the rest its partner's value.

    The head starts as a blur of ``start_locality`` with a gate of sigma(1) and small content scores; gate, position scores,
    content
    scores of pairs of identities and a scale of the output are trained by Adam, its rate falling to zero as a cosine.
    """

    side: int = 4
    local_share: float = 0.4
    locality: float = 1.0
    start_locality: float = 1.0
    batch: int = 8
    learning_rate: float = 0.05
    n_steps: int = 2_000
    n_records: int = 12
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_inside(self, 0, 1, "local_share")
        require_positive(
            self, "locality", "start_locality", "batch", "learning_rate", "n_steps", "n_records", "n_replicas"
        )
        if self.side % 2:
            raise ValueError(f"side={self.side} leaves a cell without a partner; use an even one")


@dataclass(frozen=True, eq=False)
class GatedHead:
    """One head. ``features (query, key, 3)``: squared distance and both offsets of the cells of the grid."""

    features: Tensor
    start_locality: float

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        n, R = len(self.features), len(streams)
        draw = [0.1 * torch.randn(n, n, generator=stream, dtype=dtype) for stream in streams]
        position = torch.tensor([-self.start_locality, 0.0, 0.0], dtype=dtype).repeat(R, 1)
        one = torch.ones(R, 1, dtype=dtype)
        return {"content": torch.stack(draw), "position": position, "gate": one, "scale": one.clone()}

    def positional(self, parameters: Parameters) -> Tensor:
        """The positional map ``(replica, query, key)``."""
        scores = (self.features * parameters["position"][:, None, None]).sum(-1)
        return torch.softmax(scores, -1)

    def observe(self, parameters: Parameters) -> dict[str, Tensor]:
        """The gate, mean weights of a partner and of the own cell in the content map, and the mean distance of the mixed map."""
        n = len(self.features)
        content = torch.softmax(parameters["content"], -1)
        partner = torch.arange(n) ^ 1
        match = content[:, torch.arange(n), partner]
        g = torch.sigmoid(parameters["gate"][:, 0])
        distance = self.features[..., 0].sqrt()
        own = content.diagonal(dim1=1, dim2=2).mean(-1)
        anywhere = distance.sum() / (n * (n - 1))  # of two different cells, as identities lie in any order
        local = (self.positional(parameters) * distance).sum((1, 2)) / n
        far = (1 - g) * (1 - own) * anywhere
        return {"gate": g, "match": match.mean(-1), "own": own, "distance": g * local + far}


@dataclass(frozen=True, eq=False)
class Matching:
    """Squared distance of maps over random orders of the identities; ``blur (query, key)`` is the local part of the target."""

    blur: Tensor
    local_share: float
    batch: int

    @property
    def numbers_per_step(self) -> int:
        return self.batch * len(self.blur)

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        """One uniform number per identity and order: their ranks are the cells."""
        numbers.uniform_(generator=stream)

    def loss(self, model: GatedHead, parameters: Parameters, numbers: Tensor) -> Tensor:
        R, n = len(numbers), len(self.blur)
        cells = numbers.view(R, self.batch, n).argsort(-1)  # of the identities
        g = torch.sigmoid(parameters["gate"])[:, :, None]
        mixed = parameters["scale"][:, :, None] * g * model.positional(parameters) - self.local_share * self.blur
        partners = torch.eye(n, dtype=numbers.dtype)[torch.arange(n) ^ 1]
        far = parameters["scale"][:, :, None] * (1 - g) * torch.softmax(parameters["content"], -1)
        far = far - (1 - self.local_share) * partners
        placed = (cells[..., None] == torch.arange(n)).to(numbers.dtype)  # (replica, order, identity, cell)
        away = placed @ mixed[:, None] @ placed.mT + far[:, None]
        return (away * away).sum((1, 2, 3)) / (self.batch * n)

    def largest_array(self, model: GatedHead) -> int:
        return self.batch * self.blur.numel()


@simulation(name="positional_attention.matching", block=8)
def matching(setting: MatchingSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Along ``steps``, ``(replica, record)``: ``gate``; ``match`` and ``own``, mean content weights of the partner and of the own
    cell; ``distance``, the mean over queries and orders of the distance that the mixed map looks at, in cells. ``position
    (replica, 3)`` at the end.
    """
    away = offsets(setting.side)
    features = torch.cat([(away**2).sum(-1, keepdim=True), away], -1).float()
    blur = positional_maps(setting.locality, 1, setting.side)[0].float()
    steps = log_spaced_steps(setting.n_steps, setting.n_records)
    run = train(
        GatedHead(features, setting.start_locality),
        Matching(blur, setting.local_share, setting.batch),
        Adam(setting.learning_rate, schedule=cosine(setting.n_steps)),
        seeds,
        Plan(setting.n_steps, loss_steps=steps, label="matching"),
        [Record(GatedHead.observe, steps)],
    )
    return run.records | {
        "position": run.parameters["position"].numpy(),
        "loss": run.loss,
        "steps": np.tile(steps, (len(seeds), 1)),
        "diverged_at": run.diverged_at,
    }
