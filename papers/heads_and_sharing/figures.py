"""Figures: what pools capture as signs flip, and the error of borrowed maps against the distance of layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.heads_and_sharing.paper import BORROWS, POOLS, paper
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.heads_and_sharing.sharing import BorrowSetting, PoolSetting, borrowed, pools
from attnlab.theory.heads_and_sharing import shared_maps, weighted_groups

HEADS, SPREADS, DISTANCES = 8, (0.5, 1.0, 1.5), (1, 2, 4, 8)


@paper.figure(
    "fig1",
    caption="Energy of eight heads' values that one pooled head captures, against the share of heads of opposite sign "
    "(points: means "
    "and 95 % intervals over replicas; lines: the laws): the mean as it is, the mean with a fitted output, the best pool",
    source="weighted groups",
    setting=Scales(*(replace(each, width=8, n_replicas=16) for each in (POOLS.smoke, POOLS.desk, POOLS.paper))),
    claims=("the_mean_loses_what_signs_cancel", "weights_are_for_signs"),
)
def captured(setting: PoolSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel, e, flipped = plate[0, 0], setting.noise_std, range(HEADS // 2 + 1)
    amplitudes = [(-1.0,) * k + (1.0,) * (HEADS - k) for k in flipped]
    runs = lab.simulate(pools, *(replace(setting, amplitudes=c) for c in amplitudes))
    at = np.array(flipped) / HEADS
    for label, name, law in (
        ("mean", "lost", lambda c: 1 - weighted_groups.lost_by_the_mean(c, e)),
        ("mean, output fitted", "mean", lambda c: weighted_groups.captured_by_the_mean(c, e)),
        ("best pool", "best", lambda c: weighted_groups.captured_by_the_best_pool(c, e)),
    ):
        found = np.stack([1 - each[name] if name == "lost" else each[name] for each in runs], 1)
        figures.prediction(panel, at, [law(c) for c in amplitudes], label)
        figures.measurement(panel, at, found, label)
    panel.labels(x="share of heads of opposite sign", y="captured energy")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Error of a map borrowed from an earlier layer on independent values, relative to their size, against the "
    "distance in "
    "layers, for three spreads of scores that keep a correlation of .9 per layer (points: means and 95 % intervals; lines: "
    "the law)",
    source="shared maps",
    setting=Scales(*(replace(each, n_rows=32, n_replicas=16) for each in (BORROWS.smoke, BORROWS.desk, BORROWS.paper))),
    claims=("borrowed_maps_err_by_their_age",),
)
def borrowing(setting: BorrowSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel, r = plate[0, 0], setting.correlation
    fine = np.arange(1, DISTANCES[-1] + 1)
    runs = lab.simulate(borrowed, *(replace(setting, score_std=s, distances=DISTANCES) for s in SPREADS))
    for s, each in zip(SPREADS, runs, strict=True):
        label = f"s = {s:g}"
        figures.prediction(panel, fine, [shared_maps.output_error(r, s, int(k)) for k in fine], label)
        figures.measurement(panel, DISTANCES, each["error"], label)
    panel.labels(x="distance in layers", y="relative squared error")
    plate.legend("below")
    return plate
