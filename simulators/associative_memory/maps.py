"""Maps from accumulated gradients back to a memory, and what descent does through them: norms of order q, and simplices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.associative_memory.online import gradient
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation

MAPS = ("identity", "mirror", "printed")


def mapped(name: str, A: Tensor, order: float = 4.0) -> Tensor:
    """The memories of accumulated gradients ``(..., value_dim, key_dim)``: themselves, by the inverse mirror map, by the printed
    one."""
    if name == "identity":
        return A
    size = A.abs().pow(order).sum((-2, -1), keepdim=True) ** (1 / order)
    scaled = A / (size + 1e-300)
    return size * scaled.sign() * scaled.abs() ** (order - 1) if name == "mirror" else scaled * size ** (3 - order)


def unmapped(W: Tensor, order: float = 4.0) -> Tensor:
    """The accumulated gradients whose mirror image is W: the gradient of half the squared norm of the conjugate order."""
    p = order / (order - 1)
    size = W.abs().pow(p).sum((-2, -1), keepdim=True) ** (1 / p)
    return size ** (2 - p) * W.sign() * W.abs() ** (p - 1)


@dataclass(frozen=True)
class SizeSetting:
    """A memory under a map of an ``order`` whose target has the norm ``size`` of that order. It starts along the target, its
    size off by the share ``off``, and descends on chunks of orthonormal keys with a ``rate`` and a forget ``gate``."""

    key_dim: int = 4
    value_dim: int = 3
    map: str = "printed"
    order: float = 4.0
    size: float = 0.8
    off: float = 1e-6
    rate: float = 0.1
    gate: float = 1.0
    n_steps: int = 1
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "key_dim", "value_dim", "size", "rate", "gate", "n_steps", "n_replicas")
        require_one_of(self, "map", MAPS)
        if self.order <= 1 or self.order == 3:
            raise ValueError(
                f"order={self.order!r} must be above 1 and not 3, where sizes do not depend on what is mapped"
            )


@simulation(name="associative_memory.sizes", block=8)
def sizes(setting: SizeSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``sizes (replica, n_steps + 1)``: norms of the memory, the first before a step. ``turn (replica,)``: sine of the angle to
    the target at the end."""
    found: dict[str, list] = {"sizes": [], "turn": []}
    q = setting.order
    for source in random_streams.generators(seeds, "data"):
        target = torch.randn(setting.value_dim, setting.key_dim, generator=source, dtype=torch.float64)
        target = target * setting.size / _norm(target, q)
        keys = torch.linalg.qr(torch.randn(setting.key_dim, setting.key_dim, generator=source, dtype=torch.float64))[0]
        start = (1 + setting.off) * target
        A = start if setting.map == "identity" else unmapped(start, q) if setting.map == "mirror" else None
        if A is None:  # along the target, of the size whose image has the size asked for
            A = start * _norm(start, q) ** ((q - 2) / (3 - q))
        norms = [_norm(mapped(setting.map, A, q), q)]
        for _ in range(setting.n_steps):
            g = gradient(lambda W, t=target, K=keys: ((W @ K - t @ K) ** 2).sum() / 2, mapped(setting.map, A, q))
            A = setting.gate * A - setting.rate * g
            norms.append(_norm(mapped(setting.map, A, q), q))
        W = mapped(setting.map, A, q)
        cosine = (W * target).sum() / (W.norm() * target.norm())
        found["sizes"].append(torch.stack(norms).numpy())
        found["turn"].append(float((1 - cosine**2).clamp_min(0).sqrt()))
    return {name: np.stack([np.asarray(row) for row in rows]) for name, rows in found.items()}


def _norm(W: Tensor, order: float) -> Tensor:
    return W.abs().pow(order).sum() ** (1 / order)


@dataclass(frozen=True)
class SimplexSetting:
    """A memory with entries of sum ``total`` under W <- c softmax(gate ln W - rate g), on random unit keys one by one, values
    from a signed target of size ``target_std`` per entry; or, with ``chunk``, on chunks of orthonormal keys."""

    key_dim: int = 8
    value_dim: int = 6
    total: float = 4.0
    target_std: float = 0.3
    rate: float = 0.2
    gate: float = 0.97
    chunk: bool = False
    n_steps: int = 60
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "key_dim", "value_dim", "total", "target_std", "rate", "gate", "n_steps", "n_replicas")
        require_at_least(self, 1, "n_steps")


@simulation(name="associative_memory.simplex", block=16)
def simplex(setting: SimplexSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``memory``, ``target`` (replica, value_dim, key_dim) at the end; ``sums``, ``least`` (replica, step): sum and least entry;
    without chunks also ``gradients`` (replica, step, value_dim, key_dim)."""
    found: dict[str, list] = {}
    shape = (setting.value_dim, setting.key_dim)
    for source in random_streams.generators(seeds, "data"):
        target = setting.target_std * torch.randn(shape, generator=source, dtype=torch.float64)
        K = torch.linalg.qr(torch.randn(shape[1], shape[1], generator=source, dtype=torch.float64))[0]
        W = torch.full(shape, setting.total / target.numel(), dtype=torch.float64)
        sums, least, gradients = [], [], []
        for _ in range(setting.n_steps):
            if not setting.chunk:
                K = torch.randn(shape[1], 1, generator=source, dtype=torch.float64)
                K = K / K.norm()
            g = gradient(lambda x, t=target, K=K: (((x - t) @ K) ** 2).sum() / 2, W)
            logits = setting.gate * W.log() - setting.rate * g
            W = setting.total * torch.softmax(logits.flatten(), 0).view(shape)
            W = W.clamp_min(1e-280)  # an entry that has underflowed has a logarithm again
            sums.append(W.sum())
            least.append(W.min())
            gradients.append(g)
        row = {"memory": W, "target": target, "sums": torch.stack(sums), "least": torch.stack(least)}
        if not setting.chunk:
            row["gradients"] = torch.stack(gradients)
        for name, value in row.items():
            found.setdefault(name, []).append(value.numpy())
    return {name: np.stack(rows) for name, rows in found.items()}
