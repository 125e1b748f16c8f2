"""Planted scores: flat windows, sure pointers, two sources and moving bells, with weights by hand or at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.operators.base_scores.location_relative import LocationRelative
from attnlab.kernels.operators.base_scores.multi_source import MultiSource
from attnlab.kernels.operators.base_scores.pointer import Pointer
from attnlab.kernels.operators.base_scores.predicted_window import PredictedWindow
from attnlab.kernels.operators.operator import QKV, Sizes
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class WindowSetting:
    """Equal scores and a centre on a key: ``half_widths`` D of windows of 2 D + 1 keys."""

    half_widths: tuple[int, ...] = (2, 5, 10, 50, 200)
    n_replicas: int = 2

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "half_widths", "n_replicas")


@simulation(name="base_scores.flat_windows", block=8)
def flat_windows(setting: WindowSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``row_sum (replica, width)`` of the local operator at equal scores; ``seen``: keys in the window."""
    sums, seen = [], []
    for stream in random_streams.generators(seeds, "data"):
        for D in setting.half_widths:
            n = 4 * D + 1  # the centre, sigmoid(0) n, is the middle key
            q = torch.randn(1, 1, 1, 1, 4, generator=stream, dtype=torch.float64)
            k = torch.zeros(1, 1, 1, n, 4, dtype=torch.float64)
            own = {"into_hidden": torch.zeros(1, 4, 8).double(), "readout": torch.ones(1, 8).double()}
            W = PredictedWindow(half_width=float(D)).matrix(QKV(q, k, k), own)
            sums.append(W.sum().item())
            seen.append(int((W > 0).sum()))
    shape = (len(seeds), len(setting.half_widths))
    return {"row_sum": np.reshape(sums, shape), "seen": np.reshape(seen, shape)}


@dataclass(frozen=True)
class PointerSetting:
    """Pointers over ``n_keys`` inputs with ``hidden`` units; ``n_draws`` random ones beside the planted one."""

    n_keys: int = 100
    hidden: int = 4
    n_draws: int = 50
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "hidden", "n_draws", "n_replicas")
        require_at_least(self, 2, "n_keys")


@simulation(name="base_scores.sure_pointers", block=16)
def sure_pointers(
    setting: PointerSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``largest (replica,)``: the largest weight of a planted and of many random pointers; ``readout_norm``: l1 norm of v.

    Planted: one key pushes every unit to tanh = sign(v), all others to the opposite end.
    """
    largest, norms, operator = [], [], Pointer(n_glimpses=0, hidden=setting.hidden)
    h, n = setting.hidden, setting.n_keys
    for stream in random_streams.generators(seeds, "data"):

        def normal(*shape: int, stream: torch.Generator = stream) -> torch.Tensor:
            return torch.randn(*shape, generator=stream, dtype=torch.float64)

        v = normal(1, h)
        k = -torch.ones(1, 1, 1, n, 1, dtype=torch.float64)
        k[..., 0, 0] = 1.0
        q = torch.zeros(1, 1, 1, 1, 1, dtype=torch.float64)
        planted = {
            "point_into_query": torch.zeros(1, 1, h).double(),
            "point_into_key": 8 * v.sign()[:, None],
            "point_readout": v,
        }
        best = operator.matrix(QKV(q, k, k), planted).max()
        for _ in range(setting.n_draws):
            own = {"point_into_query": 3 * normal(1, 2, h), "point_into_key": 3 * normal(1, 2, h), "point_readout": v}
            keys = normal(1, 1, 1, n, 2)
            best = torch.maximum(best, operator.matrix(QKV(normal(1, 1, 1, 4, 2), keys, keys), own).max())
        largest.append(best.item())
        norms.append(v.abs().sum().item())
    return {"largest": np.array(largest), "readout_norm": np.array(norms)}


@dataclass(frozen=True)
class SourcesSetting:
    """Two sources of ``n_keys`` keys together, queries and keys of width ``dim``, learned outer weights at random."""

    n_keys: int = 24
    dim: int = 8
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "n_replicas")
        require_at_least(self, 2, "n_keys")


@simulation(name="base_scores.two_sources", block=16)
def two_sources(setting: SourcesSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Hierarchical against flat combination, one query per replica.

    ``distance (replica,)``: between their outputs; ``outer_weight``: of the first source; ``log_masses (replica, 2)``: of the
    sources; ``contexts (replica, 2, dim)``; ``size``: of the contexts.
    """
    found: dict[str, list] = {name: [] for name in ("distance", "outer_weight", "log_masses", "contexts", "size")}
    n, d, operator = setting.n_keys, setting.dim, MultiSource()
    for stream in random_streams.generators(seeds, "data"):
        parameters = operator.initialise(Sizes(n=n, d=d, d_v=d), [stream], torch.float64)
        q, k, v = (torch.randn(1, 1, 1, m, d, generator=stream, dtype=torch.float64) for m in (1, n, n))
        inputs = QKV(q, k, v)
        first = -(-n // 2)
        s = (q @ k.mT / d**0.5).flatten()
        maps = [part.softmax(0) for part in (s[:first], s[first:])]
        contexts = torch.stack(
            [w @ values for w, values in zip(maps, v[0, 0, 0].split([first, n - first]), strict=True)]
        )
        y, flat = operator.apply(inputs, parameters), MultiSource(outer="log_sum_exp").apply(inputs, {})
        M = operator.matrix(inputs, parameters)
        found["distance"].append((y - flat).norm().item())
        found["outer_weight"].append(M[..., :first].sum().item())
        found["log_masses"].append([s[:first].logsumexp(0).item(), s[first:].logsumexp(0).item()])
        found["contexts"].append(contexts.numpy())
        found["size"].append(contexts.abs().max().item())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class BellSetting:
    """One bell of each of the ``widths`` on ``n_keys`` keys, centred on a key (the worst phase) far from both ends."""

    widths: tuple[float, ...] = (0.2, 0.3, 0.5, 1.0)
    n_keys: int = 81
    n_replicas: int = 2

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "widths", "n_replicas")
        require_at_least(self, 61, "n_keys")


@simulation(name="base_scores.bells", block=8)
def bells(setting: BellSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``row_sum (replica, width)`` of a location-relative row whose centre has moved to the middle key by steps of one."""
    sums = []
    for stream in random_streams.generators(seeds, "data"):
        for width in setting.widths:
            operator = LocationRelative("V2", n_mixtures=1, width=width)
            parameters = operator.initialise(Sizes(n=setting.n_keys, d=2, d_v=1), [stream], torch.float64)
            parameters["into_mixture"] *= 0  # every step is one, every width the starting one
            q = torch.randn(1, 1, 1, setting.n_keys // 2, 2, generator=stream, dtype=torch.float64)
            k = torch.zeros(1, 1, 1, setting.n_keys, 2, dtype=torch.float64)
            sums.append(operator.matrix(QKV(q, k, k), parameters)[0, 0, 0, -1].sum().item())
    return {"row_sum": np.reshape(sums, (len(seeds), len(setting.widths)))}
