"""Rows weighted by the exponential series: over normal scores, over standardised tokens, and over scores up to a bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


def series(scores: np.ndarray, order: int) -> np.ndarray:
    """The exponential series up to an order."""
    total = term = np.ones_like(scores)
    for k in range(1, order + 1):
        term = term * scores / k
        total = total + term
    return total


def standardised(x: np.ndarray) -> np.ndarray:
    """Tokens less their mean over the features, divided by their standard deviation over the features."""
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True))


def _shares(weights: np.ndarray) -> np.ndarray:
    weights = np.maximum(weights, 0.0)
    return weights / weights.sum(-1, keepdims=True)


def _softmax(scores: np.ndarray) -> np.ndarray:
    return _shares(np.exp(scores - scores.max(-1, keepdims=True)))


@dataclass(frozen=True)
class RowSetting:
    """``n_rows`` rows of ``n_keys`` normal scores of standard deviation ``score_std``; ``orders`` p, negative weights cut."""

    n_keys: int = 20_000
    score_std: float = 1.0
    orders: tuple[int, ...] = (1, 2, 4)
    n_rows: int = 16
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "score_std", "orders", "n_rows", "n_replicas")
        require_at_least(self, 2, "n_keys")


@simulation(name="polynomial_attention.series_rows", block=8)
def rows(setting: RowSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Means over rows: ``participation`` n sum P^2, ``deficit`` ln n - H and ``distance`` sum |P - softmax| (replica, order).

    ``softmax_deficit`` (replica,); ``negative``: share of scores with 1 + s < 0; ``misordered``: share of neighbouring pairs of
    keys whose order-2 weights are in the opposite order of their scores.
    """
    names = "participation", "deficit", "distance", "softmax_deficit", "negative", "misordered"
    found: dict[str, list] = {name: [] for name in names}
    n = setting.n_keys
    for seed in seeds:
        s = setting.score_std * np.random.default_rng(seed).standard_normal((setting.n_rows, n))
        full = _softmax(s)
        each = [_shares(series(s, p)) for p in setting.orders]
        found["participation"].append([n * (P**2).sum(1).mean() for P in each])
        found["deficit"].append([np.log(n) + special.xlogy(P, P).sum(1).mean() for P in each])
        found["distance"].append([np.abs(P - full).sum(1).mean() for P in each])
        found["softmax_deficit"].append(np.log(n) + special.xlogy(full, full).sum(1).mean())
        found["negative"].append((series(s, 1) < 0).mean())
        first, second = s[:, 0::2][:, : n // 2], s[:, 1::2]
        swapped = (first < second) != (series(first, 2) < series(second, 2))
        found["misordered"].append(swapped.mean())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class TokenRowSetting:
    """``n_draws`` Gaussian queries, each with ``n_keys`` Gaussian keys of its own, ``dim`` features, standardised; s =
    q.k/sqrt d."""

    dim: int = 8
    n_keys: int = 10_000
    n_draws: int = 8
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_draws", "n_replicas")
        require_at_least(self, 3, "dim", "n_keys")


@simulation(name="polynomial_attention.token_rows", block=8)
def token_rows(setting: TokenRowSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``participation`` n sum P^2 at order 2, ``negative`` share of 1 + s < 0, ``variance`` of scores: means over draws,
    (replica,)."""
    found: dict[str, list] = {"participation": [], "negative": [], "variance": []}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        q = standardised(rng.standard_normal((setting.n_draws, setting.dim)))
        k = standardised(rng.standard_normal((setting.n_draws, setting.n_keys, setting.dim)))
        s = np.einsum("rd,rnd->rn", q, k) / setting.dim**0.5
        P = _shares(series(s, 2))
        found["participation"].append(setting.n_keys * (P**2).sum(1).mean())
        found["negative"].append((series(s, 1) < 0).mean())
        found["variance"].append((s**2).mean())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class BoundedRowSetting:
    """Scores up to ``score_bound`` in size, series of ``order``.

    A row of two kinds: ``n_high`` of ``n_keys`` keys at ``at_high``, the others at ``at_low``; and ``n_rows`` rows of
    uniform scores.
    """

    score_bound: float = 1.0
    order: int = 2
    n_keys: int = 2000
    n_high: int = 1000
    at_high: float = -1.0
    at_low: float = 1.0
    n_rows: int = 200
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "score_bound", "order", "n_high", "n_rows", "n_replicas")
        if not self.n_high < self.n_keys:
            raise ValueError(f"n_high={self.n_high} leaves no other key; use less than n_keys={self.n_keys}")


@simulation(name="polynomial_attention.bounded_rows", block=8)
def bounded_rows(
    setting: BoundedRowSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``two_kinds`` (replica,): sum |P - softmax| of that row; ``largest`` (replica,): the largest over the uniform rows."""
    found: dict[str, list] = {"two_kinds": [], "largest": []}
    planted = np.where(np.arange(setting.n_keys) < setting.n_high, setting.at_high, setting.at_low)[None]
    for seed in seeds:
        drawn = np.random.default_rng(seed).uniform(-1, 1, (setting.n_rows, setting.n_keys)) * setting.score_bound
        for name, s in (("two_kinds", planted), ("largest", drawn)):
            found[name].append(np.abs(_shares(series(s, setting.order)) - _softmax(s)).sum(1).max())
    return {name: np.array(values) for name, values in found.items()}
