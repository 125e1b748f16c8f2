"""A lab whose simulations return what is planted: to test a claim on runs whose truth is known, without a simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from attnlab.analysis.verdicts.verdict import Verdict
from attnlab.papers.lab.declare import Claim
from attnlab.papers.lab.run.quantified import judge
from attnlab.papers.lab.run.workbench import Runs

Arrays = dict[str, np.ndarray]


Given = Arrays | Sequence[Arrays] | Callable[[Any], Arrays]


class PlantedLab:
    """What a claim or a figure sees of a lab: ``PlantedLab(give)`` or ``PlantedLab(train=..., evaluate=...)``.

    ``give`` is what every simulation returns, replica axis first: arrays, a function of the setting, or a list of arrays for
    the settings of a call in turn (the last for all that follow). Or each simulation is named by its function, with its own.
    A claim is then ``claim.function(setting, PlantedLab(...))``.
    """

    def __init__(self, give: Given | None = None, *, scale: str = "desk", seed: int = 0, **named: Given) -> None:
        self.give, self.named, self.scale, self.seed = give, named, scale, seed

    def quantified(self, claim: Claim, setting: Any) -> Verdict:
        """The verdict on a claim about all inputs, as ``Lab.quantified`` returns; nothing of it is planted."""
        return judge(claim, setting, self.seed)

    def simulate(self, simulation: Any, *settings: Any) -> Any:
        """One ``Runs`` for one setting, else a list of them, as ``Lab.simulate`` returns."""
        found = [Runs(simulation.name, self._arrays(simulation, k, setting)) for k, setting in enumerate(settings)]
        return found[0] if len(settings) == 1 else found

    def _arrays(self, simulation: Any, number: int, setting: Any) -> Arrays:
        given = self.named[simulation.function.__name__] if self.give is None else self.give
        if callable(given):
            return given(setting)
        return given if isinstance(given, dict) else given[min(number, len(given) - 1)]


class LiveLab(PlantedLab):
    """A lab that runs simulations in this process, at the setting's number of replicas; ``spoil`` changes what they give."""

    def __init__(self, spoil: Callable[[Arrays], Arrays] = dict, *, scale: str = "smoke", seed: int = 0) -> None:
        super().__init__(scale=scale, seed=seed)
        self.spoil = spoil

    def _arrays(self, simulation: Any, number: int, setting: Any) -> Arrays:
        seeds = [np.random.SeedSequence(5, spawn_key=(number, replica)) for replica in range(setting.n_replicas)]
        return self.spoil(simulation(setting, seeds, "cpu"))


def spoiled(field: str, change: float) -> Callable[[Arrays], Arrays]:
    """For :class:`LiveLab`: adds ``change`` to the last number of an array and leaves the rest."""

    def spoil(runs: Arrays) -> Arrays:
        changed = runs[field].copy()
        changed.flat[-1] += change
        return runs | {field: changed}

    return spoil


def scattered(mean: float, spread: float, n: int) -> np.ndarray:
    """``n`` replicas, shape (n,), of exactly this mean and standard deviation."""
    z = np.random.default_rng(0).normal(size=n)
    return mean + spread * (z - z.mean()) / z.std()
