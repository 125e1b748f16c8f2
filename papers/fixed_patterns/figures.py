"""Figure: where the influence of stacks lies that cost the same, against how far they reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.fixed_patterns.paper import COMBS, paper
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.fixed_patterns.stacks import CombSetting, ScaleSetting, combs, scales
from attnlab.theory.fixed_patterns import multi_scale_windows, reach
from attnlab.theory.fixed_patterns.influence import profile_exact

WINDOW, LAYERS, SIZE = 16, 4, 15
SCHEDULES = {"neighbourhoods": (1, 1, 1, 1), "dilated, 1 and 7 by turns": (1, 7, 1, 7)}


@paper.figure(
    "fig1",
    caption="Influence of a token on the output of four layers with equal scores against its distance: neighbourhoods of 15 "
    "cells, plain and dilated (both sides together), multi-scale windows of 14 keys in the mean, and equal windows of 14 "
    "(prediction alone). Points: the operators' maps, multiplied; lines: the product of the layers' offsets",
    source="sections on reach and influence",
    setting=COMBS,
    claims=("paths_of_stacks", "scales_reach_far_and_look_near"),
)
def influence(setting: CombSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(width=5.2)
    panel = plate[0, 0]
    stacks = [replace(setting, size=SIZE, dilations=steps) for steps in SCHEDULES.values()]
    for (label, steps), runs in zip(SCHEDULES.items(), lab.simulate(combs, *stacks), strict=True):
        half = SIZE // 2 * sum(steps)
        _, p = profile_exact([[reach.comb(SIZE, step)] for step in steps])
        at = np.arange(half + 1)
        figures.prediction(panel, at, _both(p, half), label)
        shown = _places(half)
        found = np.stack([_both(each, half) for each in runs["influence"]])
        figures.measurement(panel, shown, found[:, shown], label)
    layers = [[reach.look_back(w) for w in heads] for heads in multi_scale_windows.layer_windows(WINDOW, LAYERS)]
    _, p = profile_exact(layers)
    label = "multi-scale windows"
    figures.prediction(panel, np.arange(len(p)), p, label)
    shown = _places(len(p) - 1)
    (runs,) = [lab.simulate(scales, ScaleSetting(WINDOW, LAYERS, setting.n_replicas))]
    figures.measurement(panel, shown, runs["profile"][:, shown], label)
    _, p = profile_exact([[reach.look_back(SIZE - 1)]] * LAYERS)
    figures.prediction(panel, np.arange(len(p)), p, "equal windows")
    panel.scale(y="log")
    panel.limits(y=(1e-7, 0.2))
    panel.labels(x="distance (tokens)", y="influence (share of the output)")
    plate.legend("below", columns=2)
    return plate


def _both(p: np.ndarray, half: int) -> np.ndarray:
    """Influence by distance, both sides together."""
    found = p[half:].copy()
    found[1:] += p[:half][::-1]
    return found


def _places(last: int) -> np.ndarray:
    """About a dozen distances, the last one among them."""
    return np.unique(np.linspace(0, last, 12).astype(int))
