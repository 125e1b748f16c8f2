"""Attention scores before training: scaled products of random queries and keys.

Queries and keys have independent standard normal entries, as unit-variance activations give them through matrices with
entries of variance ``1 / width`` (Vaswani et al. 2017, section 3.2.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class ScoreSetting:
    """``dim``: entries of a query; ``n_pairs``: independent query-key pairs in a replica; the scale is ``dim^(-1/2)``."""

    dim: int = 8
    n_pairs: int = 100_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "n_pairs", "n_replicas")


@simulation(name="score_initialisation.random_scores", block=8)
def random_scores(setting: ScoreSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Second and fourth moments of the scores ``q . k / sqrt(dim)``.

    Returns ``variance (replica,)``, the mean square (the mean is 0 by symmetry), and ``fourth (replica,)``, the mean
    fourth power, over the pairs of each replica. Runs on the CPU whatever the device.
    """
    variance, fourth = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        q, k = rng.standard_normal((2, setting.n_pairs, setting.dim))
        scores = (q * k).sum(-1) / setting.dim**0.5  # (pair,)
        variance.append(np.mean(scores**2))
        fourth.append(np.mean(scores**4))
    return {"variance": np.array(variance), "fourth": np.array(fourth)}
