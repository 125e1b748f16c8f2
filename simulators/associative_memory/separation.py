"""Can a linear map give every key its sign? Decided by linear programming, for all signs of random keys."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation

MOST = 12  # keys whose sign patterns are all tried


@dataclass(frozen=True)
class SeparationSetting:
    """``n_pairs`` Gaussian keys in ``dim`` dimensions."""

    dim: int = 4
    n_pairs: int = 8
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "n_pairs", "n_replicas")
        if self.n_pairs > MOST:
            raise ValueError(f"n_pairs={self.n_pairs!r} has 2^{self.n_pairs} sign patterns to try; use at most {MOST}")


@simulation(name="associative_memory_separation.dichotomies", block=4)
def dichotomies(
    setting: SeparationSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``dichotomies (replica,)``: sign patterns s for which some w has sign(w . k_i) = s_i for all i, out of 2^n_pairs.

    A program with margin 1 decides each pattern; the half with s_1 = 1 is tried, as -w gives the other.
    """
    counts = []
    for seed in seeds:
        K = np.random.default_rng(seed).normal(size=(setting.n_pairs, setting.dim))
        realised = 0
        for rest in itertools.product((-1.0, 1.0), repeat=setting.n_pairs - 1):
            program = linprog(
                np.zeros(setting.dim),
                A_ub=-np.array([1.0, *rest])[:, None] * K,
                b_ub=-np.ones(setting.n_pairs),
                bounds=(None, None),
            )
            realised += program.status == 0
        counts.append(2 * realised)
    return {"dichotomies": np.array(counts)}
