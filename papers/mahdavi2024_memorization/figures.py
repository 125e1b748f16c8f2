"""Figures: memorised examples against heads, context length and head width, saturation, and the two exact laws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.mahdavi2024_memorization.frozen import effective, rank_of
from attnlab.papers.mahdavi2024_memorization.paper import FROZEN, paper
from attnlab.papers.mahdavi2024_memorization.trained import (
    GRIDS,
    bound,
    by_contexts,
    by_heads,
    by_widths,
    more_replicas,
    own_contexts,
    regression,
)
from attnlab.simulators.memorization.frozen import FrozenSetting, residuals, spectra
from attnlab.simulators.memorization.training import Setting, memorise
from attnlab.theory.memorization import ranks as theory


def memorised(runs):
    """Memorised examples ``(replica, cell)``."""
    return np.stack([each["memorised"].astype(float) for each in runs], axis=1)


def line_through(panel, x, curves, label):
    """Draws the straight line through the means of the curves; returns the share of their variance that it explains."""
    means = curves.mean(0)
    line = np.polynomial.Polynomial.fit(x, means, 1)
    figures.prediction(panel, x, line(x), "linear fit", series=label)
    return 1 - ((means - line(x)) ** 2).sum() / ((means - means.mean()) ** 2).sum()


@paper.figure(
    "fig1",
    caption="Examples memorised by trained layers against the number of heads, with linear fits; rank R of the "
    "features and the share right by chance for comparison. (a) one context for all examples, (b) a "
    "context for each, two thirds of the training steps",
    source="Figure on the number of heads",
)
def heads(setting: Setting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(1, 2, width="double", height=3.2, share_y=True)
    shared, own = by_heads(setting, lab), own_contexts(setting, lab, "n_heads")
    for panel, (x, runs), title in ((plate[0], shared, "shared context"), (plate[1], own, "own contexts")):
        figures.measurement(panel, x, memorised(runs), "memorised")
        explained = line_through(panel, x, memorised(runs), "memorised")
        ranks = [
            bound(replace(setting, n_heads=int(H)))
            if title == "shared context"
            else theory.distinct_contexts_rank(setting.n_examples, int(H), setting.n_context, setting.dim)
            for H in x
        ]
        figures.prediction(panel, x, np.array(ranks, float), "rank R of the features")
        figures.reference(panel, "chance T/C", y=setting.n_examples / setting.n_classes)
        panel.limits(y=(0, setting.n_examples))
        panel.ticks(x=[float(H) for H in x])
        panel.labels(
            x="number of heads H", y=f"memorised of T = {setting.n_examples} examples" if title[0] == "s" else ""
        )
        panel.heading(f"{title}, fit explains {100 * explained:.1f} %")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Examples memorised by trained layers against the context length; rank R of the features for "
    "comparison. (a) one context for all examples, (b) a context for each, two thirds of the steps",
    source="Figure on the context length",
)
def contexts(setting: Setting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(1, 2, width="double", height=3.2, share_y=True)
    shared, own = by_contexts(setting, lab), own_contexts(setting, lab, "n_context")
    for panel, (x, runs), title in ((plate[0], shared, "shared context"), (plate[1], own, "own contexts")):
        figures.measurement(panel, x, memorised(runs), "memorised")
        ranks = [
            bound(replace(setting, n_context=int(n)))
            if title == "shared context"
            else theory.distinct_contexts_rank(setting.n_examples, setting.n_heads, int(n), setting.dim)
            for n in x
        ]
        figures.prediction(panel, x, np.array(ranks, float), "rank R of the features")
        figures.reference(panel, "chance T/C", y=setting.n_examples / setting.n_classes)
        panel.limits(y=(0, setting.n_examples))
        panel.ticks(x=[float(n) for n in x])
        panel.labels(
            x="context length n", y=f"memorised of T = {setting.n_examples} examples" if title[0] == "s" else ""
        )
        panel.heading(f"{title}, H = {setting.n_heads}")
    plate.legend("below")
    return plate


@paper.figure(
    "fig3",
    caption="Examples memorised by trained layers against the width of the heads, one context for all; "
    "from d_h = n - 1 on all layers are the same functions",
    source="Figure on the head width",
)
def widths(setting: Setting, lab: Lab) -> figures.Plate:
    plate, n = figures.Plate(width="single", height=3.0), GRIDS[lab.scale]["wide_context"]
    x, runs = by_widths(setting, lab)
    figures.measurement(plate[0], x, memorised(runs), "memorised")
    figures.reference(plate[0], "$d_h = n - 1$", x=theory.sufficient_head_dim(n, setting.dim))
    figures.reference(plate[0], "chance T/C", y=setting.n_examples / setting.n_classes)
    plate[0].limits(y=(0, setting.n_examples))
    plate[0].ticks(x=[float(width) for width in x])
    plate[0].labels(
        x=f"head width $d_h$ (n = {n}, H = {setting.n_heads})", y=f"memorised of T = {setting.n_examples} examples"
    )
    plate.legend("below")
    return plate


@paper.figure(
    "fig4",
    caption="Training error of layers with real labels, relative to the labels' variance, against heads and "
    "context length, one context for all examples; lines: the law of frozen key and query weights",
    source="Figures on regression",
)
def regression_errors(setting: Setting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(1, 2, width="double", height=3.2, share_y=True)
    for panel, name, title in ((plate[0], "n_heads", "number of heads H"), (plate[1], "n_context", "context length n")):
        x, runs = regression(setting, lab, name)
        law = [1 - bound(replace(setting, **{name: int(value)})) / setting.n_examples for value in x]
        figures.prediction(panel, x, np.array(law), "frozen weights, 1 − R/T")
        figures.measurement(
            panel, x, np.stack([each["mse"] / each["label_variance"] for each in runs], axis=1), "trained"
        )
        panel.limits(y=(0, 1.1))
        panel.ticks(x=[float(value) for value in x])
        panel.labels(x=title, y="training error MSE / σ²" if name == "n_heads" else "")
    plate[0].heading(f"n = {setting.n_context}")
    plate[1].heading(f"H = {setting.n_heads}")
    plate.legend("below")
    return plate


@paper.figure(
    "fig5",
    caption="Saturation of trained layers on a shared context. (a), (b): share of examples by the number of heads "
    "whose largest weight exceeds 0.99. (c): largest weights of one layer, examples sorted by their saturated heads",
    source="Figure on saturation",
)
def saturation(setting: Setting, lab: Lab) -> figures.Plate:
    many = GRIDS[lab.scale]["heads"][-1] if lab.scale != "paper" else 10
    runs = lab.simulate(memorise, setting, replace(more_replicas(setting), n_heads=many))
    plate = figures.Plate(1, 3, width="double", height=3.2, width_ratios=(1, 1.2, 0.9))
    for panel, each, H in zip(plate.panels, runs, (setting.n_heads, many), strict=False):
        counts = (each["largest_weight"] > 0.99).sum(-1)  # (replica, T)
        shares = np.stack([(counts == k).mean(1) for k in range(H + 1)], axis=1)
        figures.bars(panel, [str(k) for k in range(H + 1)], {"trained layers": shares})
        panel.labels(x="saturated heads of an example", y="share of examples" if panel is plate[0] else "")
        panel.limits(y=(0, 1))
        panel.heading(f"H = {H}")
    weights = runs[0]["largest_weight"][0]
    order = np.lexsort((weights > 0.99).T)
    figures.heat_map(plate[2], weights[order], "largest attention weight", symmetric=False, square=False)
    plate[2].labels(x=f"{setting.n_heads} heads", y=f"{setting.n_examples} examples")
    plate[2].heading(f"H = {setting.n_heads}")
    plate.legend("below")
    return plate


@paper.figure(
    "fig6",
    caption="Exact rank and effective rank (singular values above a thousandth of the largest) of the features "
    "of frozen random layers against the width of the heads, for Gaussian inputs and at the start of "
    "the published experiment",
    setting=FROZEN,
)
def rank_against_width(setting: FrozenSetting, lab: Lab) -> figures.Plate:
    runs, x, R = lab.simulate(spectra, setting), np.array(setting.head_dims), rank_of(setting)
    plate = figures.Plate(width="single", height=3.4)
    panel = plate[0]
    fine = np.arange(1, max(x) + 1)
    figures.prediction(panel, fine, np.full(len(fine), float(R)), "exact rank H(n − 1) + 1")
    count = [float(theory.constructive_count(setting.n_heads, setting.n_context, int(width))) for width in fine]
    figures.prediction(panel, fine, count, r"construction $H(\min(n, d_h) - 1) + 1$")
    figures.measurement(panel, x, effective(runs["gaussian"]).astype(float), "effective rank, Gaussian")
    figures.measurement(panel, x, effective(runs["published"]).astype(float), "effective rank, published start")
    panel.limits(y=(0, None))
    panel.ticks(x=[float(width) for width in x])
    panel.labels(x=f"head width $d_h$ (n = {setting.n_context}, H = {setting.n_heads})", y="rank of the features")
    plate.legend("below")
    return plate


@paper.figure(
    "fig7",
    caption="Training error of the best readout of frozen random features against the number of examples; "
    "line: 1 − R/T with R = H (n − 1) + 1",
    setting=FROZEN,
)
def residual_against_examples(setting: FrozenSetting, lab: Lab) -> figures.Plate:
    runs, T, R = lab.simulate(residuals, setting), np.array(setting.examples), rank_of(setting)
    plate = figures.Plate(width="single", height=3.0)
    panel = plate[0]
    fine = np.linspace(min(T), max(T), 200)
    figures.prediction(panel, fine, np.maximum(0, 1 - R / fine), "law 1 − R/T")
    figures.measurement(panel, T, 12 * runs["mse"], "frozen weights", series="measured")
    figures.reference(panel, "T = R", x=float(R))
    panel.labels(x="number of examples T", y="training error MSE / σ²")
    plate.legend("below")
    return plate
