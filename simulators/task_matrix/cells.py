"""A cell of the matrix: one operator on one task; and the rates that are tried for it before, on other seeds."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from attnlab.kernels.operators.listing import members
from attnlab.kernels.operators.operator import Operator
from attnlab.kernels.suggestions import did_you_mean
from attnlab.simulators.ensemble.setting import checked, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.task_matrix.controls import controls
from attnlab.simulators.task_matrix.model import HEADS
from attnlab.simulators.task_matrix.tasks import TASKS
from attnlab.simulators.task_matrix.training import built, scores, trained
from attnlab.simulators.task_matrix.vectors import Match

LONG = (32, 64, 128)  # numbers of keys at which a model trained on 16 is tested


@functools.cache
def operators() -> dict[str, Operator]:
    """Members of the atlas and the controls, by name."""
    return members() | controls()


def undeclared(operator: str, task: str) -> str:
    """Why an operator declares no form for a task; empty where it does."""
    each, kind = operators()[operator], TASKS[task]
    if each.kind == "graph":
        return "it needs the edges of a graph, and the tasks have none"
    if each.least_heads > HEADS:
        return f"it needs {each.least_heads} heads, and the model has {HEADS}"
    if kind.causal and each.facts.causal == "none":
        return f"no causal form: {each.facts.causal_reason}"
    if each.facts.n_max is not None and each.facts.n_max < kind.length:
        return f"it is built for at most {each.facts.n_max} tokens, and the task has {kind.length}"
    if not kind.causal and each.kind == "select":
        return "it decodes, and the task asks at all tokens at once"
    return ""


@functools.cache
def inapplicable(operator: str, task: str) -> str:
    """Why there is no cell of an operator and a task, by what it declares or by what it says when it is tried; else empty."""
    reason = undeclared(operator, task)
    if reason:
        return reason
    each, kind = operators()[operator], TASKS[task]
    try:
        seeds = [np.random.SeedSequence(0)]
        model, small = built(each, replace(kind, batch=1), seeds)
        numbers = torch.empty(1, 1, small.numbers_per_step)
        small.fill(numbers[0], torch.Generator().manual_seed(0))
        start = model.initialise([torch.Generator().manual_seed(0)], torch.float32)
        with torch.no_grad():
            small.loss(model, start, numbers[:, 0])
    except ValueError as error:
        return str(error)
    return ""


def _checked_cell(setting: CellSetting | RatesSetting) -> None:
    checked(setting)
    require_one_of(setting, "task", tuple(TASKS))
    require_positive(setting, "budget", "n_replicas")
    if setting.operator not in operators():
        raise ValueError(
            f"operator={setting.operator!r} is neither in the atlas nor a control"
            f"{did_you_mean(setting.operator, list(operators()))}"
        )


def n_steps(task: str, budget: float) -> int:
    """Steps of a training: the task's own number, times ``budget``."""
    return max(2, round(TASKS[task].n_steps * budget))


def _modules(setting: CellSetting | RatesSetting) -> list[str]:
    return [type(operators()[setting.operator]).__module__]


@dataclass(frozen=True)
class MatrixSetting:
    """A matrix of ``operators`` by ``tasks``. Operators: names, "controls", "representatives" (one per family) or "all".

    ``rates_from``: "task", so that each column has the rate that is best for its positive control, or "family", that for the
    representative of the operator's family. ``budget`` and ``n_replicas`` as in a cell. ``retry``: times as many steps for a
    cell that was to succeed and did not, 0 for none.
    """

    operators: tuple[str, ...] = ("controls", "representatives")
    tasks: tuple[str, ...] = tuple(TASKS)
    rates_from: str = "task"
    budget: float = 1.0
    retry: float = 4.0
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_one_of(self, "rates_from", ("task", "family"))
        require_positive(self, "budget", "n_replicas")
        for task in self.tasks:
            if task not in TASKS:
                raise ValueError(f"tasks={self.tasks!r}: there is no {task!r}{did_you_mean(task, list(TASKS))}")


@dataclass(frozen=True)
class CellSetting:
    """The member or control ``operator`` on ``task``, at a learning ``rate``, for ``budget`` times the task's number of steps."""

    operator: str = "base_scores/dot_product"
    task: str = "recall_4"
    rate: float = 2e-2
    budget: float = 1.0
    n_replicas: int = 8

    def __post_init__(self) -> None:
        _checked_cell(self)
        require_positive(self, "rate")


@simulation(name="task_matrix.cell", block=8, code_of=_modules)
def cell(setting: CellSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``score`` (replica,) on fresh sequences, NaN for replicas that diverged; ``loss``: of the last tenth of the steps.

    For ``match`` also ``long`` (replica, 3): the score among 32, 64 and 128 keys, NaN where the operator is not built for them.
    """
    model, task = built(operators()[setting.operator], TASKS[setting.task], seeds)
    run = trained(model, task, [setting.rate] * len(seeds), seeds, n_steps(setting.task, setting.budget))
    found = {"score": scores(model, task, run, seeds), "loss": run.loss[:, -1]}
    if isinstance(task, Match):
        found["long"] = np.stack([_at(model, task, run, seeds, n) for n in LONG], -1)
    return found


def _at(model, task, run, seeds, n):
    longer = replace(model, length=n + 1)
    try:
        return scores(longer, replace(task, n=n, n_uniform=longer.n_uniform), run, seeds)
    except ValueError:  # parameters for 16 keys
        return np.full(len(seeds), np.nan)


@dataclass(frozen=True)
class RatesSetting:
    """The same, at each of ``rates``, on other seeds than the cell's."""

    operator: str = "base_scores/dot_product"
    task: str = "recall_4"
    rates: tuple[float, ...] = (5e-3, 1e-2, 2e-2, 5e-2)
    budget: float = 1.0
    n_replicas: int = 2

    def __post_init__(self) -> None:
        _checked_cell(self)
        require_positive(self, "rates")


@simulation(name="task_matrix.rates", block=2, code_of=_modules)
def rates(setting: RatesSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``loss`` (replica, rate) over the last tenth of the steps, infinite where a replica diverged."""
    every = [seed for seed in seeds for _ in setting.rates]
    model, task = built(operators()[setting.operator], TASKS[setting.task], every)
    run = trained(model, task, setting.rates * len(seeds), every, n_steps(setting.task, setting.budget))
    loss = np.where(np.isfinite(run.loss[:, -1]), run.loss[:, -1], np.inf)
    return {"loss": loss.reshape(len(seeds), len(setting.rates))}
