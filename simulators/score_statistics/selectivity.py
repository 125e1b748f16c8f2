"""The least matrix that gives two queries two logit gaps, found by least squares; weights of explicit rows of logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnlab.simulators.ensemble.setting import checked, require_at_least, require_inside, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class SelectivitySetting:
    """``dim``: of queries and keys; ``angles`` between the unit queries; ``gaps``: pairs (G_a, G_b) of logit gaps."""

    dim: int = 8
    angles: tuple[float, ...] = (1.5, 1.0, 0.3, 0.1, 0.02)
    gaps: tuple[tuple[float, float], ...] = ((4.0, 0.0), (4.0, 2.0), (4.0, -1.0), (3.0, 3.0))
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 2, "dim")
        require_inside(self, 0.0, np.pi, "angles")
        require_positive(self, "n_replicas")


@dataclass(frozen=True)
class DilutionSetting:
    """``lengths`` of the rows; one logit is ``gap`` and all others 0; ``inverse_temperatures``: one for each length."""

    lengths: tuple[int, ...] = (16, 64, 256, 1024, 4096, 65536)
    gap: float = 4.0
    inverse_temperatures: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 2, "lengths")
        require_positive(self, "gap", "inverse_temperatures", "n_replicas")
        if len(self.lengths) != len(self.inverse_temperatures):
            raise ValueError(
                f"inverse_temperatures={self.inverse_temperatures!r} must hold one for each of the {len(self.lengths)} lengths"
            )


@simulation(name="score_statistics_selectivity.least_norms", block=8, reads=("dim", "angles", "gaps"))
def least_norms(
    setting: SelectivitySetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``norm (replica, angle, pair)``: Frobenius norm of the least W with both gaps.

    ``with_temperature``: of the least W with the gap of query a only. ``contrast (replica,)``: norm of the difference of two
    random keys.
    """
    norm, alone, contrast = [], [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        difference = rng.standard_normal(setting.dim) - rng.standard_normal(setting.dim)
        basis = np.linalg.qr(rng.standard_normal((setting.dim, 2)))[0].T
        contrast.append(np.linalg.norm(difference))
        tables: tuple[list, list] = ([], [])
        for angle in setting.angles:
            queries = np.array([basis[0], np.cos(angle) * basis[0] + np.sin(angle) * basis[1]])
            rows = np.stack([np.outer(difference, query).ravel() for query in queries])
            tables[0].append([np.linalg.norm(np.linalg.lstsq(rows, np.array(pair))[0]) for pair in setting.gaps])
            tables[1].append(
                [np.linalg.norm(np.linalg.lstsq(rows[:1], np.array(pair[:1]))[0]) for pair in setting.gaps]
            )
        norm.append(tables[0])
        alone.append(tables[1])
    return {"norm": np.array(norm), "with_temperature": np.array(alone), "contrast": np.array(contrast)}


@simulation(name="score_statistics_selectivity.dilution", block=1, reads=("lengths", "gap", "inverse_temperatures"))
def dilution(setting: DilutionSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``weight (replica, length)``: softmax weight of the relevant key in a row of explicit logits."""
    weights = []
    for length, tau in zip(setting.lengths, setting.inverse_temperatures, strict=True):
        logits = np.zeros(length)
        logits[length // 2] = tau * setting.gap
        p = np.exp(logits - logits.max())
        weights.append(p[length // 2] / p.sum())
    return {"weight": np.tile(weights, (len(seeds), 1))}
