"""Rows drawn independent, or orthogonal by the operator: squared errors of one kernel value, largest errors over a ball."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.operators.operator import Sizes
from attnlab.kernels.operators.positive_features.performer import Performer
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.positive_features.features import KINDS, estimates_of_each_row, features


@dataclass(frozen=True)
class DrawSetting:
    """``dim`` d; x and y at right angles with \\|x + y\\|^2 = \\|x - y\\|^2 = ``square``; ``n_features`` m; ``n_draws`` of all
    rows per replica."""

    dim: int = 8
    square: float = 0.5
    n_features: int = 8
    n_draws: int = 20_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 2, "dim")
        require_positive(self, "square", "n_features", "n_draws", "n_replicas")


@dataclass(frozen=True)
class BallSetting:
    """``dim`` d, ``n_features`` m, ``length`` l of the longest x and y; ``n_draws`` of the rows per replica; ``orthogonal`` rows
    within blocks of d; ``n_steps`` of the search."""

    dim: int = 32
    n_features: int = 512
    length: float = 0.02
    orthogonal: bool = False
    n_draws: int = 32
    n_steps: int = 100
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 2, "dim", "n_features")
        require_positive(self, "length", "n_draws", "n_steps", "n_replicas")


@simulation(name="positive_features_draws.squared_errors", block=4, reads=("dim", "square", "n_features", "n_draws"))
def squared_errors(setting: DrawSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Mean square of estimate / e^{x . y} - 1 over the draws, shape (replica, kind), kinds as in ``features.KINDS``.

    ``independent`` rows, and ``orthogonal`` ones (within blocks of d), as the operator draws them.
    """
    made: dict[str, list] = {"independent": [], "orthogonal": []}
    x, y = np.zeros((2, setting.dim))
    x[0] = y[1] = np.sqrt(setting.square / 2)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        for name, found in made.items():
            W = rows(rng, setting.n_draws, setting.n_features, setting.dim, orthogonal=name == "orthogonal")
            errors = [estimates_of_each_row(x, y, W, kind).mean(-1) / np.exp(x @ y) - 1 for kind in KINDS]
            found.append(np.square(errors).mean(1))
    return {name: np.array(found) for name, found in made.items()}


@simulation(
    name="positive_features_draws.largest_errors",
    block=2,
    reads=("dim", "n_features", "length", "orthogonal", "n_draws", "n_steps"),
)
def largest_errors(setting: BallSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Largest error of a kernel value over all x and y of length at most l that a search finds, shape (replica, kind):
    trigonometric, positive.

    ``mean`` over the draws; ``worst`` the largest of them. For given x - y = u (trigonometric) or x + y = u (positive) the error
    is largest where both are longest or shortest; u climbs along the gradient from a random direction at the length 2 l, where
    x = u/2 and y = -u/2, or y = x.
    """
    means, worst = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        W = rows(rng, setting.n_draws, setting.n_features, setting.dim, orthogonal=setting.orthogonal)
        found = np.array([_climb(W, kind, setting.length, setting.n_steps, rng) for kind in KINDS[:2]])  # (kind, draw)
        means.append(found.mean(1))
        worst.append(found.max(1))
    return {"mean": np.array(means), "worst": np.array(worst)}


def rows(rng: np.random.Generator, n_draws: int, n_features: int, dim: int, *, orthogonal: bool) -> np.ndarray:
    """Projections (draw, n_features, d): Gaussian rows, or the operator's own."""
    if not orthogonal:
        return rng.standard_normal((n_draws, n_features, dim))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    blocks = -(-n_features // dim)
    made = Performer(n_features=n_draws * blocks * dim).initialise(Sizes(n=1, d=dim, d_v=1), [generator], torch.float64)
    return made["projection"].numpy().reshape(n_draws, blocks * dim, dim)[:, :n_features]


def _climb(W: np.ndarray, kind: str, length: float, n_steps: int, rng: np.random.Generator) -> np.ndarray:
    """Largest error per draw along u -> gradient, normalised; both signs of the error are climbed."""
    start = rng.standard_normal((W.shape[0], W.shape[2]))
    best = np.zeros(W.shape[0])
    for sign in (1.0, -1.0):
        u = 2 * length * start / np.linalg.norm(start, axis=1, keepdims=True)
        for _ in range(n_steps):
            gradient = sign * _gradient(W, u, kind)
            # long steps, but some of u itself: else directions of negative curvature would alternate
            step = u + 8 * length * gradient / (np.linalg.norm(gradient, axis=1, keepdims=True) + 1e-300)
            u = 2 * length * step / np.linalg.norm(step, axis=1, keepdims=True)
        best = np.maximum(best, np.abs(_error(W, u, kind)))
    return best


def _gradient(W: np.ndarray, u: np.ndarray, kind: str) -> np.ndarray:
    """Gradient of mean_c wave(w_c . u) - its expectation, shape (draw, d)."""
    p = np.einsum("rmd,rd->rm", W, u)
    square = (u**2).sum(1, keepdims=True)
    wave, sign = (-np.sin(p), 1) if kind == "trigonometric" else (np.exp(p), -1)
    return np.einsum("rm,rmd->rd", wave, W) / W.shape[1] + sign * u * np.exp(-sign * square / 2)


def _error(W: np.ndarray, u: np.ndarray, kind: str) -> np.ndarray:
    """Estimate minus e^{x . y} at the pair that u stands for, by the features as they stand, shape (draw,)."""
    x = u / 2
    y = -x if kind == "trigonometric" else x
    both = features(x[:, None], W, kind) * features(y[:, None], W, kind)
    return both[:, 0].sum(1) / W.shape[1] - np.exp((x * y).sum(1))
