"""Softmax over random subsets of the keys of one row: outputs drawn by the operator, all subsets in turn, unequal chances."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.operators.operator import QKV
from attnlab.kernels.operators.sparse_selection.random_keys import RandomKeys
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class SubsetSetting:
    """A row of ``n_keys`` normal scores of standard deviation ``spread`` with ``n_values`` normal values each, from seed ``data``
    (common to all replicas); subsets of n / ``reduction`` keys, ``n_draws`` of a replica; ``ensembles``: sizes of averages."""

    n_keys: int = 256
    spread: float = 1.0
    reduction: int = 8
    n_values: int = 8
    ensembles: tuple[int, ...] = (1, 4, 64, 256)
    n_draws: int = 1024
    data: int = 0
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "spread", "n_values", "ensembles", "n_replicas")
        require_at_least(self, 3, "n_keys")
        require_at_least(self, 1, "reduction")
        require_at_least(self, 2, "n_draws")


@dataclass(frozen=True)
class ListedSetting:
    """All subsets of n / ``reduction`` of ``n_keys`` keys, for a row of each replica's own scores (``spread``) and ``n_values``
    values."""

    n_keys: int = 18
    reduction: int = 2
    spread: float = 0.35
    n_values: int = 8
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "spread", "n_values", "n_replicas")
        require_at_least(self, 3, "n_keys")
        require_at_least(self, 2, "reduction")


@dataclass(frozen=True)
class LocalSetting:
    """``n_keys`` at distances 0, 1, ... of the query, kept independently with chance (1 + distance)^-``decay``, at least
    ``floor``; scores of ``spread``, one value per key that grows with the distance; ``n_draws`` of a replica; ``data``: seed."""

    n_keys: int = 512
    decay: float = 0.25
    floor: float = 0.05
    spread: float = 0.5
    n_draws: int = 20_000
    data: int = 0
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_keys", "decay", "floor", "spread", "n_replicas")
        require_at_least(self, 2, "n_draws")


def row(setting: SubsetSetting) -> tuple[np.ndarray, np.ndarray]:
    """Weights (key,) of the full row and values (key, width)."""
    rng = np.random.default_rng(setting.data)
    s = setting.spread * rng.standard_normal(setting.n_keys)
    return np.exp(s) / np.exp(s).sum(), rng.standard_normal((setting.n_keys, setting.n_values))


def local_row(setting: LocalSetting) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (key,), values (key, 1) and chances (key,)."""
    rng = np.random.default_rng(setting.data)
    s, far = setting.spread * rng.standard_normal(setting.n_keys), np.arange(setting.n_keys)
    values = far / setting.n_keys + 0.1 * rng.standard_normal(setting.n_keys)
    return np.exp(s) / np.exp(s).sum(), values[:, None], np.maximum((1.0 + far) ** -setting.decay, setting.floor)


@simulation(
    name="subsampling_subsets.drawn",
    block=8,
    reads=("n_keys", "spread", "reduction", "n_values", "ensembles", "n_draws", "data"),
)
def drawn(setting: SubsetSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Outputs of the operator for one row with new subsets: ``variance (replica, value)`` over draws, ``mean (replica, value)``;
    ``error (replica, ensemble)``: mean squared distance of averages from the full output; ``kept``: share of draws that hold the
    key of the largest weight; ``shift``: ln Z over all keys less its mean over subsets."""
    p, v = row(setting)
    s, n = torch.from_numpy(np.log(p)), setting.n_keys
    operator, full = RandomKeys(setting.reduction, own=False), p @ v
    one = torch.ones(1, 1, 1, setting.n_draws, 1, dtype=torch.float64)
    top = int(np.argmax(p))
    found: dict[str, list] = {name: [] for name in ("variance", "mean", "error", "kept", "shift")}
    marked = np.concatenate(
        [v, np.eye(n)[:, [top]], 1 / p[:, None]], 1
    )  # values, the top key, and 1/p: its mean is m / Z
    for seed in seeds:
        draw = torch.from_numpy(np.random.default_rng(seed).random((1, setting.n_draws * n)))
        inputs = QKV(one, s.reshape(1, 1, 1, n, 1), torch.from_numpy(marked)[None, None, None])
        y = operator.apply(inputs, {}, draw=draw)[0, 0, 0].numpy()
        out, kept, count = y[:, :-2], y[:, -2], -(-n // setting.reduction)
        found["variance"].append(out.var(0, ddof=1))
        found["mean"].append(out.mean(0))
        found["kept"].append((kept > 0).mean())
        found["shift"].append(-np.log(count / y[:, -1]).mean())  # Z of the full row is 1
        found["error"].append(
            [
                np.square(out[: len(out) // R * R].reshape(-1, R, setting.n_values).mean(1) - full).sum(1).mean()
                for R in setting.ensembles
            ]
        )
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="subsampling_subsets.listed", block=8, reads=("n_keys", "reduction", "spread", "n_values"))
def listed(setting: ListedSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``bias``, ``variance (replica, value)`` over all subsets, ``weights (replica, key)``, ``values (replica, key, value)``."""
    n, m = setting.n_keys, setting.n_keys // setting.reduction
    every = np.array(list(itertools.combinations(range(n), m)))
    chosen = np.zeros((len(every), n))
    np.put_along_axis(chosen, every, 1.0, 1)
    found: dict[str, list] = {name: [] for name in ("bias", "variance", "weights", "values")}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        e, v = np.exp(setting.spread * rng.standard_normal(n)), rng.standard_normal((n, setting.n_values))
        out = chosen @ (e[:, None] * v) / (chosen @ e)[:, None]
        p = e / e.sum()
        for name, value in (("bias", out.mean(0) - p @ v), ("variance", out.var(0)), ("weights", p), ("values", v)):
            found[name].append(value)
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="subsampling_subsets.local", block=8, reads=("n_keys", "decay", "floor", "spread", "n_draws", "data"))
def local(setting: LocalSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Mean outputs over draws with unequal chances, ``plain`` and with -ln pi added to the scores, ``corrected``, (replica,)."""
    p, v, pi = local_row(setting)
    found: dict[str, list] = {"plain": [], "corrected": []}
    for seed in seeds:
        kept = (np.random.default_rng(seed).random((setting.n_draws, setting.n_keys)) < pi).astype(float)
        for name, a in (("plain", p), ("corrected", p / pi)):
            found[name].append(float(((kept @ (a[:, None] * v))[:, 0] / (kept @ a)).mean()))
    return {name: np.array(values) for name, values in found.items()}
