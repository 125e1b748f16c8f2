"""Attention maps over Gaussian queries and keys: moments of scores and weights, spectra, weight on a token's own key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.operators.linear_variants.log_normal import LogNormal
from attnlab.kernels.operators.operator import QKV
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class ScoreSetting:
    """``n`` queries and keys of width ``dim``; coordinate c of queries has variance u_c, that of keys w_c.

    ``slopes``: pairs (a, b), one for each profile: u_c and w_c run geometrically over the coordinates, by factors e^a
    and e^b from first to last; their products have the mean ``spread`` squared.
    """

    n: int = 1024
    dim: int = 64
    slopes: tuple[tuple[float, float], ...] = ((0.0, 0.0), (2.0, 2.0), (2.0, -1.0))
    spread: float = 1.0
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 3, "n", "dim")
        require_positive(self, "spread", "n_replicas")


@dataclass(frozen=True)
class MapSetting:
    """``n`` by ``n`` maps of head size ``dim``, with scores of standard deviation ``spreads`` (rising).

    ``weights``: "softmax" of independent queries and keys, "tied" softmax of K = Q, or "log_normal", linear log-normal
    attention whose exponents have variance s = spreads squared.
    """

    n: int = 256
    dim: int = 64
    spreads: tuple[float, ...] = (0.25, 0.5, 1.0, 1.5, 2.0)
    weights: str = "softmax"
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 3, "n")
        require_positive(self, "dim", "spreads", "n_replicas")
        require_one_of(self, "weights", ("softmax", "tied", "log_normal"))
        if list(self.spreads) != sorted(set(self.spreads)):
            raise ValueError(f"spreads={self.spreads!r} must rise; sort them and leave each once")


@simulation(name="score_statistics_attention_maps.scores", block=8, reads=("n", "dim", "slopes", "spread"))
def scores(setting: ScoreSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Of the scores of one map, shape (replica, profile): ``variance`` (mean square), ``kurtosis``, and ``mean_log_weight``, the
    mean of ln P over all entries of their softmax."""
    found: dict[str, list] = {"variance": [], "kurtosis": [], "mean_log_weight": []}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        q, k = rng.standard_normal((2, setting.n, setting.dim))
        rows: dict[str, list] = {name: [] for name in found}
        for profile in range(len(setting.slopes)):
            u, w = coordinate_variances(setting, profile)
            s = (q * np.sqrt(u)) @ (k * np.sqrt(w)).T / np.sqrt(setting.dim)
            square = np.mean(s**2)
            rows["variance"].append(square)
            rows["kurtosis"].append(np.mean(s**4) / square**2)
            top = s.max(1, keepdims=True)
            rows["mean_log_weight"].append(np.mean(s - top) - np.mean(np.log(np.exp(s - top).sum(1))))
        for name in found:
            found[name].append(rows[name])
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="score_statistics_attention_maps.spectra", block=4, reads=("n", "dim", "spreads", "weights"))
def spectra(setting: MapSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Of one map, shape (replica, spread): ``second`` |lambda_2|, ``entropy`` (nats) and ``relative_variance`` n^2 Var(P), means
    over rows. The same queries and keys, multiplied, at every spread."""
    found: dict[str, list] = {"second": [], "entropy": [], "relative_variance": []}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        q = rng.standard_normal((setting.n, setting.dim))
        k = q if setting.weights == "tied" else rng.standard_normal((setting.n, setting.dim))
        rows: dict[str, list] = {name: [] for name in found}
        for spread in setting.spreads:
            p = log_normal_map(q, k, spread**2) if setting.weights == "log_normal" else softmax_map(q, k, spread)
            rows["second"].append(np.abs(np.linalg.eigvals(p - 1 / setting.n)).max())
            rows["entropy"].append(-np.mean(np.sum(p * np.log(np.maximum(p, 1e-300)), 1)))
            rows["relative_variance"].append(setting.n * np.mean(np.square(p).sum(1)) - 1)
        for name in found:
            found[name].append(rows[name])
    return {name: np.array(values) for name, values in found.items()}


def coordinate_variances(setting: ScoreSetting, profile: int) -> tuple[np.ndarray, np.ndarray]:
    """u and w, shape (d,), of the profile with this number."""
    x = (np.arange(setting.dim) + 0.5) / setting.dim - 0.5
    u, w = (np.exp(slope * x) for slope in setting.slopes[profile])
    size = setting.spread / np.sqrt(np.mean(u * w))
    return size * u, size * w


def softmax_map(q: np.ndarray, k: np.ndarray, spread: float) -> np.ndarray:
    """Softmax of ``spread`` q . k / sqrt(d), queries and keys of shape (n, d)."""
    s = spread * q @ k.T / np.sqrt(q.shape[1])
    w = np.exp(s - s.max(1, keepdims=True))
    return w / w.sum(1, keepdims=True)


def log_normal_map(q: np.ndarray, k: np.ndarray, scale: float) -> np.ndarray:
    """The map of linear log-normal attention at a = b = sqrt(scale), by the operator of the atlas."""
    a = float(np.sqrt(scale))
    inputs = QKV(torch.from_numpy(q), torch.from_numpy(k), torch.zeros(len(k), 1, dtype=torch.float64))
    return LogNormal(query_scale=a, key_scale=a).matrix(inputs, {}).numpy()


@dataclass(frozen=True)
class OwnKeySetting:
    """``n`` tokens whose keys are their queries, of width ``dim``; scores of other tokens have standard deviation ``spread``.

    ``scale`` s: variance of the exponents of linear log-normal attention; ``block``: length of the diagonal blocks.
    """

    n: int = 512
    dim: int = 64
    spread: float = 1.0
    scale: float = 2.4
    block: int = 64
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 3, "n")
        require_positive(self, "dim", "spread", "scale", "block", "n_replicas")
        if self.n % self.block:
            raise ValueError(f"block={self.block!r} does not divide n={self.n!r}; use a divisor of n")


@simulation(name="score_statistics_attention_maps.own_keys", block=8, reads=("n", "dim", "spread", "scale", "block"))
def own_keys(setting: OwnKeySetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Mean weight of a token on its own key ``(replica,)``: ``softmax``, ``log_normal``, and ``with_blocks``, the mean of the
    latter and softmax within blocks. ``queries (replica, n, d)``: the standard normal queries."""
    found: dict[str, list] = {name: [] for name in ("softmax", "log_normal", "with_blocks", "queries")}
    for seed in seeds:
        q = np.random.default_rng(seed).standard_normal((setting.n, setting.dim))
        linear = np.diag(log_normal_map(q, q, setting.scale)).mean()
        blocks = q.reshape(-1, setting.block, setting.dim)
        near = np.mean([np.diag(softmax_map(part, part, setting.spread)).mean() for part in blocks])
        found["softmax"].append(np.diag(softmax_map(q, q, setting.spread)).mean())
        found["log_normal"].append(linear)
        found["with_blocks"].append((linear + near) / 2)
        found["queries"].append(q)
    return {name: np.array(values) for name, values in found.items()}
