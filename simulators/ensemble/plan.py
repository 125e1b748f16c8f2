"""What is to be trained, recorded and given back: the plan of a training, its records and its result, and the protocols of
models and compiled steps. Nothing here trains; :mod:`attnlab.simulators.ensemble.trainer` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import State
from attnlab.simulators.ensemble.setting import with_named_fields

PATHS = ("auto", "generated", "autograd")


class Model(Protocol):
    """What the trainer asks of a model; it may also have ``part(rows)`` if it holds numbers per replica."""

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        """Parameters ``(replica, ...)`` by name, one replica per stream."""


class Compiled(Protocol):
    """Compiled steps of a chunk of replicas."""

    def run(self, values: Tensor, state: State, start: int, stop: int) -> np.ndarray:
        """Make updates ``start`` to ``stop - 1`` in place; returns the losses ``(replica, step)`` before each."""


@with_named_fields
@dataclass(frozen=True)
class Record:
    """Something observed on the way: ``observe(model, parameters)`` gives float arrays ``(replica, ...)`` by name."""

    observe: Callable[[Any, Parameters], dict[str, Tensor]]
    steps: tuple[int, ...]


@with_named_fields
@dataclass(frozen=True)
class Plan:
    """How long to train, when to record the loss, and how to run.

    ``loss_steps``: increasing step counts; ``()`` means about 100 log-spaced ones. ``chunk``: replicas processed
    together, 0 for automatic. Checkpoints are kept every ``checkpoint_seconds``, or every ``checkpoint_steps`` steps if
    that is not 0. A replica whose loss exceeds ``diverged_above`` in size, or is not finite, has diverged (Adam with a
    huge learning rate goes far away without leaving the finite numbers). ``label`` tells the trainings of one
    simulation apart. ``compiled(model, task, optimiser, seeds, dtype)`` gives the compiled steps of a chunk, or None where
    there are none; it is asked on the CPU only. ``path``: ``"auto"`` generates the step where that can be done and pays
    (:mod:`attnlab.simulators.ensemble.generated`), ``"generated"`` insists on it, ``"autograd"`` never does.
    """

    n_steps: int
    loss_steps: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    chunk: int = 0
    checkpoint_seconds: float = 30.0
    checkpoint_steps: int = 0
    diverged_above: float = 1e8
    label: str = "train"
    compiled: Callable[[Any, Any, Any, Sequence[np.random.SeedSequence], torch.dtype], Compiled | None] | None = None
    path: str = "auto"


@dataclass(frozen=True)
class Run:
    """What training gave. ``parameters``: final, ``(replica, ...)``, NaN where the replica diverged.

    ``loss[r, i]``: mean of the batch losses of the updates that led from ``loss_steps[i-1]`` to ``loss_steps[i]`` (at
    step 0: the loss of the first batch). ``records``: observed arrays ``(replica, record, ...)``. ``diverged_at``:
    number of updates after which loss, parameters or optimiser state were not finite or the loss too large; -1: never.
    ``path``: what made the updates, ``"generated (hash)"``, ``"compiled"`` or ``"autograd (reason)"``.
    """

    parameters: Parameters
    loss_steps: np.ndarray
    loss: np.ndarray
    records: dict[str, np.ndarray]
    diverged_at: np.ndarray
    path: str


def log_spaced_steps(n_steps: int, n_records: int) -> tuple[int, ...]:
    """0 and at most ``n_records`` increasing step counts from 1 to ``n_steps``, equally spaced on a log scale."""
    if n_steps < 1 or n_records < 1:
        raise ValueError(f"n_steps={n_steps!r} and n_records={n_records!r} must be at least 1")
    spaced = np.round(np.geomspace(1, n_steps, n_records)) if n_records > 1 else np.array([n_steps])
    return (0, *(int(step) for step in np.unique(spaced)))


def equally_spaced_steps(n_steps: int, n_records: int) -> tuple[int, ...]:
    """0 and ``n_records`` step counts up to ``n_steps``, as equally spaced as whole numbers can be."""
    return tuple(int(step) for step in np.unique(np.round(np.linspace(0, n_steps, n_records + 1))))


def check_parts(model: Any, task: Any, plan: Plan) -> None:
    """Raise ``ValueError`` if the model or the task lacks what the trainer will ask of it, naming what that is."""
    needed = [
        (model, "model", "initialise", "initialise(streams, dtype): parameters (replica, ...) by name"),
        (
            task,
            "task",
            "numbers_per_step",
            "numbers_per_step: random numbers that one replica uses in one step, 0 for none",
        ),
    ]
    if plan.compiled is None:
        needed.append((task, "task", "loss", "loss(model, parameters, numbers): the loss (replica,)"))
    if getattr(task, "numbers_per_step", 0):
        needed.append(
            (task, "task", "fill", "fill(numbers, stream): draws the numbers (step, numbers_per_step) in place")
        )
    if not plan.chunk:
        what = "largest_array(model): entries of the largest array that one replica needs in a step; it sets the chunk"
        needed.append((task, "task", "largest_array", what))
    for part, role, name, what in needed:
        if not hasattr(part, name):
            raise ValueError(f"the {role} {type(part).__name__} has no {name}; give it {what}")


def checked_plan(plan: Plan, record: Sequence[Record]) -> Plan:
    """The plan with its defaults filled in."""
    if not (isinstance(plan.n_steps, int) and plan.n_steps >= 1):
        raise ValueError(f"n_steps={plan.n_steps!r} is not a whole number of at least 1")
    if plan.path not in PATHS:
        raise ValueError(f"path={plan.path!r} is unknown; use one of {', '.join(PATHS)}")
    if plan.chunk < 0 or plan.checkpoint_steps < 0 or not plan.checkpoint_seconds >= 0:
        raise ValueError(
            f"chunk={plan.chunk!r}, checkpoint_steps={plan.checkpoint_steps!r} and checkpoint_seconds="
            f"{plan.checkpoint_seconds!r} must not be negative"
        )
    plan = replace(plan, loss_steps=tuple(plan.loss_steps) or log_spaced_steps(plan.n_steps, 100))
    for name, steps in [("loss_steps", plan.loss_steps), *(("Record.steps", tuple(each.steps)) for each in record)]:
        if not steps or list(steps) != sorted(set(steps)) or steps[0] < 0 or steps[-1] > plan.n_steps:
            raise ValueError(f"{name}={steps!r} must increase from at least 0 to at most n_steps={plan.n_steps}")
    return plan
