"""Figures: errors of ensembles of subsets; variance against the spread of scores; reach by layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.information_pathways.paper import BLOCKS, ENSEMBLES, ROWS, paper
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.subsampling.blocks import BlockSetting, reach
from attnlab.simulators.subsampling.subsets import SubsetSetting, drawn, row
from attnlab.theory.subsampling import paths, ratios


@paper.figure(
    "fig1",
    caption="Root mean square distance from the dense output of an average over R subsets of n/c keys: second-order law "
    "(lines) with its "
    "floor, the bias, and the law without it (dashed); points: subsets drawn",
    source="figure on inference ensembles",
    setting=ENSEMBLES,
    claims=("ensembles_keep_the_bias",),
)
def ensembles(setting: SubsetSetting, lab: Lab) -> figures.Plate:
    runs, (p, v) = lab.simulate(drawn, setting), row(setting)
    m, fine = setting.n_keys // setting.reduction, np.unique(np.geomspace(1, 1024, 30).round())
    _, variance = ratios.output_moments_approx(p, v, m)
    plate = figures.Plate()
    panel = plate[0, 0]
    law = [ratios.ensemble_error_approx(p, v, m, int(R)) ** 0.5 for R in fine]
    figures.prediction(panel, fine, np.array(law), "bias and variance")
    figures.prediction(panel, fine, np.sqrt(variance.sum() / fine), "variance alone")
    figures.measurement(panel, setting.ensembles, np.sqrt(runs["error"]), "subsets drawn", series="bias and variance")
    panel.scale(x="log", y="log")
    panel.labels(x="subsets R in the average", y="distance from the dense output")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Variance of the output of one subset over its first-order law, against the spread of the scores, for c = 2, 4, 8 "
    "at n = 256: "
    "second-order law (lines) and subsets drawn (points). For c = 8 no expansion holds beyond a spread of 1",
    source="table of the sheet",
    setting=ROWS,
    claims=("variance_of_a_subset", "second_order"),
)
def variances(setting: SubsetSetting, lab: Lab) -> figures.Plate:
    spreads, fine = (0.5, 1.0, 1.5, 2.0), np.linspace(0.25, 2.0, 15)
    plate = figures.Plate()
    panel = plate[0, 0]

    def law(at: SubsetSetting, order: int) -> float:
        return float(ratios.output_moments_approx(*row(at), at.n_keys // at.reduction, order)[1].sum())

    for c in (2, 4, 8):
        cells = [replace(setting, n_keys=256, reduction=c, spread=s, n_draws=256, n_replicas=16) for s in spreads]
        second = [
            law(replace(setting, n_keys=256, reduction=c, spread=float(s)), 2)
            / law(replace(setting, n_keys=256, reduction=c, spread=float(s)), 1)
            for s in fine
        ]
        found = lab.simulate(drawn, *cells)
        ratio = np.stack([r["variance"].sum(1) / law(at, 1) for at, r in zip(cells, found, strict=True)], 1)
        figures.prediction(panel, fine, np.array(second), f"c = {c}")
        figures.measurement(panel, spreads, ratio, f"c = {c}")
    panel.limits(y=(0, 3))
    panel.labels(x="spread of the scores", y="variance over its first order")
    plate.legend("below")
    return plate


@paper.figure(
    "fig3",
    caption="Share of pairs of tokens connected by one and two layers of c random equal blocks of 64 tokens: exact law (line), "
    "the form that "
    "takes tokens as independent (dashed), and blocks drawn (points)",
    source="section 2",
    setting=BLOCKS,
    claims=("two_layers_reach", "one_layer_shares_blocks"),
)
def reaches(setting: BlockSetting, lab: Lab) -> figures.Plate:
    numbers = np.array([c for c in (2, 4, 8, 16, 32) if setting.n_tokens % c == 0])
    found = lab.simulate(
        reach, *[replace(setting, n_blocks=int(c), n_draws=5, n_replicas=8, n_layers=2) for c in numbers]
    )
    plate = figures.Plate()
    panel = plate[0, 0]
    two = [paths.two_layer_reach_exact(setting.n_tokens, int(c)) for c in numbers]
    rough = [paths.two_layer_reach_approx(setting.n_tokens, int(c)) for c in numbers]
    figures.prediction(panel, numbers, np.array(two), "two layers, exact")
    figures.prediction(panel, numbers, np.array(rough), "independent tokens")
    figures.prediction(panel, numbers, 1 / numbers, "one layer")
    for layer, name in ((1, "two layers, exact"), (0, "one layer")):
        drawn_reach = np.stack([r["reach"][:, layer] for r in found], 1)
        figures.measurement(
            panel, numbers, drawn_reach, "blocks drawn" if layer else "blocks drawn, one layer", series=name
        )
    panel.scale(x="log")
    panel.ticks(x=[int(c) for c in numbers])
    panel.labels(x="blocks c", y="share of pairs connected")
    plate.legend("below")
    return plate
