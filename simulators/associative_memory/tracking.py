"""Online memories on long streams of pairs: outliers, noise, drifting targets, forgetting, chunks, correlated keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.associative_memory.maps import MAPS, mapped, unmapped
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation

LOSSES = ("squared", "huber", "l1", "cubic")
_BLOCK = 50  # steps drawn at once


@dataclass(frozen=True)
class StreamSetting:
    """A memory reads unit keys and values W* k + noise, of which a share ``outlier_rate`` gets N(0, outlier_std^2) in every
    entry.

    ``loss``: gradients e, clip(e, -scale, scale), sign(e), 3 e |e|. The target, entries N(0, 1/dim), walks by steps
    N(0, drift_std^2/dim). ``gate`` multiplies the memory before the gradient is taken. ``map``: "identity"; "mirror" and
    "printed" bring accumulated gradients back at order 4. The memory starts at half the target; errors count after ``n_burn`` of
    ``n_steps``.
    """

    dim: int = 16
    value_dim: int = 4
    loss: str = "squared"
    scale: float = 1.0
    rate: float = 0.5
    gate: float = 1.0
    map: str = "identity"
    noise_std: float = 0.0
    outlier_rate: float = 0.0
    outlier_std: float = 10.0
    drift_std: float = 0.0
    n_burn: int = 200
    n_steps: int = 800
    n_draws: int = 64
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "value_dim", "scale", "rate", "gate", "n_steps", "n_draws", "n_replicas")
        require_at_least(self, 0, "noise_std", "outlier_rate", "outlier_std", "drift_std", "n_burn")
        require_one_of(self, "loss", LOSSES)
        require_one_of(self, "map", MAPS)
        if not self.n_burn < self.n_steps:
            raise ValueError(f"n_burn={self.n_burn} leaves none of n_steps={self.n_steps}; use a smaller one")


@simulation(name="associative_memory.stream", block=4)
def stream(setting: StreamSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Over the steps after the start and the draws of a replica ``(replica,)``: ``error``, mean of |W - W*|^2 per row after a
    write;
    ``gain``, mean of <W, W*> over that of |W*|^2; ``overflow``, share of draws that left the finite numbers (which count in
    neither).
    """
    d, m, draws, R = setting.dim, setting.value_dim, setting.n_draws, len(seeds)
    sources = random_streams.generators(seeds, "data")
    target = torch.cat([torch.randn(draws, m, d, generator=each, dtype=torch.float64) for each in sources]) / d**0.5
    W = target / 2
    A = unmapped(W) if setting.map == "mirror" else W
    W = mapped(setting.map, A)
    error, gain, size = (torch.zeros(R * draws, dtype=torch.float64) for _ in range(3))
    for start in range(0, setting.n_steps, _BLOCK):
        keys, noise, drift = (torch.cat(parts, 1) for parts in zip(*(_drawn(setting, x) for x in sources), strict=True))
        for step in range(min(_BLOCK, setting.n_steps - start)):
            if setting.drift_std:
                target = target + drift[step]
            k = keys[step]  # (replica and draw, 1, dim)
            if setting.gate != 1:
                A = setting.gate * A
                W = mapped(setting.map, A)
            e = ((W - target) * k).sum(-1, keepdim=True) - noise[step]
            A = A - setting.rate * _slope(setting, e) * k
            W = mapped(setting.map, A)
            if start + step >= setting.n_burn:
                error += ((W - target) ** 2).sum((1, 2)) / m
                gain += (W * target).sum((1, 2))
                size += (target**2).sum((1, 2))
    finite = (W.isfinite().all(2).all(1) & error.isfinite()).view(R, draws)
    n = finite.sum(1).clamp_min(1) * (setting.n_steps - setting.n_burn)
    error, gain, size = (torch.where(finite, x.view(R, draws), 0.0).sum(1) for x in (error, gain, size))
    found = {"error": error / n, "gain": gain / size.clamp_min(1e-300), "overflow": 1 - finite.double().mean(1)}
    return {name: x.numpy() for name, x in found.items()}


def _drawn(setting: StreamSetting, source: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Keys (step, draw, 1, dim), what is added to values (step, draw, value_dim, 1), steps of the target."""
    draws, d, m = setting.n_draws, setting.dim, setting.value_dim
    keys = torch.randn(_BLOCK, draws, 1, d, generator=source, dtype=torch.float64)
    keys = keys / keys.norm(dim=3, keepdim=True)
    hit = torch.rand(_BLOCK, draws, 1, 1, generator=source, dtype=torch.float64) < setting.outlier_rate
    noise = torch.randn(_BLOCK, draws, m, 1, generator=source, dtype=torch.float64) * setting.outlier_std * hit
    if setting.noise_std:
        noise = noise + setting.noise_std * torch.randn(noise.shape, generator=source, dtype=torch.float64)
    drift = noise
    if setting.drift_std:
        drift = torch.randn(_BLOCK, draws, m, d, generator=source, dtype=torch.float64) * setting.drift_std / d**0.5
    return keys, noise, drift


def _slope(setting: StreamSetting, e: Tensor) -> Tensor:
    if setting.loss == "huber":
        return e.clamp(-setting.scale, setting.scale)
    if setting.loss == "l1":
        return torch.sign(e)
    return 3 * e * e.abs() if setting.loss == "cubic" else e


@dataclass(frozen=True)
class ChunkSetting:
    """``n_keys`` random unit keys in ``dim`` dimensions, read one by one or in one chunk at a ``rate``."""

    dim: int = 16
    n_keys: int = 16
    rate: float = 0.5
    n_draws: int = 400
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "n_keys", "rate", "n_draws", "n_replicas")


@simulation(name="associative_memory.chunks", block=8)
def chunks(setting: ChunkSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """What is left of an error W - W* after the keys, values W* k, means over draws ``(replica,)``: ``one_by_one`` and
    ``chunk``, of its square, starting from the identity over sqrt(dim); ``difference``, of the trace over dim of the one less
    the other."""
    found: dict[str, list] = {"one_by_one": [], "chunk": [], "difference": []}
    d, eye = setting.dim, torch.eye(setting.dim, dtype=torch.float64)
    for source in random_streams.generators(seeds, "data"):
        K = torch.randn(setting.n_draws, setting.n_keys, d, generator=source, dtype=torch.float64)
        K = K / K.norm(dim=2, keepdim=True)
        left = eye.expand(setting.n_draws, d, d)
        for k in K.unbind(1):
            left = left - setting.rate * (left @ k[..., None]) @ k[:, None]
        chunk = eye - setting.rate * K.mT @ K
        found["one_by_one"].append(float((left**2).sum((1, 2)).mean() / d))
        found["chunk"].append(float((chunk**2).sum((1, 2)).mean() / d))
        found["difference"].append(float((left - chunk).diagonal(dim1=1, dim2=2).mean()))
    return {name: np.array(rows) for name, rows in found.items()}


@dataclass(frozen=True)
class CorrelatedSetting:
    """``n_pairs`` unit keys in ``dim`` dimensions, each two of which overlap by ``overlap``, turned at random; values are the
    columns of the identity, so that summed squares are means over all independent values of variance 1."""

    dim: int = 16
    n_pairs: int = 12
    overlap: float = 0.3
    rate: float = 1.0
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "n_pairs", "rate", "n_replicas")
        if not self.n_pairs < self.dim:
            raise ValueError(f"n_pairs={self.n_pairs} must be below dim={self.dim}, to have keys of equal overlaps")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap={self.overlap!r} must lie in [0, 1)")


@simulation(name="associative_memory.correlated", block=8)
def correlated(
    setting: CorrelatedSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Squared errors of the read-outs ``(replica, pair)`` in the order written: ``hebb``, ``delta`` after one pass."""
    found: dict[str, list] = {"hebb": [], "delta": []}
    n, V = setting.n_pairs, torch.eye(setting.n_pairs, dtype=torch.float64)
    for source in random_streams.generators(seeds, "data"):
        frame = torch.linalg.qr(torch.randn(setting.dim, setting.dim, generator=source, dtype=torch.float64))[0]
        K = (1 - setting.overlap) ** 0.5 * frame[:n] + setting.overlap**0.5 * frame[n]
        hebb = delta = torch.zeros(n, setting.dim, dtype=torch.float64)
        for k, v in zip(K, V, strict=True):
            hebb = hebb + setting.rate * torch.outer(v, k)
            delta = delta - setting.rate * torch.outer(delta @ k - v, k)
        for name, W in (("hebb", hebb), ("delta", delta)):
            found[name].append(((W @ K.mT - V) ** 2).sum(0).numpy())
    return {name: np.stack(rows) for name, rows in found.items()}
