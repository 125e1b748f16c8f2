"""Compressive memories of planted pairs: weight of a needle, recall by the nearest value, repeated pairs, segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.gates_and_memory.compressive_memory import CompressiveMemory, positive
from attnlab.kernels.operators.gates_and_memory.delta_memory import DeltaMemory
from attnlab.kernels.operators.operator import QKV
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation

OPEN, SHUT = 60.0, -60.0  # gates whose sigmoid is 1, or of no weight beside 1, in double precision


@dataclass(frozen=True)
class NeedleSetting:
    """One stored pair read by its own key among ``n_stored``; keys of ``width`` channels, standard deviation ``key_std``."""

    key_std: float = 1.0
    n_stored: int = 64
    width: int = 256
    n_draws: int = 20
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "key_std", "n_stored", "width", "n_draws", "n_replicas")


@simulation(name="gates_and_memory.needles", block=8)
def needles(setting: NeedleSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``weight`` (replica,): weight of the pair asked for, times the number stored, mean of the draws.

    The memory is written by the operator with values that are 1 for the needle and 0 for all others.
    """
    found, operator = [], CompressiveMemory(segment=setting.n_stored)
    v = torch.zeros(setting.n_stored, 1, dtype=torch.float64)
    v[0] = 1
    for stream in random_streams.generators(seeds, "data"):
        weights = []
        for _ in range(setting.n_draws):
            k = setting.key_std * torch.randn(setting.n_stored, setting.width, generator=stream, dtype=torch.float64)
            M, z = operator.written(k, v, None)
            phi = positive(k[0])
            weights.append((phi @ M / (phi @ z)).item())
        found.append(setting.n_stored * np.mean(weights))
    return {"weight": np.array(found)}


@dataclass(frozen=True)
class RecallSetting:
    """``n_stored`` pairs of Gaussian keys (``key_width``, ``key_std``) and values of unit length (``value_width``).

    ``margin``: what a softmax adds to the score of the matching key, for comparison.
    """

    n_stored: int = 8
    key_width: int = 64
    value_width: int = 384
    key_std: float = 1.0
    n_draws: int = 250
    n_replicas: int = 32

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "key_width", "value_width", "key_std", "n_draws", "n_replicas")
        require_at_least(self, 4, "n_stored")


@simulation(name="gates_and_memory.recalls", block=8)
def recalls(setting: RecallSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``right`` (replica,): share of draws in which the read-out of the first key is nearest to the first value.

    ``softmax``: the same read by softmax of q.k/sqrt(d), keys as stored.
    """
    found: dict[str, list] = {"right": [], "softmax": []}
    n, operator = setting.n_stored, CompressiveMemory(segment=setting.n_stored)
    for stream in random_streams.generators(seeds, "data"):
        right = {name: 0 for name in found}
        for _ in range(setting.n_draws):
            k = setting.key_std * torch.randn(n, setting.key_width, generator=stream, dtype=torch.float64)
            v = torch.randn(n, setting.value_width, generator=stream, dtype=torch.float64)
            v = v / v.norm(dim=-1, keepdim=True)
            M, z = operator.written(k, v, None)
            phi = positive(k[0])
            right["right"] += int((v @ (phi @ M / (phi @ z))).argmax() == 0)
            weights = (k @ k[0] / setting.key_width**0.5).softmax(-1)
            right["softmax"] += int((v @ (weights @ v)).argmax() == 0)
        for name, count in right.items():
            found[name].append(count / setting.n_draws)
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class SegmentSetting:
    """``n_segments`` segments of ``segment`` tokens; keys of ``dim`` channels, standard normal."""

    segment: int = 4
    n_segments: int = 4
    dim: int = 6
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "segment", "dim", "n_replicas")
        require_at_least(self, 2, "n_segments")


@simulation(name="gates_and_memory.segments", block=8)
def segments(setting: SegmentSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """The operator with its gate open and shut beside what it is then said to be, all (replica, token, channel).

    ``memory``: gate open, from the second segment on; ``earlier``: sums over all tokens of earlier segments, weight
    phi(q).phi(k); ``own``: the same with the segment itself. ``local``: gate shut; ``softmax``: causal within the segment;
    ``whole``: causal over everything.
    """
    m, n = setting.segment, setting.segment * setting.n_segments
    found: dict[str, list] = {name: [] for name in ("memory", "earlier", "own", "local", "softmax", "whole")}
    block, at = torch.arange(n) // m, torch.arange(n)
    causal = at[:, None] >= at[None]
    for stream in random_streams.generators(seeds, "data"):
        q, k, v = (torch.randn(n, setting.dim, generator=stream, dtype=torch.float64) for _ in range(3))
        inputs = QKV(*(x[None, None, None] for x in (q, k, v)))
        for name, gate in (("memory", OPEN), ("local", SHUT)):
            y = CompressiveMemory(m).apply(inputs, {"gate": torch.full((1, 1), gate, dtype=torch.float64)})[0, 0, 0]
            found[name].append((y[m:] if gate == OPEN else y).numpy())
        for name, seen in (("earlier", block[:, None] > block[None]), ("own", block[:, None] >= block[None])):
            rows = []
            for t in range(m, n):
                w = positive(k[seen[t]]) @ positive(q[t])
                rows.append((w @ v[seen[t]] / w.sum()).numpy())
            found[name].append(np.array(rows))
        found["softmax"].append(attention(q, k, v, mask=causal & (block[:, None] == block[None])).numpy())
        found["whole"].append(attention(q, k, v, mask=causal).numpy())
    return {name: np.array(values) for name, values in found.items()}


@dataclass(frozen=True)
class RepeatSetting:
    """One pair written once in each of ``n_segments`` segments of one token; another written twice in one segment."""

    n_segments: int = 6
    dim: int = 6
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "n_replicas")
        require_at_least(self, 2, "n_segments")


@simulation(name="gates_and_memory.repeats", block=8)
def repeats(setting: RepeatSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``delta`` and ``plain`` (replica, segment): share of the value that is read after 1, 2, ... writes.

    ``once``, ``twice``, ``in_turn`` (replica, d, d_v): change of a filled delta memory by a new pair, by the pair twice in one
    segment, and in two segments.
    """
    L, d = setting.n_segments, setting.dim
    found: dict[str, list] = {name: [] for name in ("delta", "plain", "once", "twice", "in_turn")}
    gate = {"gate": torch.full((1, 1), OPEN, dtype=torch.float64)}
    for stream in random_streams.generators(seeds, "data"):
        k, v, old, held = (torch.randn(1, d, generator=stream, dtype=torch.float64) for _ in range(4))
        inputs = QKV(*(x.expand(1, 1, 1, L + 1, d) for x in (k, k, v)))
        for name, operator in (("delta", DeltaMemory(1)), ("plain", CompressiveMemory(1))):
            y = operator.apply(inputs, gate)[0, 0, 0, 1:]
            found[name].append((y @ v[0] / (v @ v.mT)[0, 0]).numpy())
        operator = DeltaMemory(2)
        before = operator.written(old, held, None)
        once = operator.written(k, v, before)
        found["once"].append((once[0] - before[0]).numpy())
        found["twice"].append((operator.written(k.expand(2, d), v.expand(2, d), before)[0] - before[0]).numpy())
        found["in_turn"].append((operator.written(k, v, once)[0] - before[0]).numpy())
    return {name: np.array(values) for name, values in found.items()}
