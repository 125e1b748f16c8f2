r"""Chains of Euler blocks on a rotation of varying speed: with given rules for the step, and with trained gates.

Huang, Liang, Qin, Zhong and Lin 2023 (arXiv 2308.09939) read a gate on the residual branch as the step of a solver. Here the
reading is exact: block k of the chain is :math:`x_{k+1} = x_k + h_k \omega(t_k) J x_k`, J a rotation by a right angle, with the
gate h_k, and t_{k+1} = t_k + h_k. The flow keeps the norm of x, so the log of the norm is the error of the chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import GradientDescent
from attnlab.simulators.ensemble.plan import Plan, Record, log_spaced_steps
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_inside, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train


@dataclass(frozen=True)
class EulerSetting:
    r"""Speed :math:`\omega_0 + A \exp(-((t-c)/w)^2)` on [0, 1], c uniform in (0.35, 0.65) in each replica.

    ``powers``: rules h ~ index^-p; ``n_steps``: lengths of the chain. ``n_fine``: steps of the chain along which the index is
    measured before the steps are chosen.
    """

    base: float = 2.0
    height: float = 40.0
    width: float = 0.05
    powers: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5, 2.0)
    n_steps: tuple[int, ...] = (25, 50, 100, 200, 400, 800, 1600)
    n_fine: int = 100_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "base", "width", "n_steps", "n_fine", "n_replicas")
        require_at_least(self, 0, "height")


@simulation(name="stiffness_euler.euler_rules", block=8)
def euler_rules(setting: EulerSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Errors of the rules: ``log_norm (replica, power, length)``, the log of the final norm over the first; ``centre
    (replica,)``."""
    centres = np.array([np.random.default_rng(seed).uniform(0.35, 0.65) for seed in seeds])
    starts = np.exp(2j * np.pi * np.array([np.random.default_rng(seed).random(2)[1] for seed in seeds]))
    logs = np.zeros((len(seeds), len(setting.powers), len(setting.n_steps)))
    for row, (centre, start) in enumerate(zip(centres, starts, strict=True)):
        fine = np.linspace(0, 1, setting.n_fine + 1)
        index = measured_index(lambda t, c=centre: _speed(setting, t, c), fine, start)
        for i, power in enumerate(setting.powers):
            density = np.concatenate([[0.0], np.cumsum((index[1:] ** power + index[:-1] ** power) / 2)])
            for j, n in enumerate(setting.n_steps):
                times = np.interp(np.linspace(0, 1, n + 1), density / density[-1], fine)
                x = start
                for t, h in zip(times[:-1], np.diff(times), strict=True):
                    x = x + h * 1j * _speed(setting, t, centre) * x
                logs[row, i, j] = np.log(abs(x))
    return {"log_norm": logs, "centre": centres}


def measured_index(speed: Any, times: np.ndarray, start: complex) -> np.ndarray:
    """Index ``|x'| / |x|`` at ``times`` by central differences of the solution, x as a complex number."""
    middles = (times[1:] + times[:-1]) / 2
    angles = np.concatenate([[0.0], np.cumsum(speed(middles) * np.diff(times))])
    x = start * np.exp(1j * angles)
    return np.abs(np.gradient(x, times)) / np.abs(x)


@dataclass(frozen=True)
class GateSetting:
    r"""A chain of ``n_blocks`` blocks whose gates are a softmax over depth, trained by gradient descent on the log of the norm.

    ``flow_time``: learning rate times steps over ``n_blocks`` squared; ``n_steps`` of gradient descent reach it. The logits start
    normal with standard deviation ``init_std``.
    """

    base: float = 2.0
    height: float = 10.0
    centre: float = 0.5
    width: float = 0.1
    n_blocks: int = 256
    init_std: float = 0.05
    flow_time: float = 1.0
    n_steps: int = 4_000
    n_records: int = 40
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "base", "width", "n_blocks", "flow_time", "n_steps", "n_records", "n_replicas")
        require_at_least(self, 0, "height", "init_std")
        require_inside(self, 0, 1, "centre")


@simulation(name="stiffness_euler.train_gates", block=8, devices=("cpu", "cuda"))
def train_gates(setting: GateSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Along ``time (replica, record)``, learning rate times steps over ``n_blocks`` squared: ``error``, 2 ``n_blocks`` times
    the log of the final norm; ``slope``, of the log of the gate on the log of the block's index over blocks. Final: ``gate``,
    ``index``, ``clock (replica, block)``."""
    rate = setting.flow_time * setting.n_blocks**2 / setting.n_steps
    model = GateChain(setting.n_blocks, setting.init_std)
    task = RotationTask(setting.base, setting.height, setting.centre, setting.width)
    steps = log_spaced_steps(setting.n_steps, setting.n_records)

    def observe(model: GateChain, parameters: Parameters) -> dict[str, Tensor]:
        gates, _, x = model.run(parameters, task)
        index = ((x[:, 1:] - x[:, :-1]).abs() / gates / x[:, :-1].abs()).log()
        away = index - index.mean(1, keepdim=True)
        return {
            "error": 2 * setting.n_blocks * x[:, -1].abs().log(),
            "slope": (away * gates.log()).sum(1) / (away**2).sum(1),
        }

    def profile(model: GateChain, parameters: Parameters) -> dict[str, Tensor]:
        gates, clock, x = model.run(parameters, task)
        return {"gate": gates, "clock": clock, "index": (x[:, 1:] - x[:, :-1]).abs() / gates / x[:, :-1].abs()}

    run = train(
        model,
        task,
        GradientDescent(rate),
        seeds,
        Plan(setting.n_steps, loss_steps=steps, dtype=torch.float64, device=device),
        [Record(observe, steps), Record(profile, (setting.n_steps,))],
    )
    time = np.array(steps) * rate / setting.n_blocks**2
    final = {name: run.records.pop(name)[:, 0] for name in ("gate", "clock", "index")}
    return {"time": np.tile(time, (len(seeds), 1))} | run.records | final | {"diverged_at": run.diverged_at}


@dataclass(frozen=True)
class GateChain:
    """The chain; parameters ``logits (replica, block)``."""

    n_blocks: int
    init_std: float

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        return {
            "logits": torch.stack(
                [self.init_std * torch.randn(self.n_blocks, generator=stream, dtype=dtype) for stream in streams]
            )
        }

    def run(self, parameters: Parameters, task: RotationTask) -> tuple[Tensor, Tensor, Tensor]:
        """Gates and times of the blocks ``(replica, block)``, and the features as complex numbers ``(replica, block + 1)``,
        from 1."""
        gates, clock = self.clock(parameters)
        factor = torch.complex(torch.ones_like(gates), gates * task.speed(clock))
        x = torch.cumprod(torch.cat([torch.ones_like(factor[:, :1]), factor], dim=1), dim=1)
        return gates, clock, x

    def clock(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Gates and times of the blocks, ``(replica, block)``."""
        gates = torch.softmax(parameters["logits"], dim=1)
        return gates, torch.cumsum(gates, dim=1) - gates

    def log_norm(self, parameters: Parameters, task: RotationTask) -> Tensor:
        """The log of the final norm ``(replica,)``, in real numbers: each block's factor adds the log of its modulus."""
        gates, clock = self.clock(parameters)
        return torch.log1p((gates * task.speed(clock)) ** 2).sum(1) / 2


@dataclass(frozen=True)
class RotationTask:
    """The log of the final norm, a task without samples."""

    base: float
    height: float
    centre: float
    width: float

    numbers_per_step: ClassVar[int] = 0

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        """There is nothing to draw."""

    def speed(self, t: Tensor) -> Tensor:
        """omega(t)."""
        return self.base + self.height * torch.exp(-(((t - self.centre) / self.width) ** 2))

    def loss(self, model: GateChain, parameters: Parameters, numbers: Tensor | None) -> Tensor:
        return model.log_norm(parameters, self)

    def largest_array(self, model: GateChain) -> int:
        return 2 * model.n_blocks


def _speed(setting: Any, t: Any, centre: float) -> Any:
    return setting.base + setting.height * np.exp(-(((t - centre) / setting.width) ** 2))
