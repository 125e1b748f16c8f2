"""Figures: accuracies of uniform and hybrid stacks, and of hybrids without their variant; the newest token's weight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.deconstructing_attention.paper import COPY, GRIDS, NEWEST, REGRESSION, paper
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.attention_ablation.grid import GridSetting, grid
from attnlab.simulators.attention_ablation.maps import NewestSetting, newest
from attnlab.theory.attention_ablation import principles

SHOWN = ("standard", "approximate", "non_approximate", "random", "fixed", "static", "mlp")


@paper.figure(
    "fig1",
    caption="(a) Accuracy on recall of uniform stacks, of hybrids with the variant first or second, and of the former without "
    "the "
    "variant (points: means and 95 % intervals over replicas; lines: what a stack that matches keys, a bag of values and "
    "chance reach). "
    "(b) One layer: accuracy on copying two tokens back, and explained share of a regression. Variants: 1 standard, 2 "
    "approximate, "
    "3 non-approximate, 4 random, 5 fixed, 6 static, 7 MLP",
    source="figure of accuracies by variant",
    setting=GRIDS,
    claims=("who_recalls", "bag_of_values", "without_mixing"),
)
def accuracies(setting: GridSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    left, right = plate[0, 0], plate[0, 1]
    at = np.arange(len(SHOWN))
    uniform = lab.simulate(grid, *(replace(setting, layers=(v, v)) for v in SHOWN))
    first = lab.simulate(grid, *(replace(setting, layers=(v, "standard")) for v in SHOWN))
    second = lab.simulate(grid, *(replace(setting, layers=("standard", v)) for v in SHOWN))
    rows = {
        "uniform": [runs["accuracy"] for runs in uniform],
        "variant first": [runs["accuracy"] for runs in first],
        "variant second": [runs["accuracy"] for runs in second],
        "variant first, skipped": [runs["skipped"][:, 0] for runs in first],
    }
    for number, (label, found) in enumerate(rows.items()):
        figures.measurement(left, at + 1, np.stack(found, axis=1), label, dodge=4 * number)
    ends = np.array([0.6, len(at) + 0.8])
    for label, law in (
        ("matched", 1.0),
        ("bag of values", principles.bag_of_values_accuracy(setting.size, setting.n_values)),
        ("chance", 1 / setting.n_values),
    ):
        figures.prediction(left, ends, np.full(2, law), label)
    left.labels(x="variant", y="accuracy on recall")
    for label, base in (("copy", COPY), ("regression", REGRESSION)):
        some = replace(base, n_replicas=setting.n_replicas)
        runs = lab.simulate(grid, *(replace(some, layers=(v,)) for v in SHOWN))
        figures.measurement(right, at + 1, np.stack([each["accuracy"] for each in runs], axis=1), label)
    right.labels(x="variant", y="accuracy, explained share")
    for panel in (left, right):
        panel.ticks(x=list(at + 1))
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Mean weight of the newest of i tokens with one independent normal score each (points; line 1/i)",
    source="appendix on non-approximate attention",
    setting=NEWEST,
    claims=("newest_token",),
)
def newest_weights(setting: NewestSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel, places = plate[0, 0], np.array(setting.positions)
    fine = np.arange(places[0], places[-1] + 1)
    for number, std in enumerate((0.5, 2.0)):
        runs = lab.simulate(newest, replace(setting, score_std=std))
        figures.measurement(panel, places, runs["weight"], f"spread {std:g}", dodge=3 * number)
    figures.prediction(panel, fine, [principles.newest_weight_exact(int(i)) for i in fine], "1/i")
    panel.scale(x="log", y="log")
    panel.labels(x="position i", y="weight of the newest token")
    plate.legend("below")
    return plate
