"""Can a linear map give every key its sign? Decided by linear programming on random keys and signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class SeparationSetting:
    """``n_pairs`` Gaussian keys in ``dim`` dimensions with random signs."""

    dim: int = 5
    n_pairs: int = 10
    n_draws: int = 100
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "n_pairs", "n_draws", "n_replicas")


@simulation(name="associative_memory_separation.separability", block=4)
def separability(
    setting: SeparationSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``separable (replica,)``: share of draws in which some w has sign(w . k_i) = s_i for all i (a program with margin 1)."""
    shares = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        solved = 0
        for _ in range(setting.n_draws):
            K, s = rng.normal(size=(setting.n_pairs, setting.dim)), rng.choice([-1.0, 1.0], setting.n_pairs)
            program = linprog(
                np.zeros(setting.dim), A_ub=-s[:, None] * K, b_ub=-np.ones(setting.n_pairs), bounds=(None, None)
            )
            solved += program.status == 0
        shares.append(solved / setting.n_draws)
    return {"separable": np.array(shares)}
