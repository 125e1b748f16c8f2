"""Figures: what every map makes of Gaussian rows; entropies at a scale of ln n; idle heads."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.normalisers.paper import IDLE, LENGTHS, ROWS, paper
from attnlab.simulators.score_maps.idle import IdleSetting, descend
from attnlab.simulators.score_maps.random_rows import LengthSetting, RowSetting, lengths, rows
from attnlab.theory.score_maps import clipped, idle, softpick
from attnlab.theory.score_maps import random_rows as theory

SHOWN = (0.25, 0.5, 1.0, 1.5, 2.0)


@paper.figure(
    "fig1",
    caption="Rows of independent Gaussian scores: row sum, share of exact zeros, entropy lost (of the sizes over their sum) "
    "and largest "
    "weight times n, against the spread of the scores. Lines: limits of many keys. Points: means over rows (medians for the "
    "largest)",
    source="figure listed in the sheet",
    setting=ROWS,
    claims=("softpick_row_sum", "clipped_zero_share", "clipped_kept_mass", "softplus_is_flat"),
)
def rows_of_every_map(setting: RowSetting, lab: Lab) -> figures.Plate:
    setting = replace(setting, spreads=SHOWN, n_rows=10)
    runs, n = lab.simulate(rows, setting), setting.n_keys
    gamma, fine = -setting.cut / n, np.linspace(0.2, 2.05, 40)
    plate = figures.Plate(columns=2, rows=2, width="double")
    ones = np.ones_like(fine)
    sums = {
        "softmax": ones,
        "softplus": ones,
        "softpick": [softpick.row_sum(s) for s in fine],
        "clipped": [clipped.kept_mass(s, n, gamma) for s in fine],
        "signed": 0 * ones,
    }
    zeros = {"softpick": 0.5 * ones, "clipped": [clipped.zero_share(s, n, gamma) for s in fine]}
    deficits = {
        name: [theory.entropy_deficit_law(name, theory.gaussian_scores(s), n).limit for s in fine]
        for name in ("softmax", "softplus", "softpick", "signed")
    }
    largest = {
        name: [n * theory.largest_weight_median_limit(name, theory.gaussian_scores(s), n, s) for s in fine]
        for name in ("softmax", "softplus", "signed")
    }
    panels = (
        ("sum", sums, 1, "row sum"),
        ("zeros", zeros, 1, "share of zeros"),
        ("deficit", deficits, 1, "entropy lost (nats)"),
        ("largest", largest, n, "n × largest weight"),
    )
    for panel, (what, lines, factor, label) in zip(plate, panels, strict=True):
        for name, law in lines.items():
            figures.prediction(panel, fine, np.array(law), name)
            figures.measurement(panel, SHOWN, factor * runs[f"{name}_{what}"], name)
        panel.labels(x="spread σ of the scores", y=label)
    plate[1, 1].scale(y="log")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Entropy of rows of softplus attention with the scale c0 ln n on random directions, against the length: the law, "
    "ln n, and "
    "what any scale leaves at least",
    source="section 3 of Gao and Spratling",
    setting=LENGTHS,
    claims=("length_scale_keeps_entropy", "entropy_of_length_scaled_rows"),
)
def entropies(setting: LengthSetting, lab: Lab) -> figures.Plate:
    runs, d = lab.simulate(lengths, setting), setting.dim
    plate = figures.Plate()
    panel = plate[0, 0]
    fine = np.geomspace(min(setting.lengths), max(setting.lengths), 30)
    scores = [theory.cosine_scores(d, setting.constant * math.log(n)) for n in fine]
    law = [
        math.log(n) - theory.entropy_deficit_law("softplus", s, int(n)).limit for n, s in zip(fine, scores, strict=True)
    ]
    bound = theory.entropy_deficit_law("relu", theory.cosine_scores(d, 1.0), 2).limit
    figures.prediction(panel, fine, np.array(law), "law")
    figures.prediction(panel, fine, np.log(fine), "flat rows, ln n")
    figures.prediction(panel, fine, np.log(fine) - bound, "any scale, at least")
    figures.measurement(panel, setting.lengths, runs["entropy"], "rows drawn", series="law")
    panel.scale(x="log")
    panel.ticks(x=setting.lengths)
    panel.labels(x="length n", y="entropy (nats)")
    plate.legend("below")
    return plate


@paper.figure(
    "fig3",
    caption="A head that should do nothing, with one key of no value: gap of that key's score under gradient descent (points) "
    "and flow "
    "(line). Softmax grows for ever; clipped softmax stops where nothing is left (dashed)",
    source="section 3 of Bondarenko et al.",
    setting=IDLE,
    claims=("softmax_never_rests", "clipped_softmax_rests"),
)
def idle_heads(setting: IdleSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(descend, setting, replace(setting, score="clipped", step=0.5))
    plate = figures.Plate()
    panel = plate[0, 0]
    time = runs[0]["time"][0]
    figures.prediction(panel, time, idle.softmax_gap_exact(time, setting.n_keys), "softmax, flow")
    late = runs[1]["time"][0]
    limit = idle.clipped_gap_limit(setting.n_keys, setting.gamma)
    figures.prediction(panel, late, np.full_like(late, limit), "clipped, limit")
    for found, name in zip(runs, ("softmax, flow", "clipped, limit"), strict=True):
        figures.measurement(
            panel,
            found["time"][0],
            found["gap"][:1],
            name.replace("flow", "descent").replace("limit", "descent"),
            series=name,
        )
    panel.scale(x="log")
    panel.labels(x="time (step size × steps)", y="gap of the idle key's score")
    plate.legend("below")
    return plate
