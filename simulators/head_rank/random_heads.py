"""Random rank-one hard-max heads on orthonormal pairs: how often they agree, and two layers that count their votes.

A head chooses x_1 or x_2 by the sign of <q, y> <k, x_1 - x_2>. Its key lies at an angle to its query whose cosine is uniform
in (-1, 1), in a uniform direction (Amsel, Yehudai and Bruna 2024, experiments on the random construction; both have unit norm).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.head_rank.full_rank_head import chosen, pairs


@dataclass(frozen=True)
class HeadsSetting:
    """``n_heads`` random heads in R^dim, seen on ``n_samples`` pairs."""

    dim: int = 3
    n_heads: int = 24
    n_samples: int = 200_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_heads", "n_samples", "n_replicas")
        require_at_least(self, 3, "dim")


@simulation(name="head_rank_hard.random_heads", block=8)
def random_heads(setting: HeadsSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Heads and how often they agree on sampled pairs; float64.

    ``Q``, ``K (replica, head, dim)``: unit queries and keys. ``agreement (replica, head, head)``: share of samples on which two
    heads choose the same point, which is the mean inner product of their outputs. ``target (replica, head)``: share on which a
    head chooses the nearest point.
    """
    found: dict[str, list[np.ndarray]] = {"Q": [], "K": [], "agreement": [], "target": []}
    for weights, data in zip(
        random_streams.generators(seeds, "weights"), random_streams.generators(seeds, "data"), strict=True
    ):
        Q, K = draw_heads(setting.n_heads, setting.dim, weights)
        points, y = pairs(torch.randn(setting.n_samples, 3, setting.dim, generator=data, dtype=torch.float64))
        nearest = torch.where(((points[:, 0] - points[:, 1]) * y).sum(-1, keepdim=True) > 0, 1.0, -1.0).double()
        choices = torch.where(hard_choices(points, y, Q, K), 1.0, -1.0).double()
        row = {
            "Q": Q,
            "K": K,
            "agreement": 0.5 + 0.5 * (choices.T @ choices) / setting.n_samples,
            "target": 0.5 + 0.5 * (choices.T @ nearest)[:, 0] / setting.n_samples,
        }
        for name, value in row.items():
            found[name].append(value.numpy())
    return {name: np.stack(values) for name, values in found.items()}


def draw_heads(n_heads: int, dim: int, stream: torch.Generator) -> tuple[Tensor, Tensor]:
    """Unit queries and keys ``(head, dim)``, the cosine between them uniform in (-1, 1)."""
    q, rest = torch.randn(2, n_heads, dim, generator=stream, dtype=torch.float64)
    cosine = 2 * torch.rand(n_heads, 1, generator=stream, dtype=torch.float64) - 1
    q = q / q.norm(dim=-1, keepdim=True)
    rest = rest - (rest * q).sum(-1, keepdim=True) * q
    return q, cosine * q + (1 - cosine**2).sqrt() * rest / rest.norm(dim=-1, keepdim=True)


def hard_choices(points: Tensor, y: Tensor, Q: Tensor, K: Tensor) -> Tensor:
    """Whether hard-max heads choose the first of the points ``(sample, 2, dim)`` for y ``(sample, dim)``: ``(sample, head)``."""
    return (y @ Q.T) * (points[:, 0] @ K.T) > (y @ Q.T) * (points[:, 1] @ K.T)


@dataclass(frozen=True)
class VoteSetting:
    """Two layers: ``n_models`` a replica, each with the largest of ``n_heads`` in its first layer, on ``n_samples`` pairs.

    Models with fewer heads are the first heads of the largest.
    """

    dim: int = 8
    n_heads: tuple[int, ...] = (1, 9, 65, 257)
    n_models: int = 40
    n_samples: int = 500
    n_replicas: int = 24

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_heads", "n_models", "n_samples", "n_replicas")
        require_at_least(self, 3, "dim")


@simulation(name="head_rank_hard.majority_vote", block=8)
def majority_vote(setting: VoteSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """A two-layer hard-max transformer of rank-one heads, with one scratch coordinate; float64.

    The scratch coordinate of x_1 holds 1, of x_2 -1, of y 0. In the first layer head h (q = k uniform on the sphere) adds the
    scratch coordinate of the point it chooses to that of y. The second layer has one rank-one head: scores are products of
    scratch coordinates, values the points; equal scores share the weight.

    ``error (replica, n_heads)``: squared distance to the nearest point. ``averaged_error``: that of the best one-layer model
    made of the same heads with equal values and a head with constant scores.
    """
    counts, total = torch.tensor(setting.n_heads) - 1, max(setting.n_heads)
    errors, averaged = [], []
    for weights, data in zip(
        random_streams.generators(seeds, "weights"), random_streams.generators(seeds, "data"), strict=True
    ):
        rows, moments = [], []
        for _ in range(setting.n_models):
            q = torch.randn(total, setting.dim, generator=weights, dtype=torch.float64)
            points, y = pairs(torch.randn(setting.n_samples, 3, setting.dim, generator=data, dtype=torch.float64))
            scratch = torch.tensor([1.0, -1.0], dtype=torch.float64)
            votes = torch.where(hard_choices(points, y, q, q), scratch[0], scratch[1]).cumsum(-1)[:, counts]
            scores = votes[..., None] * scratch  # second layer: (sample, model, point)
            share = (scores == scores.amax(-1, keepdim=True)).to(points.dtype)
            output = torch.einsum("smn,snd->smd", share / share.sum(-1, keepdim=True), points)
            nearest = torch.einsum("snd,sd->sn", points, y)
            rows.append(((output - chosen(points, nearest)[:, None]) ** 2).sum(-1).mean(0))
            sign = torch.where(nearest[:, 0] > nearest[:, 1], 1.0, -1.0)[:, None]
            moments.append(torch.stack([(sign * votes).mean(0), (votes**2).mean(0)]))
        first, second = torch.stack(moments).mean(0)
        errors.append(torch.stack(rows).mean(0).numpy())
        averaged.append((0.5 * (1 - first**2 / second)).numpy())
    return {"error": np.stack(errors), "averaged_error": np.stack(averaged)}
