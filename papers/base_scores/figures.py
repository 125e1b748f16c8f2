"""Figures: how rows concentrate below and above freezing, how sure pointers are, how copies drift."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.base_scores.paper import POINTERS, ROWS, WALKS, paper
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.base_scores.dynamics import WalkSetting, copies
from attnlab.simulators.base_scores.planted import PointerSetting, sure_pointers
from attnlab.simulators.base_scores.rows import RowsSetting, rows
from attnlab.theory.base_scores import dot_product, location_relative, pointer

SPREADS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0)


@paper.figure(
    "fig1",
    caption="Sum of squared weights of random rows against the spread of their scores, d = 128 (points: means and 95 % "
    "intervals over replicas; lines: the exact row at n keys, and the frozen limit 1 - sqrt(2 ln n)/s)",
    source="dot-product attention",
    setting=Scales(*(replace(each, n_rows=16, n_replicas=16) for each in (ROWS.smoke, ROWS.smoke, ROWS.desk))),
)
def concentration(setting: RowsSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel = plate[0, 0]
    fine = np.geomspace(SPREADS[0], SPREADS[-1], 24)
    for n in (64, 1024):
        runs = lab.simulate(rows, *(replace(setting, n_keys=n, score_std=s) for s in SPREADS))
        label = f"n = {n}"
        figures.prediction(panel, fine, [dot_product.participation_exact(s, n) for s in fine], label)
        found = np.stack([each["participation"] for each in runs], 1)
        figures.measurement(panel, SPREADS, found, label)
        frozen = fine[fine > 1.05 * dot_product.freezing_std(n)]
        limit = [dot_product.frozen_participation(s, n) for s in frozen]
        figures.prediction(panel, frozen, limit, f"frozen limit, n = {n}")
    panel.scale(x="log", y="log")
    panel.labels(x="spread of the scores s", y=r"sum of squared weights $\sum_j W_j^2$")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Largest weight of a pointer against the number of inputs. (a) The bound for three norms of the read-out. "
    "(b) Planted pointers with random read-outs over their own bounds (median and range over replicas)",
    source="pointer networks",
    setting=Scales(*(replace(each, n_draws=1) for each in (POINTERS.smoke, POINTERS.desk, POINTERS.paper))),
)
def sure(setting: PointerSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    fine = np.unique(np.geomspace(2, 10_000, 60).astype(int))
    for norm in (2.0, 3.0, 4.0):
        bound = [pointer.largest_weight_bound(int(n), norm) for n in fine]
        figures.prediction(plate[0, 0], fine, bound, rf"$|v|_1$ = {norm:g}")
    lengths = (10, 100, 1000)
    runs = lab.simulate(sure_pointers, *(replace(setting, n_keys=n) for n in lengths))
    share = [
        each["largest"] / [pointer.largest_weight_bound(n, x) for x in each["readout_norm"]]
        for n, each in zip(lengths, runs, strict=True)
    ]
    figures.estimate(
        plate[0, 1],
        lengths,
        [np.median(each) for each in share],
        [each.min() for each in share],
        [each.max() for each in share],
        "planted, over the bound",
        interval="median and range over replicas",
    )
    figures.prediction(plate[0, 1], lengths, np.ones(3), "bound", series="bound")
    for panel, label in ((plate[0, 0], "largest weight"), (plate[0, 1], "largest weight over its bound")):
        panel.scale(x="log")
        panel.labels(x="number of inputs n", y=label)
    plate.legend("below")
    return plate


@paper.figure(
    "fig3",
    caption="Share of copies that are still on their key after t steps (points: means and 95 % intervals over replicas; "
    "lines: the diffusion law), for two sizes of step noise",
    source="location-relative attention",
    setting=WALKS,
)
def drift(setting: WalkSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel, steps = plate[0, 0], (25, 100, 400, 1600)
    for noise in (0.02, 0.04):
        runs = lab.simulate(copies, replace(setting, step_noise=noise, steps=steps))
        label, fine = f"s = {noise:g}", np.geomspace(steps[0], steps[-1], 60)
        figures.prediction(panel, fine, [location_relative.copy_accuracy(noise, t) for t in fine], label)
        figures.measurement(panel, steps, runs["accuracy"], label)
    panel.scale(x="log")
    panel.labels(x="step t", y="share on the right key")
    plate.legend("below")
    return plate
