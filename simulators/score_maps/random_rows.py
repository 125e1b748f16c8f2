"""Score maps on rows of independent scores: sums, zeros, entropies, sizes, the hull of the values, scales that grow with the
length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels.attention.scores import score_map
from attnlab.kernels.attention.scores.f_over_g import ScoreMap, Softpick
from attnlab.kernels.attention.scores.rows import Clipped, Standardised
from attnlab.kernels.operators.operator import QKV
from attnlab.kernels.operators.score_maps.length_scaled_softplus import LengthScaledSoftplus
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation

#: Maps whose rows are measured, by name; ``relu`` without a divisor.
MAPS = ("softmax", "softplus", "softpick", "clipped", "signed", "standardised", "relu")


@dataclass(frozen=True)
class RowSetting:
    """``n_keys`` scores per row, normal with standard deviations ``spreads``; ``n_rows`` of a replica; ``cut``: clipped softmax
    has gamma = -cut / n_keys and zeta = 1; ``maps``: names of those measured."""

    n_keys: int = 4096
    spreads: tuple[float, ...] = (0.25, 0.5, 1.0)
    cut: float = 1.5
    n_rows: int = 50
    maps: tuple[str, ...] = MAPS
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        for name in self.maps:
            if name not in MAPS:
                raise ValueError(f"maps={self.maps!r}: {name!r} is not one of {', '.join(MAPS)}")
        require_positive(self, "spreads", "cut", "n_rows", "n_replicas")
        require_at_least(self, 2, "n_keys")


@dataclass(frozen=True)
class HullSetting:
    """``n_keys`` normal scores of standard deviation ``spread`` with one normal value each; ``n_rows`` of a replica."""

    n_keys: int = 16
    spread: float = 1.0
    n_rows: int = 20_000
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "spread", "n_rows", "n_replicas")
        require_at_least(self, 3, "n_keys")


@dataclass(frozen=True)
class LengthSetting:
    """Softplus attention with the scale c0 ln n on random directions of ``dim``: ``lengths`` n; ``constant`` c0; ``powers`` and
    ``offset`` of the re-weighting; ``n_rows`` queries of a replica, each with keys of its own."""

    dim: int = 16
    lengths: tuple[int, ...] = (256, 1024, 4096)
    constant: float = 2.772588722239781
    powers: tuple[int, ...] = (3, 15)
    offset: float = 0.5
    n_rows: int = 16
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "constant", "n_rows", "n_replicas")
        require_at_least(self, 3, "dim", "lengths")
        require_at_least(self, 1, "powers")


@dataclass(frozen=True)
class NothingSetting:
    """``n_keys`` of rows whose scores may all be negative; ``n_rows`` of a replica."""

    n_keys: tuple[int, ...] = (2, 4)
    n_rows: int = 20_000
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_keys", "n_rows", "n_replicas")


def maps(n_keys: int, cut: float) -> dict[str, ScoreMap]:
    """The measured maps by name, for rows of ``n_keys``."""
    found: dict[str, ScoreMap] = {name: score_map(name) for name in ("softmax", "softplus", "signed")}
    found |= {"softpick": Softpick(eps=0.0)} | {"clipped": Clipped(-cut / n_keys, 1.0), "standardised": Standardised()}
    return found | {"relu": score_map("relu(s)", divide="one")}


def weights_of(score: ScoreMap, s: Tensor) -> Tensor:
    """Weights of rows s (..., key), all keys visible."""
    return score.weights(s, torch.ones_like(s, dtype=torch.bool))[0]


@simulation(name="score_maps_random_rows.rows", block=4, reads=("n_keys", "spreads", "cut", "n_rows", "maps"))
def rows(setting: RowSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Means over rows per map, shape (replica, spread): for each name of ``maps`` ``NAME_sum``, ``NAME_zeros`` (share of exact
    zeros), ``NAME_square`` (sum of squares), ``NAME_deficit`` (ln n less the entropy of the sizes over their sum),
    ``NAME_largest`` (median over rows of the largest size); and ``NAME_sum_square``, the mean square of the row sum. The same
    numbers, multiplied, at every spread.
    """
    scores = maps(setting.n_keys, setting.cut)
    found: dict[str, list] = {}
    for seed in seeds:
        z = torch.from_numpy(np.random.default_rng(seed).standard_normal((setting.n_rows, setting.n_keys)))
        of_replica: dict[str, list] = {}
        for spread in setting.spreads:
            for name in setting.maps:
                for what, value in _statistics(weights_of(scores[name], spread * z)).items():
                    of_replica.setdefault(f"{name}_{what}", []).append(value)
        for name, values in of_replica.items():
            found.setdefault(name, []).append(values)
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="score_maps_random_rows.hull", block=8, reads=("n_keys", "spread", "n_rows"))
def hull(setting: HullSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Share of rows whose output lies outside the range of their values: ``softmax``, ``standardised (replica,)``; and of each
    row's values ``highest``, ``lowest``, ``mean_square`` (population variance), (replica, row)."""
    found: dict[str, list] = {name: [] for name in ("softmax", "standardised", "highest", "lowest", "mean_square")}
    for seed in seeds:
        s, v = torch.from_numpy(np.random.default_rng(seed).standard_normal((2, setting.n_rows, setting.n_keys)))
        high, low = v.amax(1), v.amin(1)
        for name in ("softmax", "standardised"):
            score = Standardised(eps=1e-12) if name == "standardised" else score_map(name)
            out = (weights_of(score, setting.spread * s) * v).sum(1)
            found[name].append(float(((out > high) | (out < low)).double().mean()))
        for name, x in (("highest", high), ("lowest", low), ("mean_square", v.var(1, correction=0))):
            found[name].append(x.numpy())
    return {name: np.array(values) for name, values in found.items()}


@simulation(
    name="score_maps_random_rows.lengths", block=4, reads=("dim", "lengths", "constant", "powers", "offset", "n_rows")
)
def lengths(setting: LengthSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Mean entropy (nats) of rows, ``entropy (replica, length)``; mean n sum W^2 plain and at each power, ``participation
    (replica, length, 1 + power)``. Queries and keys are normal; the operator takes their directions."""
    found: dict[str, list] = {"entropy": [], "participation": []}
    operators = [LengthScaledSoftplus(constant=setting.constant)]
    operators += [LengthScaledSoftplus(p, setting.offset, setting.constant) for p in setting.powers]
    for seed in seeds:
        rng = np.random.default_rng(seed)
        entropy, participation = [], []
        for n in setting.lengths:
            q = torch.from_numpy(rng.standard_normal((1, setting.n_rows, 1, 1, setting.dim)))
            k = torch.from_numpy(rng.standard_normal((1, setting.n_rows, 1, n, setting.dim)))
            W = [each.matrix(QKV(q, k, k), {})[0, :, 0, 0] for each in operators]
            entropy.append(float(-torch.special.xlogy(W[0], W[0]).sum(1).mean()))
            participation.append([float(n * w.square().sum(1).mean()) for w in W])
        found["entropy"].append(entropy)
        found["participation"].append(participation)
    return {name: np.array(values) for name, values in found.items()}


@simulation(name="score_maps_random_rows.nothing", block=8, reads=("n_keys", "n_rows"))
def nothing(setting: NothingSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Share of rows of normal scores whose weights are all exactly zero, ``softmax``, ``softpick``, ``relu`` (replica,
    n_keys)."""
    names = ("softmax", "softpick", "relu")
    found: dict[str, list] = {name: [] for name in names}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        shares = []
        for n in setting.n_keys:
            s = torch.from_numpy(rng.standard_normal((setting.n_rows, n)))
            each = [weights_of(score_map(name), s) for name in names]
            shares.append([float((W == 0).all(1).double().mean()) for W in each])
        for name, values in zip(names, np.array(shares).T, strict=True):
            found[name].append(values)
    return {name: np.array(values) for name, values in found.items()}


def _statistics(W: Tensor) -> dict[str, float]:
    """Means over rows of what is measured of weights (row, key)."""
    size, total = W.abs(), W.sum(1)
    share = size / size.sum(1, keepdim=True)
    entropy = -torch.special.xlogy(share, share).sum(1)
    return {
        "sum": float(total.mean()),
        "sum_square": float(total.square().mean()),
        "zeros": float((W == 0).double().mean()),
        "square": float(W.square().sum(1).mean()),
        "deficit": float(np.log(W.shape[1]) - entropy.mean()),
        "largest": float(size.amax(1).median()),
    }
