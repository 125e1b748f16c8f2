"""Linear memories trained while they are used: what one step of a loss and a retention does, by automatic differentiation.

No update is written out here: gradients are those of the losses, minimisers are certified by the gradient of what they minimise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_inside, require_positive
from attnlab.simulators.ensemble.simulation import simulation

Loss = Callable[[Tensor], Tensor]
LEARNERS = ("dot_product", "squared", "squared_gated_first", "squared_gated_late", "momentum")


@dataclass(frozen=True)
class LearnerSetting:
    """``n_steps`` pairs of unit keys and normal values, with gates uniform in (0.8, 1) and rates uniform in (0.1, 0.9).

    ``momentum``: what is kept of the last change, with a constant ``gate`` and ``rate``.
    """

    key_dim: int = 6
    value_dim: int = 5
    n_steps: int = 24
    gate: float = 0.95
    rate: float = 0.4
    momentum: float = 0.7
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "key_dim", "value_dim", "n_steps", "rate", "n_replicas")
        require_inside(self, 0, 1, "gate", "momentum")


@simulation(name="associative_memory.learners", block=16)
def learners(setting: LearnerSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``keys``, ``values`` (replica, step, dim), ``gates``, ``rates`` (replica, step), and for each learner its memories
    (replica, step, value_dim, key_dim): gradient descent on the loss of every pair in turn.

    ``dot_product``: the gated memory with the loss -<Wk, v>; ``squared``: |Wk - v|^2/2, no gate; ``squared_gated_first``: the
    gradient at the gated memory; ``squared_gated_late``: at the memory before the gate; ``momentum``: the loss -<Wk, v>,
    constant gate and rate.
    """
    found: dict[str, list] = {name: [] for name in ("keys", "values", "gates", "rates", *LEARNERS)}
    for stream in random_streams.generators(seeds, "data"):
        T = setting.n_steps
        K = _unit(torch.randn(T, setting.key_dim, generator=stream, dtype=torch.float64))
        V = torch.randn(T, setting.value_dim, generator=stream, dtype=torch.float64)
        gates = 0.8 + 0.2 * torch.rand(T, generator=stream, dtype=torch.float64)
        rates = 0.1 + 0.8 * torch.rand(T, generator=stream, dtype=torch.float64)
        row = {"keys": K, "values": V, "gates": gates, "rates": rates}
        for name in LEARNERS:
            row[name] = _memories(name, setting, K, V, gates, rates)
        for name, value in row.items():
            found[name].append(value.numpy())
    return {name: np.stack(rows) for name, rows in found.items()}


def _memories(name: str, setting: LearnerSetting, K: Tensor, V: Tensor, gates: Tensor, rates: Tensor) -> Tensor:
    W = torch.zeros(V.shape[1], K.shape[1], dtype=K.dtype)
    change, rows = torch.zeros_like(W), []
    for k, v, gate, rate in zip(K, V, gates, rates, strict=True):
        if name in ("dot_product", "momentum"):
            g = gradient(lambda memory, k=k, v=v: -(v * (memory @ k)).sum(), W)
        else:
            at = gate * W if name == "squared_gated_first" else W
            g = gradient(lambda memory, k=k, v=v: ((memory @ k - v) ** 2).sum() / 2, at)
        if name == "momentum":
            change = setting.momentum * change - setting.rate * g
            W = setting.gate * W + change
        else:
            W = (1.0 if name == "squared" else gate) * W - rate * g
        rows.append(W)
    return torch.stack(rows)


@dataclass(frozen=True)
class ProblemSetting:
    """Problems of one step: ``rate`` and ``pull`` of the retention, ``orders`` of the norms, ``powers`` of the losses, ``scale``
    of the Huber losses; the memory of the entropic step has entries of sum ``total``."""

    key_dim: int = 5
    value_dim: int = 4
    rate: float = 0.5
    pull: float = 0.8
    total: float = 3.0
    orders: tuple[float, ...] = (2.0, 2.5, 3.0, 4.0)
    powers: tuple[float, ...] = (1.5, 2.0, 3.0, 4.0)
    scale: float = 0.7
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "key_dim", "value_dim", "rate", "pull", "total", "powers", "scale", "n_replicas")
        if any(order <= 1 for order in self.orders):
            raise ValueError(f"orders={self.orders!r} must be above 1: their conjugates are infinite otherwise")


@simulation(name="associative_memory.problems", block=16)
def problems(setting: ProblemSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Problems with their minimisers, and gradients of losses.

    A minimiser W is drawn, and the linear term of the convex problem is then what the gradient of the rest asks for, so that W
    solves it for certain. ``memory`` (replica, value_dim, key_dim), ``key``, ``value``: the memory W_0 and the pair.
    ``minimiser``, of all but the second: ``decay_gradient``: <W, g> + |W - W_0|^2/(2 rate) + |W|^2/(2 pull);
    ``implicit``: |Wk - v|^2/2 + |W - W_0|^2/(2 rate), solved as linear equations; ``simplex_memory``, ``simplex``,
    ``entropic_gradient``: <W, g> + KL(W || W_0)/rate + pull sum W ln W at a fixed sum; ``accumulated`` (replica, order, ...):
    |W|_p^2/2 - <W, A>, p conjugate to q.
    ``power_gradients`` (replica, power, ...), ``huber``, ``huber_vector``: gradients of the losses at W_0.
    """
    found: dict[str, list] = {}
    eta, lam = setting.rate, setting.pull
    for stream in random_streams.generators(seeds, "data"):
        shape = (setting.value_dim, setting.key_dim)
        W, W0 = (torch.randn(shape, generator=stream, dtype=torch.float64) for _ in range(2))
        k = _unit(torch.randn(setting.key_dim, generator=stream, dtype=torch.float64)) * 1.3
        v = torch.randn(setting.value_dim, generator=stream, dtype=torch.float64)
        S, S0 = (setting.total * _simplex(torch.randn(shape, generator=stream, dtype=torch.float64)) for _ in range(2))
        row = {"memory": W0, "key": k, "value": v, "minimiser": W, "simplex": S, "simplex_memory": S0}
        row["decay_gradient"] = -gradient(
            lambda x, W0=W0: ((x - W0) ** 2).sum() / (2 * eta) + (x**2).sum() / (2 * lam), W
        )
        A = torch.outer(k, k) + torch.eye(setting.key_dim, dtype=k.dtype) / eta
        row["implicit"] = torch.linalg.solve(A, torch.outer(v, k) + W0 / eta, left=False)
        row["entropic_gradient"] = -gradient(
            lambda x, S0=S0: (x * (x / S0).log()).sum() / eta + lam * (x * x.log()).sum(), S
        )
        row["accumulated"] = torch.stack(
            [gradient(lambda x, p=q / (q - 1): (x.abs() ** p).sum() ** (2 / p) / 2, W) for q in setting.orders]
        )
        row["power_gradients"] = torch.stack(
            [gradient(lambda x, p=p, k=k, v=v: ((x @ k - v).abs() ** p).sum(), W0) for p in setting.powers]
        )
        row["huber"] = gradient(lambda x, k=k, v=v: _huber((x @ k - v).abs(), setting.scale).sum(), W0)
        row["huber_vector"] = gradient(lambda x, k=k, v=v: _huber((x @ k - v).norm(), setting.scale), W0)
        for name, value in row.items():
            found.setdefault(name, []).append(value.numpy())
    return {name: np.stack(rows) for name, rows in found.items()}


@dataclass(frozen=True)
class RepeatSetting:
    """One pair with a unit key, read ``n_steps`` times with the loss |e|^power at a ``rate``, from errors ``starts``."""

    power: float = 3.0
    rate: float = 0.1
    starts: tuple[float, ...] = (1.0, 10.0)
    n_steps: int = 60
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "power", "rate", "starts", "n_steps", "n_replicas")


@simulation(name="associative_memory.repeats", block=4)
def repeats(setting: RepeatSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``sizes (replica, start, n_steps + 1)``: sizes of the error, infinite after an overflow; keys are random, nothing else
    is."""
    rows = []
    for stream in random_streams.generators(seeds, "data"):
        k = _unit(torch.randn(5, generator=stream, dtype=torch.float64))
        W = torch.tensor(setting.starts, dtype=torch.float64)[:, None] * k  # a row per start, the value is 0
        found = [(W @ k).abs()]
        for _ in range(setting.n_steps):
            W = W - setting.rate * gradient(lambda x, k=k: ((x @ k).abs() ** setting.power).sum(), W)
            found.append((W @ k).abs().nan_to_num(torch.inf, torch.inf))
        rows.append(torch.stack(found, 1).numpy())
    return {"sizes": np.stack(rows)}


def gradient(loss: Loss, at: Tensor) -> Tensor:
    """The gradient of a loss of the memory."""
    x = at.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(x), x)[0]


def _huber(size: Tensor, scale: float) -> Tensor:
    return torch.where(size <= scale, size**2 / 2, scale * size - scale**2 / 2)


def _unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def _simplex(x: Tensor) -> Tensor:
    return torch.softmax(x.flatten(), 0).view(x.shape)
