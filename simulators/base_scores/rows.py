"""Rows of random dot-product attention: unit Gaussian queries and keys, one row per replica and draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class RowsSetting:
    """``n_rows`` queries on ``n_keys`` keys of width ``dim``; scores are ``score_std`` q . k / sqrt(dim), or without the root.

    ``divided``: whether the root divides.
    """

    dim: int = 128
    n_keys: int = 4096
    score_std: float = 1.0
    divided: bool = True
    n_rows: int = 32
    n_replicas: int = 48

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "n_keys", "score_std", "n_rows", "n_replicas")


@simulation(name="base_scores.rows", block=8)
def rows(setting: RowsSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Means over the rows of a replica, float64.

    ``participation (replica,)``: sum of squared weights; ``entropy``: in nats; ``largest``: the largest weight.
    """
    found: dict[str, list[float]] = {"participation": [], "entropy": [], "largest": []}
    scale = setting.score_std / (setting.dim**0.5 if setting.divided else 1.0)
    for stream in random_streams.generators(seeds, "data"):
        q = torch.randn(setting.n_rows, setting.dim, generator=stream, dtype=torch.float64)
        k = torch.randn(setting.n_keys, setting.dim, generator=stream, dtype=torch.float64)
        log_w = (scale * q @ k.T).log_softmax(-1)
        w = log_w.exp()
        found["participation"].append(w.square().sum(-1).mean().item())
        found["entropy"].append(-(w * log_w).sum(-1).mean().item())
        found["largest"].append(w.amax(-1).mean().item())
    return {name: np.array(values) for name, values in found.items()}
