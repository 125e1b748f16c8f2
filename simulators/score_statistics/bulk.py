"""The mass of far keys against its estimate from two moments: sums over Gaussian keys, decisions, clusters, freezing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class SumSetting:
    """``n_keys`` n; ``spreads`` s of the scores, also beyond sqrt(2 log n); ``n_rows``: rows that each replica averages over."""

    n_keys: int = 1024
    spreads: tuple[float, ...] = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0)
    n_rows: int = 2000
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "spreads", "n_rows", "n_replicas")
        require_at_least(self, 2, "n_keys")


@dataclass(frozen=True)
class BulkSetting:
    """Correlated Gaussian keys of width ``dim``: eigenvalues of their covariance fall like rank to the power ``-decay``.

    ``n_bulk`` far keys for each query; moments are estimated from ``n_fit`` other keys, anew for each query, so that queries
    are independent. Queries have the length at which the scores' spread is ``spread``. Each query decides
    ``n_margins`` times: margins
    are uniform in [-``half_width``, ``half_width``] around the threshold, by the mass of the local keys.
    """

    dim: int = 8
    decay: float = 1.0
    n_bulk: int = 2048
    n_fit: int = 1024
    spread: float = 1.0
    half_width: float = 0.4
    n_margins: int = 200
    n_queries: int = 1600
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "spread", "half_width", "n_margins", "n_queries", "n_replicas")
        require_at_least(self, 2, "n_bulk", "n_fit")


@dataclass(frozen=True)
class ClusterSetting:
    """Bulk keys from two clusters, the rarer with weight ``rare``; ``separations`` of the mean scores, both of variance 1."""

    rare: float = 0.1
    separations: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0)
    n_keys: int = 65536
    n_replicas: int = 64

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_keys", "n_replicas")
        if not 0 < self.rare < 1:
            raise ValueError(f"rare={self.rare!r} must lie between 0 and 1")


@simulation(name="score_statistics_bulk.log_sums", block=16, reads=("n_keys", "spreads", "n_rows"))
def log_sums(setting: SumSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Of log (1/n) sum e^(s z), over rows: ``mean`` and ``std (replica, spread)``; ``entropy`` and ``participation``
    of softmax rows.

    The same scores, multiplied, at every spread.
    """
    found: dict[str, list] = {"mean": [], "std": [], "entropy": [], "participation": []}
    for seed in seeds:
        z = np.random.default_rng(seed).standard_normal((setting.n_rows, setting.n_keys))
        rows: dict[str, list] = {name: [] for name in found}
        for spread in setting.spreads:
            scores = spread * z
            top = scores.max(1, keepdims=True)
            weights = np.exp(scores - top)
            total = weights.sum(1)
            log_mean = top[:, 0] + np.log(total) - np.log(setting.n_keys)
            rows["mean"].append(log_mean.mean())
            rows["std"].append(log_mean.std(ddof=1))
            rows["entropy"].append(np.mean(np.log(total) - ((scores - top) * weights).sum(1) / total))
            rows["participation"].append(np.mean(np.square(weights).sum(1) / total**2))
        for name in found:
            found[name].append(rows[name])
    return {name: np.array(values) for name, values in found.items()}


@simulation(
    name="score_statistics_bulk.decisions",
    block=8,
    reads=("dim", "decay", "n_bulk", "n_fit", "spread", "half_width", "n_margins", "n_queries"),
)
def decisions(setting: BulkSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``bias`` and ``std (replica,)`` of log A_B less its estimate log n_B + m + v / 2, over queries.

    ``flips``: share of decisions (log A_L - log A_B above a threshold) that the estimate changes.
    """
    bias, std, flips = [], [], []
    axes = np.arange(1, setting.dim + 1.0) ** (-setting.decay / 2)  # standard deviations along the principal axes
    for seed in seeds:
        rng = np.random.default_rng(seed)
        errors = np.empty(setting.n_queries)
        for k in range(setting.n_queries):
            query = rng.standard_normal(setting.dim)
            query *= setting.spread * np.sqrt(setting.dim) / np.linalg.norm(query * axes)
            centre = rng.standard_normal(setting.dim)
            bulk, fit = (centre + axes * rng.standard_normal((n, setting.dim)) for n in (setting.n_bulk, setting.n_fit))
            scores = bulk @ query / np.sqrt(setting.dim)
            exact = scores.max() + np.log(np.exp(scores - scores.max()).sum())
            m, v = fit.mean(0) @ query / np.sqrt(setting.dim), query @ np.cov(fit.T) @ query / setting.dim
            errors[k] = exact - (np.log(setting.n_bulk) + m + v / 2)
        margin = rng.uniform(-setting.half_width, setting.half_width, (setting.n_queries, setting.n_margins))
        bias.append(errors.mean())
        std.append(errors.std(ddof=1))
        flips.append(np.mean((margin > 0) != (margin + errors[:, None] > 0)))
    return {"bias": np.array(bias), "std": np.array(std), "flips": np.array(flips)}


@simulation(name="score_statistics_bulk.clusters", block=16, reads=("rare", "separations", "n_keys"))
def clusters(setting: ClusterSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``log_mean (replica, separation)``: log (1/n) sum e^s over keys of two clusters, whose sizes are fixed at their shares."""
    made = []
    for seed in seeds:
        z = np.random.default_rng(seed).standard_normal(setting.n_keys)
        rare = np.arange(setting.n_keys) < round(setting.rare * setting.n_keys)
        made.append([np.log(np.mean(np.exp(z + separation * rare))) for separation in setting.separations])
    return {"log_mean": np.array(made)}


@dataclass(frozen=True)
class DecisionCostSetting:
    """``cells``: (width d, local keys |L|, far keys n_B) of the decisions that are counted."""

    cells: tuple[tuple[int, int, int], ...] = ((8, 16, 256), (64, 144, 1024), (64, 144, 65536), (128, 528, 4096))
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "cells", "n_replicas")


@simulation(name="score_statistics_bulk.decision_cost", block=1, reads=("cells",))
def decision_cost(
    setting: DecisionCostSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``multiply_adds (replica, cell)`` of one decision from the moments, and of ``exact`` sums over all keys,
    counted by torch."""
    from torch.utils.flop_counter import FlopCounterMode  # imports Triton

    counts = []
    for dim, n_local, n_bulk in setting.cells:
        query, mean, covariance = torch.ones(1, dim), torch.ones(dim, 1), torch.ones(dim, dim)
        local, bulk = torch.ones(dim, n_local), torch.ones(dim, n_bulk)
        counted = []
        for keys, moments in ((local, True), (torch.cat([local, bulk], 1), False)):
            with FlopCounterMode(display=False) as counter:
                query @ keys
                if moments:
                    query @ mean, query @ covariance @ query.T
            counted.append(counter.get_total_flops() // 2)
        counts.append(counted)
    table = np.array(counts, dtype=np.int64)
    return {name: np.tile(table[:, k], (len(seeds), 1)) for k, name in enumerate(("multiply_adds", "exact"))}
