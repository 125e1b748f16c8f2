"""Training transformers whose heads have a given rank to find, for every point of a set, the farthest other one.

Points are independent and uniform on the sphere of R^dim, fresh in every step; the target of a point is the point of its set
with the smallest inner product with it. The loss is the squared distance, averaged over points: 1 for the answer 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import Adam
from attnlab.simulators.ensemble.plan import Plan, log_spaced_steps
from attnlab.simulators.ensemble.schedules import cosine, warmup
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train
from attnlab.simulators.models.encoder import POSITIONS, Encoder


@dataclass(frozen=True)
class FarthestSetting:
    """``copies`` of multi-head attention with heads of ``rank`` in each of ``n_layers``; Adam, linear warm-up, then cosine.

    Warm-up takes the first twentieth of the steps. ``n_test``: sets of points that a trained model is tested on.
    """

    dim: int = 8
    n_points: int = 8
    rank: int = 8
    copies: int = 1
    n_layers: int = 1
    hidden: int = 32
    positions: str = "none"
    batch: int = 32
    learning_rate: float = 0.01
    n_steps: int = 1_600
    n_test: int = 1_000
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(
            self, "rank", "copies", "n_layers", "hidden", "batch", "learning_rate", "n_steps", "n_test", "n_replicas"
        )
        require_at_least(self, 3, "dim", "n_points")
        require_one_of(self, "positions", POSITIONS)
        width = 2 * self.dim if self.positions == "appended" else self.dim
        if width % self.rank:
            raise ValueError(
                f"rank={self.rank!r} does not divide {width}, the width of the tokens; use a divisor of it"
            )


@simulation(name="head_rank_farthest.train_farthest", block=16, devices=("cpu", "cuda"))
def train_farthest(
    setting: FarthestSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Train, and test on fresh sets.

    ``error (replica,)``: mean squared distance on ``n_test`` sets; ``error_se`` its standard error, sets being the units.
    ``angle``, ``size (replica, head)``: of the score matrices M of the first layer (scores x_q^T M x_k): the angle between M
    and I in degrees (180: a multiple of -I), and the Frobenius norm over sqrt(dim) (beta if M = -beta I).
    ``loss (replica, record)`` at ``steps``: mean batch loss since the record before; ``diverged_at (replica,)``.
    """
    model = Encoder(
        setting.dim, setting.n_points, setting.rank, setting.copies, setting.n_layers, setting.hidden, setting.positions
    )
    task = Farthest(setting.dim, setting.n_points, setting.batch)
    schedule = warmup(max(1, setting.n_steps // 20), cosine(setting.n_steps))
    steps = log_spaced_steps(setting.n_steps, 40)
    run = train(
        model,
        task,
        Adam(setting.learning_rate, betas=(0.9, 0.95), schedule=schedule),
        seeds,
        Plan(setting.n_steps, loss_steps=steps, device=device),
    )
    rows = []
    for row, stream in enumerate(random_streams.generators(seeds, "test")):
        normals = torch.randn(1, setting.n_test, setting.n_points, setting.dim, generator=stream).to(device)
        parameters = {name: each[row : row + 1] for name, each in run.parameters.items()}
        errors = squared_errors(model, parameters, normals)[0].double().mean(-1)
        rows.append((errors.mean().item(), errors.std().item() / setting.n_test**0.5))
    columns = np.array(rows).T
    M = model.score_matrices(run.parameters)[..., : setting.dim, : setting.dim].double().cpu()
    size = M.flatten(2).norm(dim=-1)
    along = M.diagonal(dim1=-2, dim2=-1).sum(-1) / (size * setting.dim**0.5)
    return {
        "steps": np.tile(steps, (len(seeds), 1)),
        "loss": run.loss,
        "diverged_at": run.diverged_at,
        "error": columns[0],
        "error_se": columns[1],
        "angle": torch.rad2deg(torch.arccos(along.clamp(-1, 1))).numpy(),
        "size": (size / setting.dim**0.5).numpy(),
    }


@dataclass(frozen=True)
class Farthest:
    """``batch`` sets of ``n_points`` points per step."""

    dim: int
    n_points: int
    batch: int

    @property
    def numbers_per_step(self) -> int:
        return self.batch * self.n_points * self.dim

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        numbers.normal_(generator=stream)

    def loss(self, model: Encoder, parameters: Parameters, numbers: Tensor) -> Tensor:
        normals = numbers.view(len(numbers), self.batch, self.n_points, self.dim)
        return squared_errors(model, parameters, normals).mean((1, 2))

    def largest_array(self, model: Encoder) -> int:
        per_point = max(model.hidden, 3 * model.n_heads * model.rank, model.n_heads * self.n_points)
        return self.batch * self.n_points * per_point


def squared_errors(model: Encoder, parameters: Parameters, normals: Tensor) -> Tensor:
    """Squared distance of every point's output to its farthest point, ``(replica, set, point)``, from standard normals."""
    points = normals / normals.norm(dim=-1, keepdim=True)
    farthest = (points @ points.mT).argmin(-1, keepdim=True).expand(points.shape)
    return ((model.forward(parameters, points) - points.gather(-2, farthest)) ** 2).sum(-1)
