"""The trainings of the laboratory, taken before they start: what every trained simulator hands to the trainer.

Benchmarks time these trainings and tests hold each of them to autograd, so that a new simulator is covered the day it is written.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnlab.simulators.ensemble.simulation import Simulation, View, simulations_of


@dataclass(frozen=True)
class Training:
    """The arguments of one call of the trainer."""

    model: Any
    task: Any
    optimiser: Any
    seeds: Sequence[np.random.SeedSequence]
    plan: Any


class _Taken(Exception):
    def __init__(self, training: Training) -> None:
        self.training = training


_taking: ContextVar[bool] = ContextVar("taking", default=False)


def offer(model: Any, task: Any, optimiser: Any, seeds: Sequence[np.random.SeedSequence], plan: Any) -> None:
    """Called by the trainer before it starts: nothing, unless somebody is taking trainings."""
    if _taking.get():
        raise _Taken(Training(model, task, optimiser, seeds, plan))


@contextmanager
def _take() -> Iterator[None]:
    token = _taking.set(True)
    try:
        yield
    finally:
        _taking.reset(token)


def training_of(simulation: Simulation, setting: Any = None, n_replicas: int = 16) -> Training:
    """The first training of a simulation at a setting, the default one if left out.

    Errors: ``ValueError`` for a simulation that trains nothing.
    """
    seeds = [np.random.SeedSequence(0, spawn_key=(replica,)) for replica in range(n_replicas)]
    setting = simulation.setting_type() if setting is None else setting
    try:
        with _take():
            simulation.function(View(setting, simulation.reads, simulation.name), seeds, "cpu")
    except _Taken as taken:
        return taken.training
    raise ValueError(f"{simulation.name} trains nothing at {setting!r}")


def all_simulations() -> dict[str, Simulation]:
    """The simulations of this package by name, in the order of their subjects."""
    import attnlab.simulators as home

    subjects = sorted(each.name for each in pkgutil.iter_modules(home.__path__) if each.ispkg)
    return {
        name: each for subject in subjects for name, each in simulations_of(f"attnlab.simulators.{subject}").items()
    }


def trained_simulations(trains: Callable[..., Any]) -> dict[str, Simulation]:
    """All simulations of the laboratory whose function calls ``trains``, the trainer's function, by name."""
    return {
        name: each
        for name, each in all_simulations().items()
        if any(each.function.__globals__.get(word) is trains for word in each.function.__code__.co_names)
    }
