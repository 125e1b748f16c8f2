"""Softmax rows over Gaussian scores, drawn and measured: entropy, spikiness, log-odds of a relevant key, tilted mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class RowSetting:
    """``n_keys`` L; ``spreads``: standard deviations of the scores; ``n_rows``: rows that each replica averages over."""

    n_keys: int = 4096
    spreads: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    n_rows: int = 256
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "spreads", "n_rows", "n_replicas")
        require_at_least(self, 2, "n_keys")


@dataclass(frozen=True)
class RivalSetting:
    """``n_rivals``: keys beside the relevant one; ``spread`` of their logits; ``gap``: the relevant logit;
    ``inverse_temperatures``."""

    n_rivals: int = 4096
    spread: float = 1.0
    gap: float = 1.2
    inverse_temperatures: tuple[float, ...] = (0.5, 0.8, 1.2)
    n_rows: int = 256
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "spread", "gap", "inverse_temperatures", "n_rows", "n_replicas")
        require_at_least(self, 2, "n_rivals")


@simulation(name="score_statistics_rows.rows", block=16, reads=("n_keys", "spreads", "n_rows"))
def rows(setting: RowSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``entropy`` (nats) and ``spikiness`` 1 / (L sum p^2), means over the rows, shape (replica, spread).

    The same scores, multiplied, at every spread.
    """
    found: dict[str, list] = {"entropy": [], "spikiness": []}
    for seed in seeds:
        z = np.random.default_rng(seed).standard_normal((setting.n_rows, setting.n_keys))
        each = [_row(spread * z) for spread in setting.spreads]
        for name in found:
            found[name].append([row[name] for row in each])
    return {name: np.array(values) for name, values in found.items()}


@simulation(
    name="score_statistics_rows.rivals", block=16, reads=("n_rivals", "spread", "gap", "inverse_temperatures", "n_rows")
)
def rivals(setting: RivalSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``log_odds`` of the relevant key, and ``tilted_mean`` of the rivals' logits under softmax(tau z).

    Means over the rows, shape (replica, temperature).
    """
    log_odds, tilted = [], []
    for seed in seeds:
        z = setting.spread * np.random.default_rng(seed).standard_normal((setting.n_rows, setting.n_rivals))
        odds, means = [], []
        for tau in setting.inverse_temperatures:
            top = (tau * z).max(1, keepdims=True)
            weights = np.exp(tau * z - top)
            total = weights.sum(1)
            odds.append(np.mean(tau * setting.gap - top[:, 0] - np.log(total)))
            means.append(np.mean((weights * z).sum(1) / total))
        log_odds.append(odds)
        tilted.append(means)
    return {"log_odds": np.array(log_odds), "tilted_mean": np.array(tilted)}


def _row(scores: np.ndarray) -> dict[str, float]:
    top = scores.max(1, keepdims=True)
    weights = np.exp(scores - top)
    total = weights.sum(1)
    entropy = np.log(total) - ((scores - top) * weights).sum(1) / total
    spikiness = total**2 / (scores.shape[1] * np.square(weights).sum(1))
    return {"entropy": float(entropy.mean()), "spikiness": float(spikiness.mean())}
