"""One full-rank softmax head that points at the nearest or farthest of several points: its error at finite temperature.

Pairs: (x_1, x_2) uniform among orthonormal pairs of R^d and y uniform on the sphere; points: n independent uniform ones, with
y independent (the nearest is wanted) or one of them (self-attention, the farthest of the others). The head has Q K^T = beta I
or -beta I and V = I. Errors are squared distances, summed over coordinates (Amsel, Yehudai and Bruna 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation

TARGETS = ("nearest", "farthest")


@dataclass(frozen=True)
class Setting:
    """``n_samples`` sets of ``n_points`` points on the sphere of R^dim, one head a value of ``inverse_temperatures``."""

    dim: int = 8
    n_points: int = 2
    target: str = "nearest"
    inverse_temperatures: tuple[float, ...] = (5.0, 20.0, 100.0)
    n_samples: int = 20_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "inverse_temperatures", "n_samples", "n_replicas")
        require_at_least(self, 3, "dim")
        require_at_least(self, 2, "n_points")
        require_one_of(self, "target", TARGETS)


@simulation(name="head_rank.full_rank_on_pairs", block=8, reads=("dim", "inverse_temperatures", "n_samples"))
def full_rank_on_pairs(setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``error (replica, inverse_temperature)`` on orthonormal pairs, the same samples at every temperature; float64."""
    errors = []
    for stream in random_streams.generators(seeds, "data"):
        points, y = pairs(torch.randn(setting.n_samples, 3, setting.dim, generator=stream, dtype=torch.float64))
        scores = torch.einsum("snd,sd->sn", points, y)
        errors.append(_errors(points, scores, setting.inverse_temperatures))
    return {"error": np.stack(errors)}


@simulation(name="head_rank.full_rank_on_points", block=8)
def full_rank_on_points(
    setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``error (replica, inverse_temperature)`` on independent points; the farthest is asked for by the first of the set."""
    errors = []
    for stream in random_streams.generators(seeds, "data"):
        own = setting.target == "farthest"
        raw = torch.randn(
            setting.n_samples, setting.n_points + (not own), setting.dim, generator=stream, dtype=torch.float64
        )
        points = raw / raw.norm(dim=-1, keepdim=True)
        if own:  # one query a set: queries of one set are not independent
            errors.append(
                _errors(points, -torch.einsum("snd,sd->sn", points, points[:, 0]), setting.inverse_temperatures)
            )
        else:
            points, y = points[:, :-1], points[:, -1]
            errors.append(_errors(points, torch.einsum("snd,sd->sn", points, y), setting.inverse_temperatures))
    return {"error": np.stack(errors)}


@dataclass(frozen=True)
class LinearSetting:
    """dim rank-one softmax heads with q = k = sqrt(gain) e_i and values ``value`` I, and one head with constant scores.

    The last head's value is (1 - dim value) I, so that all values add up to I.
    """

    dim: int = 8
    gain: float = 0.1
    value: float = 10.0
    n_samples: int = 50_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "gain", "n_samples", "n_replicas")
        require_at_least(self, 3, "dim")


@simulation(name="head_rank.linear_regime", block=8)
def linear_regime(
    setting: LinearSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``error (replica,)`` of the dim + 1 heads on orthonormal pairs; float64, for values are large and cancel."""
    errors = []
    for stream in random_streams.generators(seeds, "data"):
        points, y = pairs(torch.randn(setting.n_samples, 3, setting.dim, generator=stream, dtype=torch.float64))
        weights = torch.softmax(setting.gain * y[:, None] * points, dim=1)  # (sample, point, head)
        weights = setting.value * weights.sum(-1) + (1 - setting.dim * setting.value) / 2
        target = chosen(points, torch.einsum("snd,sd->sn", points, y))
        errors.append(float(((torch.einsum("sn,snd->sd", weights, points) - target) ** 2).sum(-1).mean()))
    return {"error": np.array(errors)}


def pairs(normals: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal pairs ``(..., 2, dim)`` and points y ``(..., dim)`` from standard normals ``(..., 3, dim)``."""
    w, rest, y = normals.unbind(-2)
    w = w / w.norm(dim=-1, keepdim=True)
    rest = rest - (rest * w).sum(-1, keepdim=True) * w
    u = rest / rest.norm(dim=-1, keepdim=True)
    return torch.stack([u + w, u - w], dim=-2) / 2**0.5, y / y.norm(dim=-1, keepdim=True)


def chosen(points: Tensor, scores: Tensor) -> Tensor:
    """The point of the largest score, ``(..., dim)``, of points ``(..., n, dim)`` and scores ``(..., n)``."""
    best = scores.argmax(-1)[..., None, None].expand(*scores.shape[:-1], 1, points.shape[-1])
    return points.gather(-2, best).squeeze(-2)


def _errors(points: Tensor, scores: Tensor, inverse_temperatures: Sequence[float]) -> np.ndarray:
    """Mean squared distance of softmax attention to the point of the largest score, one a temperature."""
    target = chosen(points, scores)
    return np.array(
        [
            float(((torch.einsum("sn,snd->sd", torch.softmax(beta * scores, -1), points) - target) ** 2).sum(-1).mean())
            for beta in inverse_temperatures
        ]
    )
