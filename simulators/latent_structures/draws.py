"""Hard attention: parents drawn from softmax weights; and rows with an exact number of parents, too long to list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class DrawSetting:
    """A query with ``n_keys`` standard normal scores times ``spread``, values of width ``value_dim``.

    ``n_groups`` groups of ``group`` draws each.
    """

    n_keys: int = 8
    value_dim: int = 3
    spread: float = 1.5
    group: int = 16
    n_groups: int = 20_000
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "value_dim", "spread", "group", "n_groups", "n_replicas")
        require_at_least(self, 2, "n_keys")


@dataclass(frozen=True)
class LongRowSetting:
    """A row of ``n_keys`` scores, exponential of mean ``spread``, of which exactly ``n_parents`` are parents."""

    n_keys: int = 512
    n_parents: int = 128
    spread: float = 1.5
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_parents", "spread", "n_replicas")
        if not 0 < self.n_parents < self.n_keys:
            raise ValueError(f"n_parents={self.n_parents} must lie between 0 and n_keys={self.n_keys}")


@simulation(
    name="latent_structures.parent_draws", block=8, reads=("n_keys", "value_dim", "spread", "group", "n_groups")
)
def parent_draws(setting: DrawSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Mean squared distance from attention's output of ``one (replica,)`` draw and of the ``mean`` of a group of draws.

    With ``scores (replica, key)`` and ``values (replica, key, value)``.
    """
    found: dict[str, list] = {name: [] for name in ("one", "mean", "scores", "values")}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        scores = setting.spread * rng.standard_normal(setting.n_keys)
        values = rng.standard_normal((setting.n_keys, setting.value_dim))
        weights = softmax(scores)
        soft = weights @ values
        drawn = values[rng.choice(setting.n_keys, (setting.n_groups, setting.group), p=weights)]
        one = np.square(drawn - soft).sum(-1).mean()
        mean = np.square(drawn.mean(1) - soft).sum(-1).mean()
        for name, x in {"one": one, "mean": mean, "scores": scores, "values": values}.items():
            found[name].append(x)
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="latent_structures.long_rows", block=4, reads=("n_keys", "n_parents", "spread"))
def long_rows(setting: LongRowSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``marginals (replica, key)`` of exactly so many parents, keys by rising score, by sums over sets from both ends.

    Sums are kept in the log domain: head (keys, parents among the first), tail alike. With ``scores (replica, key)``.
    """
    found: dict[str, list] = {"marginals": [], "scores": []}
    n, r = setting.n_keys, setting.n_parents
    for seed in seeds:
        scores = np.sort(setting.spread * np.random.default_rng(seed).exponential(size=n))
        head, tail = _log_sums(scores, r), _log_sums(scores[::-1], r)[::-1]
        both = head[:-1, :r] + tail[1:, :r][:, ::-1]  # a parents before key j, r - 1 - a after it
        top = both.max(1)
        log = scores + top + np.log(np.exp(both - top[:, None]).sum(1))
        found["marginals"].append(np.exp(log - head[-1, r]))
        found["scores"].append(scores)
    return {name: np.array(values) for name, values in found.items()}


def _log_sums(scores: np.ndarray, r: int) -> np.ndarray:
    """(keys + 1, r + 1): log of the elementary symmetric polynomials of the first keys."""
    sums = np.full((len(scores) + 1, r + 1), -np.inf)
    sums[0, 0] = 0.0
    for k, score in enumerate(scores):
        sums[k + 1, 0] = 0.0
        sums[k + 1, 1:] = np.logaddexp(sums[k, 1:], sums[k, :-1] + score)
    return sums
