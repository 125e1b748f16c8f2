"""A lab whose simulations return what is planted: to test a claim on runs whose truth is known, without a simulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from attnlab.analysis.verdicts.verdict import Verdict
from attnlab.papers.lab.declare import Claim
from attnlab.papers.lab.run.quantified import judge
from attnlab.papers.lab.run.workbench import Runs

Arrays = dict[str, np.ndarray]


class PlantedLab:
    """What a claim or a figure sees of a lab: ``PlantedLab(give)`` or ``PlantedLab(train=..., evaluate=...)``.

    ``give(setting)`` makes the arrays of every simulation, replica axis first; or each is named by its function, with its
    arrays or a function of the setting. A claim is then ``claim.function(setting, PlantedLab(...))``.
    """

    def __init__(
        self,
        give: Callable[[Any], Arrays] | None = None,
        *,
        scale: str = "desk",
        seed: int = 0,
        **named: Arrays | Callable[[Any], Arrays],
    ) -> None:
        self.give, self.named, self.scale, self.seed = give, named, scale, seed

    def quantified(self, claim: Claim, setting: Any) -> Verdict:
        """The verdict on a claim about all inputs, as ``Lab.quantified`` returns; nothing of it is planted."""
        return judge(claim, setting, self.seed)

    def simulate(self, simulation: Any, *settings: Any) -> Runs | list[Runs]:
        """One ``Runs`` for one setting, else a list of them, as ``Lab.simulate`` returns."""
        name = simulation.function.__name__
        made = self.named[name] if self.give is None else self.give
        found = [Runs(name, made(setting) if callable(made) else made) for setting in settings]
        return found[0] if len(settings) == 1 else found
