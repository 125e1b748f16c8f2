"""Figures: where each kind of features wins; errors of outputs; orthogonal rows; the regularised kernel."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.performers.paper import BOUNDED, CROSSINGS, CURVE_OF_PAIRS, CURVES, paper
from attnlab.simulators.positive_features.attention import AttentionSetting, given, outputs
from attnlab.simulators.positive_features.planes import PlaneSetting, crossings
from attnlab.simulators.positive_features.spheres import SphereSetting, orthogonal_pairs, regularised
from attnlab.theory.positive_features import attention_error, estimators
from attnlab.theory.positive_features import regularised as spheres


@paper.figure(
    "fig1",
    caption="Mean squared error of trigonometric over positive features, of x and y of length r at an angle t; colours in equal "
    "ratios, cut at 10⁻⁶ and 10⁶. Line: where both err alike, predicted; points: found by bisection on summed errors",
    source="figure 2",
    setting=CROSSINGS,
    claims=("where_each_wins", "errors_of_one_projection"),
)
def where_each_wins(setting: PlaneSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(crossings, setting)
    plate = figures.Plate()
    panel = plate[0, 0]
    angles, lengths = np.linspace(1, 179, 90), np.linspace(0.4, 2.05, 60)
    cosine, r2 = np.cos(np.deg2rad(angles)), lengths[:, None] ** 2
    waves = 2 * np.sinh(r2 * (1 - cosine)) ** 2
    ratio = np.clip(waves / np.expm1(2 * r2 * (1 + cosine)), 1e-6, 1e6)
    figures.contour(
        panel, angles, lengths, ratio, "MSE ratio, trigonometric / positive", levels=list(10.0 ** np.arange(-6, 7)), log=True,
        line_labels=False,
    )  # fmt: skip
    fine = np.linspace(0.4, 2.05, 60)
    crossing = np.rad2deg([estimators.crossover_angle_exact(float(r)) for r in fine])
    figures.prediction(panel, crossing, fine, "equal errors, predicted")
    figures.measurement(
        panel,
        np.rad2deg(runs["positive"][0]),
        np.array(setting.lengths)[None],
        "equal errors, summed",
        series="equal errors, predicted",
    )
    panel.limits(x=(1, 179), y=(0.4, 2.05))
    panel.labels(x="angle t between x and y (degrees)", y="length r of x and y")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Squared error of attention outputs over their squared size, against the number of projections "
    "m. Lines: first order in "
    "1/m for independent rows; the trigonometric kind has two columns of features for each "
    "projection. Points of orthogonal rows are moved to the right",
    source="figure 4",
    setting=CURVES,
    claims=("errors_of_outputs",),
)
def errors_of_outputs(setting: AttentionSetting, lab: Lab) -> figures.Plate:
    alone, blocks = lab.simulate(outputs, setting, replace(setting, orthogonal=True))
    q, k, v = given(setting)
    plate = figures.Plate()
    panel, m = plate[0, 0], np.array(setting.numbers_of_features)
    for row, kind in enumerate(("trigonometric", "positive")):
        law = np.trace(attention_error.output_covariance_approx(q, k, v, kind, 1)) / m
        series = f"{kind}, independent"
        figures.prediction(panel, m, law / alone["size"][0], series)
        figures.measurement(panel, m, alone["error"][:, row] / alone["size"][:, None], series)
        figures.measurement(panel, m, blocks["error"][:, row] / blocks["size"][:, None], f"{kind}, orthogonal", dodge=5)
    panel.scale(x="log", y="log")
    panel.labels(x="projections m", y="relative squared error")
    plate.legend("below")
    return plate


@paper.figure(
    "fig3",
    caption="Relative covariance of the estimates of two orthogonal rows (divided by 1 + its size, so that all fit): below zero "
    "orthogonality helps. Left: positive and hyperbolic features; right: trigonometric ones, which "
    "it can hurt. Points: integrals "
    "over directions and lengths",
    source="theorem 2",
    setting=CURVE_OF_PAIRS,
    claims=("covariance_of_orthogonal_rows", "waves_hurt_by_orthogonality"),
)
def orthogonal_rows(setting: SphereSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(orthogonal_pairs, setting)
    plate = figures.Plate(columns=2, width="double")
    fine = np.linspace(0.05, 16, 160)
    for column, (kind, sign) in enumerate((("positive", 1), ("trigonometric", -1))):
        panel = plate[0, column]
        for place, d in enumerate(setting.dims):
            law = np.array([estimators.pair_excess_exact(sign * float(s), d) for s in fine])
            figures.prediction(panel, fine, law / (1 + np.abs(law)), f"d = {d}")
            found = runs[kind][:, place]
            figures.measurement(panel, setting.squares, found / (1 + np.abs(found)), f"d = {d}")
        panel.labels(
            x="z² = |x + y|²" if sign > 0 else "δ² = |x − y|²", y="covariance c / (1 + |c|)" if column == 0 else ""
        )
        panel.heading("positive, hyperbolic" if sign > 0 else "trigonometric")
    plate.legend("below")
    return plate


@paper.figure(
    "fig4",
    caption="How far rows on the sphere of radius √d stay below softmax's kernel, against the dimension, at three values of "
    "|x + y|². The published bound is far above at bounded lengths",
    source="theorem 1",
    setting=BOUNDED,
    claims=("regularised_kernel_of_bounded_lengths",),
)
def regularised_kernel(setting: SphereSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(regularised, setting)
    plate = figures.Plate()
    panel = plate[0, 0]
    fine = np.unique(np.geomspace(min(setting.dims), max(setting.dims), 60).astype(int))
    for column, s in enumerate(setting.squares):
        law = [1 - spheres.regularised_ratio_exact(math.sqrt(s), int(d)) for d in fine]
        figures.prediction(panel, fine, law, f"z² = {s:g}")
        figures.measurement(panel, setting.dims, 1 - runs["ratio"][..., column], f"z² = {s:g}")
    figures.prediction(panel, fine, 2 * fine ** (-1 / 3), "published bound, 2 / d^(1/3)")
    panel.scale(x="log", y="log")
    panel.labels(x="dimension d", y="1 − SMREG / SM")
    plate.legend("below")
    return plate
