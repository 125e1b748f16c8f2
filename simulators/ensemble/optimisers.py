"""Optimisers of stacked models: the parameters of replica r are row r of a matrix, and no row sees another.

Each optimiser has ``start(values)``, its state before the first update, and ``update(values, gradient, state, step)``,
which changes values and state in place; ``part(rows)`` is the optimiser of some replicas. Learning rates are numbers
or arrays with one entry per replica, times a schedule (:mod:`attnlab.simulators.ensemble.schedules`). Updates equal those of
``torch.optim`` within rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.schedules import Schedule, constant

PerReplica = float | Sequence[float] | np.ndarray
State = dict[str, Tensor]


class Optimiser(Protocol):
    """What the trainer asks of an optimiser; values and gradients are ``(replica, parameter)``."""

    def part(self, rows: slice) -> Optimiser:
        """The optimiser of some of the replicas."""

    def start(self, values: Tensor) -> State:
        """The state before the first update, tensors ``(replica, parameter)``."""

    def update(self, values: Tensor, gradient: Tensor, state: State, step: int) -> None:
        """Make update number ``step`` (from 0) in place."""


@dataclass(frozen=True)
class GradientDescent:
    r"""Gradient descent, ``z <- z - h grad``; with sampled gradients this is SGD.

    .. math:: b \leftarrow m b + g + \lambda z, \qquad z \leftarrow z - h b

    with momentum m and weight decay lambda (added to the gradient), as ``torch.optim.SGD``.
    """

    learning_rate: PerReplica
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: Schedule = constant

    def __post_init__(self) -> None:
        _check_rates(self, "learning_rate")
        _check_range(self, 0, 1, "momentum")
        _check_range(self, 0, float("inf"), "weight_decay")

    def part(self, rows: slice) -> GradientDescent:
        return replace(self, learning_rate=_part(self.learning_rate, rows))

    def start(self, values: Tensor) -> State:
        return {"momentum": torch.zeros_like(values)} if self.momentum else {}

    def update(self, values: Tensor, gradient: Tensor, state: State, step: int) -> None:
        if self.weight_decay:
            gradient = gradient + self.weight_decay * values
        if self.momentum:
            gradient = state["momentum"].mul_(self.momentum).add_(gradient)
        _descend(values, gradient, self.learning_rate, self.schedule(step))


@dataclass(frozen=True)
class NormalisedGradientDescent:
    r"""Gradient descent of unit direction, :math:`z \leftarrow z - h\, g / \|g\|`, the norm taken over a replica.

    ``floor`` bounds the norm from below: a replica with a zero gradient stays where it is.
    """

    learning_rate: PerReplica
    floor: float = 1e-30
    schedule: Schedule = constant

    def __post_init__(self) -> None:
        _check_rates(self, "learning_rate")
        _check_range(self, 0, float("inf"), "floor")

    def part(self, rows: slice) -> NormalisedGradientDescent:
        return replace(self, learning_rate=_part(self.learning_rate, rows))

    def start(self, values: Tensor) -> State:
        return {}

    def update(self, values: Tensor, gradient: Tensor, state: State, step: int) -> None:
        norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True).clamp_min(self.floor)
        _descend(values, gradient / norm, self.learning_rate, self.schedule(step))


@dataclass(frozen=True)
class Adam:
    r"""Adam with bias correction, as ``torch.optim.Adam`` (weight decay is added to the gradient).

    .. math:: m \leftarrow \beta_1 m + (1-\beta_1) g, \quad v \leftarrow \beta_2 v + (1-\beta_2) g^2, \quad
        z \leftarrow z - \frac{h}{1-\beta_1^t} \frac{m}{\sqrt{v/(1-\beta_2^t)} + \epsilon}

    References: Kingma and Ba 2015, algorithm 1.
    """

    learning_rate: PerReplica
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    schedule: Schedule = constant

    def __post_init__(self) -> None:
        _check_rates(self, "learning_rate")
        _check_range(self, 0, 1, "betas")
        _check_range(self, 0, float("inf"), "eps", "weight_decay")

    def part(self, rows: slice) -> Adam:
        return replace(self, learning_rate=_part(self.learning_rate, rows))

    def start(self, values: Tensor) -> State:
        return {"mean": torch.zeros_like(values), "square": torch.zeros_like(values)}

    def update(self, values: Tensor, gradient: Tensor, state: State, step: int) -> None:
        beta1, beta2 = self.betas
        if self.weight_decay:
            gradient = gradient + self.weight_decay * values
        state["mean"].lerp_(gradient, 1 - beta1)
        state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        scale = (state["square"].sqrt() / (1 - beta2 ** (step + 1)) ** 0.5).add_(self.eps)
        _descend(values, state["mean"] / scale, self.learning_rate, self.schedule(step) / (1 - beta1 ** (step + 1)))


@dataclass(frozen=True)
class Clipped:
    r"""An ``optimiser`` on gradients of a norm, per replica, of at most ``largest``: :math:`g \leftarrow g \min(1, c / \|g\|)`.

    The norm is taken over all parameters of a replica, before weight decay is added, as ``torch.nn.utils.clip_grad_norm_`` before
    a step (which adds 1e-6 to the norm).

    References: Pascanu, Mikolov and Bengio 2013 (arXiv 1211.5063), algorithm 1.
    """

    optimiser: Optimiser
    largest: float = 1.0

    def __post_init__(self) -> None:
        if not (isinstance(self.largest, (int, float)) and 0 < self.largest < float("inf")):
            raise ValueError(
                f"largest={self.largest!r} is no bound of a norm; use one positive number for all replicas"
            )
        if isinstance(self.optimiser, Clipped):
            raise ValueError(
                f"the gradient is clipped twice, at {self.largest!r} and {self.optimiser.largest!r}; once is enough"
            )

    @property
    def learning_rate(self) -> PerReplica:
        """That of the optimiser."""
        return self.optimiser.learning_rate  # type: ignore[attr-defined]

    def part(self, rows: slice) -> Clipped:
        return replace(self, optimiser=self.optimiser.part(rows))

    def start(self, values: Tensor) -> State:
        return self.optimiser.start(values)

    def update(self, values: Tensor, gradient: Tensor, state: State, step: int) -> None:
        norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        self.optimiser.update(values, gradient * (self.largest / norm.clamp_min(self.largest)), state, step)


def _descend(values: Tensor, direction: Tensor, rate: PerReplica, factor: float) -> None:
    """``values -= rate * factor * direction``, the rate a number or one per row."""
    if isinstance(rate, (int, float)):
        values.add_(direction, alpha=-rate * factor)
    else:
        rates = torch.as_tensor(np.asarray(rate, dtype=np.float64) * factor, dtype=values.dtype, device=values.device)
        values.sub_(rates[:, None] * direction)


def _part(rate: PerReplica, rows: slice) -> PerReplica:
    return rate if isinstance(rate, (int, float)) else np.asarray(rate, dtype=np.float64)[rows]


def _check_rates(optimiser: object, name: str) -> None:
    rates = np.asarray(getattr(optimiser, name), dtype=np.float64)
    if rates.ndim > 1 or not (np.isfinite(rates).all() and (rates > 0).all()):
        raise ValueError(f"{name}={getattr(optimiser, name)!r} must be positive: a number or one per replica")


def _check_range(optimiser: object, low: float, high: float, *names: str) -> None:
    for name in names:
        value = getattr(optimiser, name)
        if not all(low <= entry < high for entry in (value if isinstance(value, tuple) else (value,))):
            raise ValueError(f"{name}={value!r} is out of range; use {low} <= {name} < {high}")
