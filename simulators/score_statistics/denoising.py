"""Four estimators of a mean among marked noise tokens, run on the same draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnlab.simulators.ensemble.setting import checked, require_inside, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class DenoisingSetting:
    """``n_tokens`` L, each a signal token with probability ``share`` r; ``noise_std`` sigma of signal tokens.

    ``dim``: coordinates; ``n_tasks``: tasks that each replica averages over.
    """

    n_tokens: int = 64
    share: float = 0.25
    noise_std: float = 0.5
    dim: int = 8
    n_tasks: int = 16000
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "noise_std", "dim", "n_tasks", "n_replicas")
        require_inside(self, 0.0, 1.0, "share")


@simulation(
    name="score_statistics_denoising.denoise", block=8, reads=("n_tokens", "share", "noise_std", "dim", "n_tasks")
)
def denoise(setting: DenoisingSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Mean squared errors per coordinate ``(replica,)``: ``uniform``, ``gated`` (mean of the signal tokens, 0 if there is none),
    ``unnormalised`` (their sum over r L), ``bayes`` (their sum over k + sigma^2)."""
    found: dict[str, list] = {"uniform": [], "gated": [], "unnormalised": [], "bayes": []}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        shape = (setting.n_tasks, setting.n_tokens, setting.dim)
        mean = rng.standard_normal((setting.n_tasks, 1, setting.dim))
        signal = (rng.random(shape[:2]) < setting.share)[..., None]
        noise = rng.standard_normal(shape)
        x = np.where(signal, mean + setting.noise_std * noise, noise)
        k, total = signal.sum(1), (x * signal).sum(1)
        estimates = {
            "uniform": x.mean(1),
            "gated": total / np.maximum(k, 1),
            "unnormalised": total / (setting.share * setting.n_tokens),
            "bayes": total / (k + setting.noise_std**2),
        }
        for name, estimate in estimates.items():
            found[name].append(np.mean((estimate - mean[:, 0]) ** 2))
    return {name: np.array(values) for name, values in found.items()}
