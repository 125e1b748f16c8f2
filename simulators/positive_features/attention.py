"""Attention with random features on fixed queries, keys and values: errors of outputs, signs of row sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.positive_features.draws import rows
from attnlab.simulators.positive_features.features import features

ATTENTION_KINDS = ("trigonometric", "positive")


@dataclass(frozen=True)
class AttentionSetting:
    """``n_queries``, ``n_keys``, ``dim``, ``n_values`` (width of the values); ``spread``: standard deviation of the entries of q
    and k; ``numbers_of_features``; ``orthogonal`` rows within blocks; ``n_draws`` of the rows per replica; ``data``: seed of q,
    k and v, the same for all replicas."""

    n_queries: int = 8
    n_keys: int = 32
    dim: int = 16
    n_values: int = 4
    spread: float = 0.3
    numbers_of_features: tuple[int, ...] = (256,)
    orthogonal: bool = False
    n_draws: int = 384
    data: int = 0
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(
            self, "n_queries", "n_keys", "dim", "n_values", "spread", "numbers_of_features", "n_draws", "n_replicas"
        )


def given(setting: AttentionSetting) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Queries, keys and values of a setting."""
    rng = np.random.default_rng(setting.data)
    q = setting.spread * rng.standard_normal((setting.n_queries, setting.dim))
    k = setting.spread * rng.standard_normal((setting.n_keys, setting.dim))
    return q, k, rng.standard_normal((setting.n_keys, setting.n_values))


READS = ("n_queries", "n_keys", "dim", "n_values", "spread", "numbers_of_features", "orthogonal", "n_draws", "data")


@simulation(name="positive_features_attention.outputs", block=2, reads=READS)
def outputs(setting: AttentionSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``error (replica, kind, m)``: mean over draws of the squared error of all outputs together; kinds as ATTENTION_KINDS.

    ``negative (replica, kind, m)``: share of row sums at or below 0. ``size (replica,)``: squared length of the exact outputs.
    """
    q, k, v = given(setting)
    x, y = q / setting.dim**0.25, k / setting.dim**0.25
    A = np.exp(x @ y.T)
    exact = A @ v / A.sum(1, keepdims=True)
    errors, negative = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        found = np.zeros((2, len(ATTENTION_KINDS), len(setting.numbers_of_features)))
        for column, m in enumerate(setting.numbers_of_features):
            W = rows(rng, setting.n_draws, m, setting.dim, orthogonal=setting.orthogonal)
            for row, kind in enumerate(ATTENTION_KINDS):
                phi, psi = features(x, W, kind), features(y, W, kind)  # (draw, token, columns)
                read = psi.swapaxes(1, 2) @ np.concatenate([v, np.ones((len(v), 1))], 1)
                both = phi @ read
                with np.errstate(divide="ignore", invalid="ignore"):
                    away = both[..., :-1] / both[..., -1:] - exact
                found[:, row, column] = (away**2).sum((1, 2)).mean(), (both[..., -1] <= 0).mean()
        errors.append(found[0])
        negative.append(found[1])
    size = np.full(len(seeds), (exact**2).sum())
    return {"error": np.array(errors), "negative": np.array(negative), "size": size}
