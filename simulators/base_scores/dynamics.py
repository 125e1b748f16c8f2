"""What scores do over steps: additive scores as weights grow, copies that drift, routing that sharpens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.operators.base_scores.dynamic_routing import DynamicRouting
from attnlab.kernels.operators.base_scores.luong import additive_scores
from attnlab.kernels.operators.operator import Tokens
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class AdditiveSetting:
    """Additive scores of ``n_tokens`` queries and keys through ``hidden`` units, pre-activations of size ``weight_scales``."""

    weight_scales: tuple[float, ...] = (0.1, 0.3, 1.0)
    n_tokens: int = 64
    hidden: int = 256
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "weight_scales", "hidden", "n_replicas")
        require_at_least(self, 2, "n_tokens")


@simulation(name="base_scores.additive_effects", block=8)
def additive_effects(
    setting: AdditiveSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Variance of additive scores by its sources, an unbiased two-way analysis, ``(replica, scale)``.

    ``pair``: variance of what depends on query and key together; ``main``: of what depends on one of them. Every hidden unit
    sees pre-activations that are exactly Gaussian: queries and keys have one channel per unit. The read-out is random signs.
    """
    n, h = setting.n_tokens, setting.hidden
    pair, main = [], []
    for stream in random_streams.generators(seeds, "data"):
        q, k = (torch.randn(1, n, h, generator=stream, dtype=torch.float64) for _ in range(2))
        sign = torch.randint(0, 2, (1, h), generator=stream).double() * 2 - 1
        for scale in setting.weight_scales:
            into = scale * torch.eye(h, dtype=torch.float64)[None]
            s = additive_scores(q, k, into, into, sign)[0] / h**0.5
            rows, columns = s.mean(1, keepdim=True) - s.mean(), s.mean(0, keepdim=True) - s.mean()
            left = (s - s.mean() - rows - columns).square().sum() / (n - 1) ** 2
            pair.append(left.item())
            main.append(((rows.square().sum() + columns.square().sum()) / (n - 1) - 2 * left / n).item())
    shape = (len(seeds), len(setting.weight_scales))
    return {"pair": np.reshape(pair, shape), "main": np.reshape(main, shape)}


@dataclass(frozen=True)
class WalkSetting:
    """Copies whose centre moves by 1 + s z: ``step_noise`` s, read after each of ``steps``, ``n_walks`` per replica."""

    step_noise: float = 0.02
    steps: tuple[int, ...] = (100, 625, 2500)
    n_walks: int = 1000
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "step_noise", "steps", "n_walks", "n_replicas")


@simulation(name="base_scores.copies", block=8)
def copies(setting: WalkSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``accuracy (replica, step)``: share of walks whose centre rounds to the key that it should be on."""
    found = []
    for stream in random_streams.generators(seeds, "data"):
        noise = torch.randn(setting.n_walks, max(setting.steps), generator=stream, dtype=torch.float64)
        away = (setting.step_noise * noise).cumsum(-1)[:, [t - 1 for t in setting.steps]]
        found.append((away.abs() < 0.5).double().mean(0).numpy())
    return {"accuracy": np.array(found)}


@dataclass(frozen=True)
class RoutingSetting:
    """Routing over ``n_tokens`` votes of width ``dim`` and size ``vote_std``, read where ln(1 - a_max) passes ``log_gaps``."""

    n_tokens: int = 12
    dim: int = 6
    vote_std: float = 0.7
    log_gaps: tuple[float, float] = (-200.0, -2000.0)
    n_rounds: int = 100_000
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "vote_std", "n_rounds", "n_replicas")
        require_at_least(self, 2, "n_tokens")
        if not 0 > self.log_gaps[0] > self.log_gaps[1]:
            raise ValueError(f"log_gaps={self.log_gaps!r} must fall below 0, as in (-200.0, -2000.0)")


@simulation(name="base_scores.routing", block=8)
def routing(setting: RoutingSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Slope of ln(1 - a_max) per round between the two gaps, and the votes; the rounds are those of the operator.

    ``slope (replica,)``: NaN where the second gap was not reached in ``n_rounds``; ``votes (replica, token, dim)``; ``winner``.
    ln(1 - a_max) is the log-sum of the other weights, which keeps its digits far below the smallest number.
    """
    found: dict[str, list] = {"slope": [], "votes": [], "winner": []}
    for stream in random_streams.generators(seeds, "data"):
        x = setting.vote_std * torch.randn(setting.n_tokens, setting.dim, generator=stream, dtype=torch.float64)
        slope, winner = _sharpening(x.numpy(), setting)
        found["slope"].append(slope)
        found["votes"].append(x.numpy())
        found["winner"].append(winner)
    return {name: np.array(values) for name, values in found.items()}


def _sharpening(x: np.ndarray, setting: RoutingSetting) -> tuple[float, int]:
    b, first = np.zeros(len(x)), None
    for r in range(1, setting.n_rounds + 1):
        a = np.exp(b - b.max())
        b = b + x @ np.tanh((a / a.sum()) @ x)
        winner = int(b.argmax())
        others = np.delete(b, winner)
        left = others.max() + np.log(np.exp(others - others.max()).sum()) - b[winner]  # ln of (1 - a_max) / a_max
        if first is None and left < setting.log_gaps[0]:
            first = (r, left)
        if first is not None and left < setting.log_gaps[1]:
            return (left - first[1]) / (r - first[0]), winner
    return np.nan, int(b.argmax())


def routed(x: np.ndarray, n_rounds: int) -> np.ndarray:
    """Weights (token,) of the operator after so many rounds, for comparison."""
    one = torch.eye(x.shape[1], dtype=torch.float64)[None, None]
    tokens = Tokens(torch.as_tensor(x, dtype=torch.float64)[None, None])
    return DynamicRouting(n_rounds=n_rounds, n_outputs=1).matrix(tokens, {"votes": one})[0, 0, 0, 0].numpy()
