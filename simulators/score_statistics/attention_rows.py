"""Rows of softmax and of linear log-normal attention over Gaussian queries and keys, drawn and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class AttentionRowSetting:
    """``n_keys`` N, head size ``dim`` d; ``spreads`` sigma of the scores; ``n_rows``: rows, each with keys of its own, that a
    replica averages over."""

    n_keys: int = 1024
    dim: int = 64
    spreads: tuple[float, ...] = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
    n_rows: int = 1000
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "spreads", "n_rows", "n_replicas")
        require_at_least(self, 2, "n_keys")


@dataclass(frozen=True)
class LogNormalRowSetting:
    """``n_keys`` and head size ``dim`` d; ``scales`` s: queries and keys enter the exponents with variance s;
    ``n_rows``: rows, each with keys of its own, of a replica."""

    n_keys: int = 8192
    dim: int = 64
    scales: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    n_rows: int = 16
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "scales", "n_rows", "n_replicas")
        require_at_least(self, 3, "n_keys")


@simulation(name="score_statistics_attention_rows.softmax_rows", block=8, reads=("n_keys", "dim", "spreads", "n_rows"))
def softmax_rows(
    setting: AttentionRowSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``entropy`` (nats) and ``relative_variance`` n sum p^2 - 1 of rows, means over rows, shape (replica, spread).

    Given its query a row's scores are independent normal numbers of standard deviation sigma |q| / sqrt(d), and so they
    are drawn. The same numbers, multiplied, at every spread.
    """
    found: dict[str, list] = {"entropy": [], "relative_variance": []}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        queries = rng.standard_normal((setting.n_rows, setting.dim))
        z = np.linalg.norm(queries, axis=1, keepdims=True) / np.sqrt(setting.dim)
        z = z * rng.standard_normal((setting.n_rows, setting.n_keys))
        rows: dict[str, list] = {name: [] for name in found}
        for spread in setting.spreads:
            scores = spread * (z - z.max(1, keepdims=True))
            weights = np.exp(scores)
            total = weights.sum(1)
            rows["entropy"].append(np.mean(np.log(total) - (scores * weights).sum(1) / total))
            rows["relative_variance"].append(np.mean(setting.n_keys * np.square(weights).sum(1) / total**2) - 1)
        for name in found:
            found[name].append(rows[name])
    return {name: np.array(values) for name, values in found.items()}


@simulation(
    name="score_statistics_attention_rows.log_normal_rows", block=8, reads=("n_keys", "dim", "scales", "n_rows")
)
def log_normal_rows(
    setting: LogNormalRowSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Rows of weights sum_c e^(a q_c + b k_c), a = b = sqrt(s): over keys, ``log_variance`` and ``log_third`` (third central
    moment) of ln P, unbiased, and ``relative_variance``, the variance of P over its squared mean; (replica, scale, row).

    ``queries (replica, row, d)``: the standard normal queries.
    """
    found: dict[str, list] = {name: [] for name in ("log_variance", "log_third", "relative_variance", "queries")}
    n = setting.n_keys
    for seed in seeds:
        rng = np.random.default_rng(seed)
        queries = rng.standard_normal((setting.n_rows, setting.dim))
        table: dict[str, list] = {name: [] for name in ("log_variance", "log_third", "relative_variance")}
        for query in queries:
            keys = rng.standard_normal((n, setting.dim))
            x = np.stack([np.exp(np.sqrt(s) * keys) @ np.exp(np.sqrt(s) * query) for s in setting.scales])
            logs = np.log(x)
            deviation = logs - logs.mean(1, keepdims=True)
            table["log_variance"].append(logs.var(1, ddof=1))
            table["log_third"].append((deviation**3).sum(1) * n / ((n - 1) * (n - 2)))
            table["relative_variance"].append(x.var(1, ddof=1) / x.mean(1) ** 2)
        for name, values in table.items():
            found[name].append(np.array(values).T)
        found["queries"].append(queries)
    return {name: np.array(values) for name, values in found.items()}
