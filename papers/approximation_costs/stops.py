"""Where predictions stop being true: measured over predicted errors while one number of an ensemble grows or shrinks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from attnlab.analysis.statistics.intervals import mean_interval
from attnlab.papers.approximation_costs.predictions import has_a_law, law_of, predicted_error
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.score_ensembles.ensembles import EnsembleSetting
from attnlab.simulators.score_ensembles.map_errors import ladders, map_errors, sizes_of

TOLERATED = 0.1
"""A prediction is called true while the 95 % interval of measured over predicted touches 1 -+ this number."""

DEPARTURES = {
    "spread": ("gaussian", (0.125, 0.25, 0.5, 0.75, 1.0, 1.5)),
    "n_clusters": ("clustered", (128, 32, 16, 8, 4, 2)),
    "tail": ("heavy_tailed", (64.0, 16.0, 8.0, 5.0, 3.0)),
    "rank": ("low_rank", (16, 8, 4, 2)),
    "height": ("planted", (1.0, 2.0, 3.0, 4.0, 6.0)),
}
"""By field of the setting: the ensemble, and values from where the Gaussian law is right to where it is not."""


@dataclass(frozen=True)
class Walk:
    """One ladder's middle rung along one departure: measured over predicted (value, replica); NaN where no law covers it."""

    operator: str
    ladder: str
    field: str
    values: tuple[float, ...]
    ratio: np.ndarray

    def ends(self) -> tuple[float | None, str]:
        """The first value at which the prediction is not true, and why; None where it is true at all."""
        for value, ratio in zip(self.values, self.ratio, strict=True):
            if np.isnan(ratio).any():
                return value, "no law"
            low, high = mean_interval(ratio, 0.95)
            if high < 1 - TOLERATED or low > 1 + TOLERATED:
                return value, f"{ratio.mean():.2g}"
        return None, ""


def predicted_ladders(setting: EnsembleSetting) -> list[tuple[str, str]]:
    """``(operator, ladder)`` of all that have a law."""
    return [key for key in ladders(sizes_of(setting)) if has_a_law(replace(setting, operator=key[0], ladder=key[1]))]


def walks(setting: EnsembleSetting, lab: Lab) -> Iterator[Walk]:
    """All ladders with a law along all departures, against the Gaussian law of the same spread and width.

    The law does not know of clusters, tails and planted keys; what is shown is the third rung, or the first of a short ladder.
    Where no law covers a value nothing is run.
    """
    for operator, ladder in predicted_ladders(setting):
        rungs = ladders(sizes_of(setting))[operator, ladder]
        at = 0 if len(rungs) < 4 else 2
        for field, (ensemble, values) in DEPARTURES.items():
            settings = [
                replace(setting, ensemble=ensemble, operator=operator, ladder=ladder, rung=at, **{field: value})
                for value in values
            ]
            laws = [predicted_error(rungs[at], replace(law_of(each), height=None))[0] for each in settings]
            covered = [each for each, law in zip(settings, laws, strict=True) if not np.isnan(law)]
            given = lab.simulate(map_errors, *covered) if covered else []
            runs = dict(zip(covered, [given] if len(covered) == 1 else given, strict=True))
            ratio = [np.sqrt(runs[each]["error2"][:, 0]) / law if each in runs else None
                     for each, law in zip(settings, laws, strict=True)]  # fmt: skip
            n = next((len(each) for each in ratio if each is not None), 1)
            yield Walk(operator, ladder, field, values,
                       np.array([np.full(n, np.nan) if each is None else each for each in ratio]))  # fmt: skip
