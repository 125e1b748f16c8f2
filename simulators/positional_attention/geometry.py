"""Operators on poses, spheres and clouds: frames, variances of transported scores, integrals, mirror images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.operators.operator import QKV, Grid, Sizes, Tokens
from attnlab.kernels.operators.positional_attention.geometric_algebra import GeometricAlgebra
from attnlab.kernels.operators.positional_attention.group_transport import GroupTransport
from attnlab.kernels.operators.positional_attention.sphere import Sphere
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class FrameSetting:
    """Rigid motions of space on ``n_tokens`` tokens with heads of width 8; frames moved by ``distance``.

    ``n_draws`` of scores between two tokens at the relative translations ``translations``.
    """

    n_tokens: int = 6
    distance: float = 10.0
    translations: tuple[float, ...] = (1.0, 3.0)
    n_draws: int = 8000
    n_replicas: int = 24

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "distance", "translations", "n_draws", "n_replicas")
        require_at_least(self, 2, "n_tokens")


@simulation(name="positional_attention.frames", block=8)
def frames(setting: FrameSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``output``, ``moved``, ``behind`` (replica, token, d): poses as drawn, all moved from the left, all moved from the right.

    ``variance`` (replica, translation): mean square of the score of unit Gaussian q, k whose relative pose is so far.
    ``relative`` (replica, translation, 4, 4): that pose.
    """
    found: dict[str, list] = {name: [] for name in ("output", "moved", "behind", "variance", "relative")}
    n, d, operator = setting.n_tokens, 8, GroupTransport()
    for stream in random_streams.generators(seeds, "data"):
        x = QKV(*(torch.randn(1, 1, 1, n, d, generator=stream, dtype=torch.float64) for _ in range(3)))
        poses = torch.stack([_pose(stream, 1.0) for _ in range(n)])[None]
        h = _pose(stream, setting.distance)
        for name, elements in (("output", poses), ("moved", h @ poses), ("behind", poses @ h)):
            found[name].append(operator.apply(x, {"elements": elements})[0, 0, 0].numpy())
        rows, relatives = [], []
        for length in setting.translations:
            first, relative = _pose(stream, 1.0), _pose(stream, length)
            pair = torch.stack([first, first @ relative])[None]
            q, k = (torch.randn(1, setting.n_draws, 1, 2, d, generator=stream, dtype=torch.float64) for _ in range(2))
            moved, _ = operator.transported(QKV(q, k, k), {"elements": pair})
            rows.append(((moved.q[..., 0, :] * moved.k[..., 1, :]).sum(-1) / d**0.5).square().mean().item())
            relatives.append(relative.numpy())
        found["variance"].append(rows)
        found["relative"].append(relatives)
    return {name: np.array(values) for name, values in found.items()}


def _pose(stream: torch.Generator, length: float) -> torch.Tensor:
    """A random rotation with a translation of that length."""
    g = torch.eye(4, dtype=torch.float64)
    Q = torch.linalg.qr(torch.randn(3, 3, generator=stream, dtype=torch.float64))[0]
    g[:3, :3] = Q * torch.det(Q)
    g[:3, 3] = length * torch.nn.functional.normalize(torch.randn(3, generator=stream, dtype=torch.float64), dim=0)
    return g


@dataclass(frozen=True)
class SphereSetting:
    """Scores kappa u.x of ``concentration`` on a grid of ``n_lat`` rows and twice as many columns, all u of the grid."""

    concentration: float = 4.0
    n_lat: int = 16
    n_replicas: int = 2

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "concentration", "n_replicas")
        require_at_least(self, 4, "n_lat")


@simulation(name="positional_attention.spheres", block=2)
def spheres(setting: SphereSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Responses to values x along u, means of all u of the grid; nothing is random.

    ``gauss`` (replica,): with Gauss-Legendre rows and weights, ``angles`` with rows of equal angles and weights sin(theta),
    ``unweighted`` without. ``worst``: largest distance of one component of ``gauss`` from its mean response. ``flat``,
    ``flat_unweighted``: mean of z^2 with equal scores.
    """
    n, found = setting.n_lat, {}
    z, w = np.polynomial.legendre.leggauss(n)
    theta = (np.arange(n) + 0.5) * math.pi / n
    for name, heights, weights in (
        ("gauss", z, w),
        ("angles", np.cos(theta), np.sin(theta)),
        ("unweighted", np.cos(theta), None),
    ):
        found |= _responses(name, heights, weights, n, setting.concentration)
    names = ("gauss", "angles", "unweighted")
    answer = {name: found[name][0] for name in names} | {"worst": found["gauss"][1]}
    answer |= {"flat": found["gauss"][2], "flat_unweighted": found["unweighted"][2]}
    return {name: np.full(len(seeds), value) for name, value in answer.items()}


def _responses(name: str, heights: np.ndarray, weights: np.ndarray | None, n: int, kappa: float) -> dict[str, tuple]:
    """Mean response along u, its largest spread, and the mean of z^2."""
    phi = math.pi * np.arange(2 * n) / n
    rho = np.sqrt(1 - heights**2)[:, None]
    x = np.stack([rho * np.cos(phi), rho * np.sin(phi), np.broadcast_to(heights[:, None], (n, 2 * n))], -1).reshape(
        -1, 3
    )
    tokens = torch.tensor(np.concatenate([x, x[:, 2:] ** 2], 1))[None, None]
    w = None if weights is None else torch.tensor(np.repeat(weights, 2 * n))
    eye = torch.eye(4, dtype=torch.float64)
    look = torch.diag(torch.tensor([1.0, 1, 1, 0], dtype=torch.float64))
    own = {"query": kappa * 2 * look, "key": look, "value": eye, "out": eye}
    answers = []
    for query in (own["query"], 0 * eye):
        parameters = {key: value[None, None] for key, value in dict(own, query=query).items()}
        answers.append(Sphere().apply(Grid(tokens, (n, 2 * n), w), parameters)[0, 0].numpy())
    along = (answers[0][:, :3] * x).sum(1)
    spread = np.abs(answers[0][:, :3] - along.mean() * x).max()
    return {name: (along.mean(), spread, answers[1][0, 3])}


@dataclass(frozen=True)
class CloudSetting:
    """Clouds of ``n_points`` points with three values each, geometric algebra attention of random weights."""

    n_points: int = 6
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_replicas")
        require_at_least(self, 3, "n_points")


@simulation(name="positional_attention.clouds", block=8)
def clouds(setting: CloudSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Values (replica, point, 3) of pairs and triples, for the cloud, turned and in a mirror.

    ``pairs``, ``pairs_turned``, ``pairs_mirrored``, and so for triples; ``vector``, ``vector_mirrored``: vectors of pairs, the
    second reflected back.
    """
    kinds = ("pairs", "pairs_turned", "pairs_mirrored", "triples", "triples_turned", "triples_mirrored")
    found: dict[str, list] = {name: [] for name in (*kinds, "vector", "vector_mirrored")}
    mirror = torch.diag(torch.tensor([-1.0, 1, 1], dtype=torch.float64))
    for stream in random_streams.generators(seeds, "data"):
        x = torch.randn(1, 1, setting.n_points, 6, generator=stream, dtype=torch.float64)
        turn = _pose(stream, 1.0)[:3, :3]
        for order, name in ((2, "pairs"), (3, "triples")):
            operator = GeometricAlgebra(order, 8)
            own = operator.initialise(Sizes(n=setting.n_points, d=3, d_v=3, n_heads=2), [stream], torch.float64)
            for suffix, map_ in (("", None), ("_turned", turn), ("_mirrored", mirror)):
                moved = x if map_ is None else torch.cat([x[..., :3] @ map_.T, x[..., 3:]], -1)
                y = operator.apply(Tokens(moved), own)[0, 0]
                found[name + suffix].append(y[:, 3:].numpy())
                if order == 2 and suffix in ("", "_mirrored"):
                    back = y[:, :3] if map_ is None else y[:, :3] @ mirror
                    found["vector" + suffix].append(back.numpy())
    return {name: np.array(values) for name, values in found.items()}
