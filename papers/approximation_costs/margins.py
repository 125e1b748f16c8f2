"""Spreads and leading terms in 1/n behind the margins of the claims, and the command that measures them on seeds of its own.

``python -m attnlab.papers.approximation_costs.margins [replicas=64] [seed=1]`` prints each constant beside what it measures:
relative standard deviations of squared errors over ``replicas`` draws, the greater of those of 512 tokens and of 256 over the
root of two (they differ where parts of an error cancel at one of the sizes), and how far mean and law are apart at 128 tokens,
times 128, plus the standard error of that, at the worst rung. A standard deviation is known to one in sqrt(2 replicas).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from attnlab.papers.approximation_costs import paper as settings
from attnlab.papers.approximation_costs.predictions import law_of, predicted_errors
from attnlab.simulators.score_ensembles.ensembles import EnsembleSetting
from attnlab.simulators.score_ensembles.map_errors import map_errors
from attnlab.theory.score_ensembles.law import mean_of_values_error_limit

#: Relative standard deviations of squared errors over replicas in units of 512 tokens, by rung.
RANDOM_STD = (0.0037, 0.0030, 0.0019, 0.0033)
SHARED_STD = 0.0679  # of one draw of samples
BEST_STD = (0.0071, 0.0078, 0.0091, 0.0115)
BLOCKS_STD = {2: 0.0050, 3: 0.0090}
SERIES_STD = 0.0751
FEATURES_STD = {2: 0.0766, 3: 0.0710}  # of the mean of eight draws of rows
PLANTED_RANDOM_STD = (0.0347, 0.0277, 0.0149, 0.0270)
PLANTED_BEST_STD = (0.0050, 0.0069, 0.0094, 0.0122)
PLANTED_SERIES_STD = (0.0005, 0.0010)
FEW_STD = (0.0155, 0.0167, 0.0189, 0.0231)
MEAN_STD = 0.0206
#: Leading terms of order 1/n that laws drop, relative: gaps at 128 tokens and a standard error, at the worst rung.
DROPPED = {
    "random": 1.92,
    "shared": 2.58,
    "best": 2.59,
    "blocks": 0.79,
    "series": 11.27,
    "planted_random": 1.08,
    "planted_best": 1.62,
    "planted_series": 0.72,
    "few": 2.56,
    "mean": 2.70,
}


@dataclass(frozen=True)
class Ladder:
    """A setting, the relative standard deviations by rung (over its ``n_draws`` of the operator), its key in ``DROPPED``."""

    setting: EnsembleSetting
    stds: Mapping[int, float]
    dropped: str = ""


def ladders() -> dict[str, Ladder]:
    """The ladders of the claims by name."""

    def whole(stds: tuple[float, ...]) -> dict[int, float]:
        return dict(enumerate(stds))

    return {
        "random": Ladder(settings.RANDOM.desk, whole(RANDOM_STD), "random"),
        "shared": Ladder(replace(settings.SHARED.desk, n_draws=1), {0: SHARED_STD}, "shared"),
        "best": Ladder(settings.BEST.desk, whole(BEST_STD), "best"),
        "blocks": Ladder(settings.BLOCKS.desk, BLOCKS_STD, "blocks"),
        "series": Ladder(settings.SERIES.desk, {0: SERIES_STD}, "series"),
        "features": Ladder(settings.FEATURES.desk, FEATURES_STD),
        "planted_random": Ladder(settings.PLANTED_RANDOM.desk, whole(PLANTED_RANDOM_STD), "planted_random"),
        "planted_best": Ladder(settings.PLANTED_BEST.desk, whole(PLANTED_BEST_STD), "planted_best"),
        "planted_series": Ladder(settings.PLANTED_SERIES.desk, whole(PLANTED_SERIES_STD), "planted_series"),
        "few": Ladder(settings.FEW_DIRECTIONS.desk, whole(FEW_STD), "few"),
    }


def measured(setting: EnsembleSetting, replicas: int, seed: int) -> dict[str, np.ndarray]:
    """``std (rung,)`` of squared errors over their mean; ``gap (rung,)``: 128 |mean/law^2 - 1| at 128 tokens, plus its error.

    The last entry is the map 1/n.
    """
    found: dict[str, np.ndarray] = {}
    seeds = np.random.SeedSequence(seed).spawn(replicas)
    for n in (512, 256, 128):
        each = replace(setting, n_tokens=n, n_replicas=replicas)
        runs = map_errors(each, seeds, "cpu")
        errors = np.hstack([runs["error2"], runs["mean2"][:, None]])
        law = np.append(predicted_errors(each), mean_of_values_error_limit(law_of(each)))
        spread = errors.std(0, ddof=1)
        if n == 128:
            found["gap"] = n * (np.abs(errors.mean(0) / law**2 - 1) + spread / law**2 / np.sqrt(replicas))
        else:
            found["std"] = np.maximum(found.get("std", 0.0), math.sqrt(n / 512) * spread / errors.mean(0))
    return found


def table(replicas: int, seed: int) -> str:
    """Markdown: committed beside measured."""
    rows = ["| ladder | std | measured | term in 1/n | measured |", "|---|---|---|---|---|"]

    def row(name: str, stds: Mapping[int, float], dropped: str, found: dict[str, np.ndarray]) -> str:
        told = [", ".join(f"{x:.4f}" for x in values) for values in (stds.values(), (found["std"][k] for k in stds))]
        gap = f"{max(found['gap'][k] for k in stds):.2f}"
        return f"| {name} | {told[0]} | {told[1]} | {DROPPED.get(dropped, 'none')} | {gap} |"

    for name, ladder in ladders().items():
        found = measured(ladder.setting, replicas, seed)
        rows.append(row(name, ladder.stds, ladder.dropped, found))
        if name == "random":
            last = len(found["std"]) - 1
            rows.append(row("mean of all values", {last: MEAN_STD}, "mean", found))
    return "\n".join(rows)


def main(words: list[str]) -> str:
    """:func:`table` at ``KEY=VALUE`` words. Raises ``ValueError`` for anything but whole numbers ``replicas`` and ``seed``."""
    given = {"replicas": "64", "seed": "1"}
    for word in words:
        key, _, value = word.partition("=")
        least = {"replicas": 2, "seed": 0}.get(key)
        if least is None or not value.isdecimal() or int(value) < least:
            raise ValueError(f"{word!r}: use replicas=N with N of at least 2, and seed=N")
        given[key] = value
    return table(int(given["replicas"]), int(given["seed"]))


if __name__ == "__main__":
    print(main(sys.argv[1:]))
