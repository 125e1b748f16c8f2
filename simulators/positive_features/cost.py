"""What the operator costs, counted and weighed as it runs: multiply-adds, the peak of living tensors, and its causal form."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from attnlab.kernels.operators.operator import QKV, Sizes
from attnlab.kernels.operators.positive_features.performer import Performer
from attnlab.kernels.torch_internals import DispatchMode
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class CostSetting:
    """``cells``: (length n, width d of q and k, width d_v of v, features m)."""

    cells: tuple[tuple[int, int, int, int], ...] = (
        (64, 8, 8, 16),
        (256, 8, 8, 16),
        (256, 16, 8, 16),
        (256, 16, 32, 16),
        (256, 16, 32, 64),
    )
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "cells", "n_replicas")


@dataclass(frozen=True)
class MemorySetting:
    """``lengths`` n, ascending; ``dim`` d = d_v; ``n_features`` m."""

    lengths: tuple[int, ...] = (4096, 8192, 16384, 32768)
    dim: int = 16
    n_features: int = 32
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "n_features", "n_replicas")
        require_at_least(self, 1, "lengths")


@simulation(name="positive_features_cost.counts", block=1, reads=("cells",))
def counts(setting: CostSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Multiply-adds counted by torch, whole numbers (replica, cell): ``features``; ``softmax`` attention of the same sizes.

    ``crossover (replica, cell)``: the least length at which softmax costs more, by counting at one length after the other.
    """
    table = []
    for n, d, d_v, m in setting.cells:
        low, high = 1, 64 * m
        while low < high:  # both counts are polynomials in the length, softmax's of higher degree
            middle = (low + high) // 2
            low, high = (low, middle) if _softmax(middle, d, d_v) > _features(middle, d, d_v, m) else (middle + 1, high)
        table.append((_features(n, d, d_v, m), _softmax(n, d, d_v), low))
    found = np.array(table, dtype=np.int64)
    return {name: np.tile(found[:, k], (len(seeds), 1)) for k, name in enumerate(("features", "softmax", "crossover"))}


@simulation(name="positive_features_cost.memory", block=1, reads=("lengths", "dim", "n_features"))
def memory(setting: MemorySetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``peak (replica, length)``: most bytes of tensors made by one call that lived at once (float32)."""
    found = [_peak(lambda n=n: _call(n, setting.dim, setting.dim, setting.n_features)) for n in setting.lengths]
    return {"peak": np.tile(np.array(found, dtype=np.float64), (len(seeds), 1))}


@simulation(name="positive_features_cost.causal", block=1, reads=("cells",))
def causal(setting: CostSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """First cell, causal: outputs (replica, n, d_v) by ``pairs`` and by the running sums of ``state``; ``behind``: sums without
    the current token (the first output is left at 0)."""
    n, d, d_v, m = setting.cells[0]
    made: dict[str, list] = {"pairs": [], "state": [], "behind": []}
    for seed in seeds:
        operator, inputs, parameters = _made(n, d, d_v, m, int(seed.generate_state(1)[0]), torch.float64)
        made["pairs"].append(operator.apply(inputs, parameters, causal=True)[0, 0, 0].numpy())
        state = before = operator.start(_token(inputs, 0))
        told, late = [], [np.zeros(d_v)]
        for k in range(n):
            if k:
                query = QKV(_token(inputs, k).q, _token(inputs, k - 1).k, _token(inputs, k - 1).v)
                late.append(operator.step(before, query, parameters)[1][0, 0, 0].numpy())
            before = state
            state, output = operator.step(state, _token(inputs, k), parameters)
            told.append(output[0, 0, 0].numpy())
        made["state"].append(np.array(told))
        made["behind"].append(np.array(late))
    return {name: np.array(tables) for name, tables in made.items()}


class _Living(DispatchMode):
    """Follows the tensors that operations return, and the bytes of their storages while any of them lives."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[weakref.ref] = []
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(each, torch.Tensor):
                self.seen.append(weakref.ref(each))
        living = [tensor for ref in self.seen if (tensor := ref()) is not None]
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in living}
        self.peak = max(self.peak, sum(storages.values()))
        return out


def _peak(call: Callable[[], Callable[[], Any]]) -> int:
    run = call()
    with torch.no_grad(), _Living() as living:
        run()
    return living.peak


def _made(n: int, d: int, d_v: int, m: int, seed: int, dtype: torch.dtype) -> tuple[Performer, QKV, dict]:
    g = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(1, 1, 1, n, width, generator=g, dtype=dtype) for width in (d, d, d_v))
    operator = Performer(n_features=m)
    return operator, QKV(0.5 * q, 0.5 * k, v), operator.initialise(Sizes(n=n, d=d, d_v=d_v), [g], dtype)


def _call(n: int, d: int, d_v: int, m: int) -> Callable[[], Any]:
    operator, inputs, parameters = _made(n, d, d_v, m, 0, torch.float32)
    return lambda: operator.apply(inputs, parameters)


def _features(n: int, d: int, d_v: int, m: int) -> int:
    from torch.utils.flop_counter import FlopCounterMode  # imports Triton

    run = _call(n, d, d_v, m)
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2


def _softmax(n: int, d: int, d_v: int) -> int:
    from torch.utils.flop_counter import FlopCounterMode  # imports Triton

    q, k, v = torch.ones(n, d), torch.ones(n, d), torch.ones(n, d_v)
    with FlopCounterMode(display=False) as counter:
        (q @ k.T).softmax(-1) @ v
    return counter.get_total_flops() // 2


def _token(inputs: QKV, k: int) -> QKV:
    return QKV(inputs.q[..., k, :], inputs.k[..., k, :], inputs.v[..., k, :])
