"""Figures: test errors against samples, samples against dimension and keys, errors against heads, eigenvalues."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.fu2023_random_features.curves import HALVES
from attnlab.papers.fu2023_random_features.heads import EXPLICIT, FEW
from attnlab.papers.fu2023_random_features.paper import (
    best_ridge,
    half_crossing,
    measured_curve,
    paper,
    predicted_curve,
    spectrum_of,
)
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.random_feature_heads.features import explicit_weights
from attnlab.simulators.random_feature_heads.few_heads import HeadsSetting, few_heads
from attnlab.simulators.random_feature_heads.learning_curves import Setting, learning_curves
from attnlab.theory.random_feature_heads.kernels import explicit_weights_error
from attnlab.theory.random_feature_heads.learning_curves import half_samples
from attnlab.theory.random_feature_heads.spectrum import pair_eigenvalues

SHOWN = {"attention": "zero-mean heads", "biased": "biased heads", "perceptron": "perceptron"}
LABELS = {
    "b1": r"$\langle\beta, x_i\rangle$",
    "b2": r"$\langle\beta, x_i\rangle^2$",
    "b3": r"$\langle\beta, x_i\rangle^3$",
    "s1": r"$\langle x_0, x_i\rangle$",
    "s2": r"$\langle x_0, x_i\rangle^2$",
    "s1b": r"$\langle x_0, x_i\rangle\langle\beta, x_i\rangle$",
}
SAMPLES = "samples $n$"
ERROR = r"test error / Var $f$"


def shown_settings(setting):
    """The settings of the claims, by kind: fewer samples for biased heads, whose kernel costs more."""
    fewer = tuple(n for n in setting.sizes if 50 <= n <= max(setting.sizes) // 2 or n == min(setting.sizes) >= 50)
    biased = replace(setting, kind="biased", sizes=fewer, n_test=min(500, setting.n_test))
    return {"attention": setting, "biased": biased, "perceptron": replace(setting, kind="perceptron")}


def errors_against_samples(setting, lab: Lab, targets):
    """A panel a target: errors of the three models at their best ridges, lines where the theory predicts them."""
    settings = shown_settings(setting)
    runs = {kind: lab.simulate(learning_curves, each) for kind, each in settings.items()}
    plate = figures.Plate(1, len(targets), width="double", height=3.0, share_y=True)
    for panel, target in zip(plate.panels, targets, strict=True):
        for number, (kind, each) in enumerate(settings.items()):
            keep = np.array(each.sizes) >= 25
            n = np.array(each.sizes)[keep]
            figures.measurement(
                panel, n, best_ridge(runs[kind], each, target)[:, keep], SHOWN[kind], dodge=2 * (number - 1)
            )
            if kind != "biased":
                lowest = np.min([predicted_curve(each, target, ridge=k) for k in range(len(each.ridges))], axis=0)[keep]
                figures.prediction(panel, n, lowest, f"{SHOWN[kind]}, predicted", series=SHOWN[kind])
        figures.reference(panel, "mean", y=1.0)
        panel.scale(x="log", y="log")
        panel.ticks(x=[n for n in (25, 50, 100, 200, 400, 800, 1600, 3200) if n <= max(setting.sizes)])
        panel.heading(LABELS[target])
    plate.labels(x=SAMPLES, y=ERROR)
    plate.legend("below", columns=3)
    return plate


@paper.figure(
    "fig1",
    caption="Test error against the number of samples for functions of the keys, each model at its best ridge; "
    "lines: learning curves of the spectra",
    source="simulations, functions of the keys",
)
def functions_of_keys(setting: Setting, lab: Lab) -> figures.Plate:
    return errors_against_samples(setting, lab, ("b1", "b2", "b3"))


@paper.figure(
    "fig2",
    caption="The same for functions of the query's products with the keys",
    source="simulations, correlation functions",
)
def functions_of_products(setting: Setting, lab: Lab) -> figures.Plate:
    return errors_against_samples(setting, lab, ("s1", "s2", "s1b"))


@paper.figure(
    "fig3",
    caption="Samples that halve the variance of the target, against the dimension (zero-mean heads, N = 4) and "
    "against the number of keys for the square of a key's coordinate. Lines: predicted; points: "
    "measured where the samples reach",
    source="Section 3, examples",
    setting=HALVES,
)
def samples_for_half(setting: Setting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(1, 2, width="double", height=3.2)
    dims = np.array([8, 12, 16, 24, 32, 48, 64, 96, 128])
    for target in ("b1", "b2", "s1", "s2"):
        line = half_line("attention", target, dims, [setting.n_keys] * len(dims), setting)
        figures.prediction(plate[0], dims, line, LABELS[target])
    for target, factors in (("b1", (1, 2)), ("b2", (0.5, 1)), ("s1", (0.5, 1))):
        settings = [replace(setting, dim=int(setting.dim * factor)) for factor in factors]
        halves = np.exp(
            [
                half_crossing(s.sizes, measured_curve(r, s, target))
                for s, r in zip(settings, lab.simulate(learning_curves, *settings), strict=True)
            ]
        ).T
        figures.measurement(plate[0], [s.dim for s in settings], halves, LABELS[target])
    plate[0].scale(x="log", y="log")
    plate[0].ticks(x=[8, 16, 32, 64, 128])
    plate[0].labels(x="dimension $d$", y=r"samples $n_{1/2}$")
    plate[0].heading("dimension")
    counts = np.array([1, 2, 4, 8, 16, 32])
    for kind in ("attention", "perceptron"):
        figures.prediction(plate[1], counts, half_line(kind, "b2", [8] * len(counts), counts, setting), SHOWN[kind])
        few = [
            replace(setting, kind=kind, dim=8, n_keys=n, sizes=(50, 100, 200, 400, 800), n_test=500, targets=("b2",))
            for n in (1, 4)
        ]
        halves = np.exp(
            [
                half_crossing(s.sizes, measured_curve(r, s, "b2"))
                for s, r in zip(few, lab.simulate(learning_curves, *few), strict=True)
            ]
        ).T
        figures.measurement(plate[1], [1, 4], halves, SHOWN[kind])
    plate[1].scale(x="log", y="log")
    plate[1].ticks(x=counts)
    plate[1].labels(x="keys $N$", y=r"samples $n_{1/2}$")
    plate[1].heading(r"keys, " + LABELS["b2"] + ", $d = 8$")
    plate.legend("below", columns=3)
    return plate


def half_line(kind, target, dims, counts, setting):
    """Predicted numbers of samples at half of the variance."""
    return np.array(
        [
            half_samples(spectrum_of(kind, int(d), int(n)), target, int(d), int(n), ridge=setting.ridges[0])
            for d, n in zip(dims, counts, strict=True)
        ]
    )


@paper.figure(
    "fig4",
    caption="Learning curves at one small ridge: predicted (lines) and measured, with the errors above the "
    "variance that unlearned parts of the target cause",
    source="simulations; the learning curve is not in the paper",
)
def learning_curves_at_one_ridge(setting: Setting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(1, 2, width="double", height=3.2, share_y=True)
    fine = np.unique(np.geomspace(min(setting.sizes), max(setting.sizes), 40).astype(int))
    for panel, kind in zip(plate.panels, ("attention", "perceptron"), strict=True):
        each = replace(setting, kind=kind)
        runs = lab.simulate(learning_curves, each)
        for target in ("b1", "b2", "s1", "s2"):
            line = predicted_curve(replace(each, sizes=tuple(map(int, fine))), target)
            figures.prediction(panel, fine, line, LABELS[target])
            figures.measurement(panel, each.sizes, measured_curve(runs, each, target), LABELS[target])
        figures.reference(panel, "mean", y=1.0)
        panel.scale(x="log", y="log")
        panel.ticks(x=[n for n in (12, 25, 50, 100, 200, 400, 800, 1600, 3200) if n <= max(setting.sizes)])
        panel.limits(y=(1e-3, 4))
        panel.heading(SHOWN[kind])
    plate.labels(x=SAMPLES, y=ERROR)
    plate.legend("below", columns=4)
    return plate


@paper.figure(
    "fig5",
    caption="(a) Test error for the square of a key's coordinate against the number of heads: least squares without a "
    "ridge has its peak where parameters are as many as samples, a small ridge leads to the kernel of infinitely many "
    "heads. (b) Gap to that kernel. (c) Error of explicit values on fresh heads, and its law",
    source="Theorem on the excess risk",
    setting=FEW,
)
def errors_against_heads(setting: HeadsSetting, lab: Lab) -> figures.Plate:
    plate, j = figures.Plate(1, 3, width="double", height=3.0), setting.targets.index("b2")
    runs, heads = lab.simulate(few_heads, setting), np.array(setting.heads)
    for name, label in (("ridgeless", "no ridge"), ("ridge", "small ridge")):
        error = runs[name][..., j]
        logs = np.log(error)
        half = 2 * logs.std(0, ddof=1) / np.sqrt(len(error))
        figures.estimate(
            plate[0],
            heads,
            np.exp(logs.mean(0)),
            np.exp(logs.mean(0) - half),
            np.exp(logs.mean(0) + half),
            label,
            series=label,
            interval="geometric means with two standard errors over replicas",
        )
    figures.prediction(plate[0], heads, np.full(len(heads), runs["limit"][:, j].mean()), "infinitely many heads")
    figures.reference(plate[0], r"$M(d+1) = n$", x=setting.n_samples / (setting.dim + 1))
    plate[0].labels(x="heads $M$", y=ERROR)
    for target in ("b1", "b2"):
        k = setting.targets.index(target)
        gap = runs["ridge"][:, 2:, k] - runs["limit"][:, k, None]
        figures.measurement(plate[1], heads[2:], gap, LABELS[target])
        figures.power_law(plate[1], -1, (heads[-1], gap[:, -1].mean()), (heads[2], heads[-1]), "slope −1")
    plate[1].labels(x="heads $M$", y="error − limit, / Var $f$")
    cells = EXPLICIT.desk if lab.scale != "smoke" else EXPLICIT.smoke
    found = lab.simulate(explicit_weights, cells)["error"]
    chosen = [k for k, cell in enumerate(cells.cells) if cell[:2] == (8, 4)]
    count = np.array([cells.cells[k][2] for k in chosen])
    figures.prediction(plate[2], count, [explicit_weights_error(8, 4, int(m)) for m in count], "law 1/M")
    figures.measurement(plate[2], count, found[:, chosen], "explicit values")
    plate[2].labels(x="heads $M$", y="mean squared error")
    for panel in plate.panels:
        panel.scale(x="log", y="log")
    plate[0].ticks(x=heads[::2])
    plate[1].ticks(x=heads[2:])
    plate[2].ticks(x=count)
    plate.legend("below", columns=3)
    return plate


MAP = Scales(*[Setting(dim=8, n_replicas=1)] * 3)


@paper.figure(
    "fig6",
    caption="Logarithm of the eigenvalues of the kernel by degree in the query (rows) and in the key (columns) "
    "for d = 8: with the constant in the tokens all are positive, without it grey ones are zero",
    source="spectrum of the kernel",
    setting=MAP,
)
def eigenvalues(setting: Setting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(1, 2, width="double", height=3.4)
    maps = []
    for augmented in (True, False):
        mu = pair_eigenvalues(setting.dim, 6, augmented)
        with np.errstate(divide="ignore"):
            maps.append(np.where(mu > 1e-15, np.log10(np.maximum(mu, 1e-300)), np.nan))
    scale = figures.colour_scale(*maps, symmetric=False)
    for panel, values, name in zip(plate.panels, maps, ("tokens with a constant", "without"), strict=True):
        figures.heat_map(panel, values, r"$\log_{10}\mu_{l_0 l}$", symmetric=False, scale=scale, annotate=".1f")
        panel.ticks(x=range(7), y=range(7))
        panel.labels(x="degree in the key, $l$", y="degree in the query, $l_0$")
        panel.heading(name)
    return plate
