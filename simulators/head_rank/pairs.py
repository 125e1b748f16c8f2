"""Training sums of low-rank heads to point at the nearest of two orthonormal points: one layer, heads of rank r, H of them.

Head h scores x_i by y^T Q_h K_h^T x_i with Q_h, K_h of shape (dim, rank), and outputs V_h sum_i phi_i x_i. Kinds of model:
``"scalar"`` softmax weights and V_h = a_h I; ``"matrix"`` softmax weights and any V_h; ``"gated"`` any V_h and weights that need
not sum to one: softmax times 1 + G_h . y + g_h . K_h^T x_i (Amsel, Yehudai and Bruna 2024: "generalised attention").
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
from attnlab.simulators.ensemble.schedules import cosine
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train
from attnlab.simulators.head_rank.full_rank_head import chosen, pairs

KINDS = ("scalar", "matrix", "gated")


@dataclass(frozen=True)
class PairSetting:
    """``n_heads`` heads of ``rank`` in R^dim, trained by Adam on fresh batches with a cosine schedule."""

    dim: int = 8
    rank: int = 1
    n_heads: int = 4
    kind: str = "matrix"
    batch: int = 128
    learning_rate: float = 0.01
    n_steps: int = 1_200
    n_test: int = 20_000
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "rank", "n_heads", "batch", "learning_rate", "n_steps", "n_test", "n_replicas")
        require_at_least(self, 3, "dim")
        require_one_of(self, "kind", KINDS)
        if self.rank > self.dim:
            raise ValueError(f"rank={self.rank!r} exceeds dim={self.dim!r}; use rank <= {self.dim}")


@simulation(name="head_rank_pairs.train_on_pairs", block=16, devices=("cpu", "cuda"))
def train_on_pairs(setting: PairSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``error (replica,)`` of the trained model on ``n_test`` fresh pairs, ``error_se`` its standard error.

    ``loss (replica, record)`` at ``steps``; ``diverged_at (replica,)``.
    """
    model, task = PairHeads(setting.dim, setting.rank, setting.n_heads, setting.kind), Pairs(setting.dim, setting.batch)
    steps = log_spaced_steps(setting.n_steps, 30)
    run = train(
        model,
        task,
        Adam(setting.learning_rate, schedule=cosine(setting.n_steps)),
        seeds,
        Plan(setting.n_steps, loss_steps=steps, device=device),
    )
    rows = []
    for row, stream in enumerate(random_streams.generators(seeds, "test")):
        normals = torch.randn(1, setting.n_test, 3, setting.dim, generator=stream).to(device)
        parameters = {name: each[row : row + 1] for name, each in run.parameters.items()}
        errors = squared_errors(model, parameters, normals)[0].double()
        rows.append((errors.mean(), errors.std() / setting.n_test**0.5))
    columns = torch.tensor(rows, dtype=torch.float64).numpy().T
    return {
        "steps": np.tile(steps, (len(seeds), 1)),
        "loss": run.loss,
        "diverged_at": run.diverged_at,
        "error": columns[0],
        "error_se": columns[1],
    }


@dataclass(frozen=True)
class PairHeads:
    """Q, K ``(replica, head, rank, dim)``; V ``(replica, head)`` or ``(replica, head, dim, dim)``; gates if there are any."""

    dim: int
    rank: int
    n_heads: int
    kind: str

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        H, d, r = self.n_heads, self.dim, self.rank
        shapes = {"Q": (H, r, d), "K": (H, r, d), "V": (H,) if self.kind == "scalar" else (H, d, d)}
        if self.kind == "gated":
            shapes |= {"gate_y": (H, d), "gate_x": (H, r)}
        normal = {
            name: torch.stack([torch.randn(shape, generator=each, dtype=dtype) for each in streams])
            for name, shape in shapes.items()
        }
        # scores of size 1, outputs near the mean point: sum_h V_h = I up to noise
        scale = {"Q": r**-0.25, "K": r**-0.25, "V": 0.1 / H**0.5, "gate_y": 0.1, "gate_x": 0.1}
        start = {name: scale[name] * each for name, each in normal.items()}
        start["V"] = start["V"] + (1.0 if self.kind == "scalar" else torch.eye(d, dtype=dtype)) / H
        return start

    def forward(self, parameters: Parameters, points: Tensor, y: Tensor) -> Tensor:
        """Outputs ``(replica, sample, dim)`` for points ``(replica, sample, 2, dim)`` and y ``(replica, sample, dim)``."""
        R, S, _, d = points.shape
        H, r = self.n_heads, self.rank
        queries = (y @ parameters["Q"].reshape(R, H * r, d).mT).view(R, S, H, r)
        keys = (points.reshape(R, 2 * S, d) @ parameters["K"].reshape(R, H * r, d).mT).view(R, S, 2, H, r)
        phi = torch.softmax((queries[:, :, None] * keys).sum(-1), dim=2)  # (replica, sample, point, head)
        if self.kind == "gated":
            gate = (y @ parameters["gate_y"].mT)[:, :, None] + (keys * parameters["gate_x"][:, None, None]).sum(-1)
            phi = phi * (1 + gate)
        if self.kind == "scalar":
            return torch.einsum("rsnh,rh,rsnd->rsd", phi, parameters["V"], points)
        mixed = phi.transpose(2, 3) @ points  # (replica, sample, head, dim)
        return mixed.reshape(R, S, H * d) @ parameters["V"].mT.reshape(R, H * d, d)


@dataclass(frozen=True)
class Pairs:
    """``batch`` pairs per step from standard normals."""

    dim: int
    batch: int

    @property
    def numbers_per_step(self) -> int:
        return 3 * self.dim * self.batch

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        numbers.normal_(generator=stream)

    def loss(self, model: PairHeads, parameters: Parameters, numbers: Tensor) -> Tensor:
        return squared_errors(model, parameters, numbers.view(len(numbers), self.batch, 3, self.dim)).mean(1)

    def largest_array(self, model: PairHeads) -> int:
        return self.batch * model.n_heads * max(self.dim, 2 * model.rank)


def squared_errors(model: PairHeads, parameters: Parameters, normals: Tensor) -> Tensor:
    """Squared distances to the nearest point, ``(replica, sample)``, from normals ``(replica, sample, 3, dim)``."""
    points, y = pairs(normals)
    target = chosen(points, (points * y[:, :, None]).sum(-1))
    return ((model.forward(parameters, points, y) - target) ** 2).sum(-1)
