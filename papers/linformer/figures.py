"""Figures: error of sketched outputs against the width; the error at the published width against the length."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.linformer.paper import ERROR, SKETCHES, at_published_width, paper
from attnlab.simulators.sketching.projections import SketchSetting, SpectrumSetting, given, sketches, tails
from attnlab.theory.sketching import projected_softmax as theory
from attnlab.theory.sketching.linformer import relative_error

WIDTHS = (8, 16, 32, 64, 128)


@paper.figure(
    "fig1",
    caption="Root mean square relative error of outputs through a random projection of n tokens to k, "
    "for values of mean 0 and 3 and unit "
    "variance (left); share of the squared singular values of P after the k-th, for Gaussian scores of spread s (right, "
    "measured only)",
    source="section 3",
    setting=SKETCHES,
    claims=("sketched_outputs", "stable_rank"),
)
def error_against_width(setting: SketchSetting, lab: Lab) -> figures.Plate:
    few = replace(setting, n_draws=40, n_replicas=16)
    plate = figures.Plate(columns=2, width="double")
    panel = plate[0, 0]
    for mean in (0.0, 3.0):
        every = lab.simulate(sketches, *(replace(few, value_mean=mean, n_projected=k) for k in WIDTHS))
        P, V = given(replace(few, value_mean=mean))
        figures.prediction(panel, WIDTHS, [relative_error(P, V, k) for k in WIDTHS], f"mean {mean:g}")
        figures.measurement(panel, WIDTHS, np.sqrt(np.stack([r["square"] for r in every], 1)), f"mean {mean:g}")
    panel.scale(x="log", y="log")
    panel.ticks(x=WIDTHS)
    panel.labels(x="projected tokens k", y="relative error")
    left = lab.simulate(tails, SpectrumSetting(256, (0.5, 1.0, 3.0), 8))["tail"]
    at = 2 ** np.arange(left.shape[2])[:-1]
    for column, s in enumerate((0.5, 1.0, 3.0)):
        figures.measurement(plate[0, 1], at, left[:, column, :-1], f"s = {s:g}")
    plate[0, 1].scale(x="log")
    plate[0, 1].labels(x="singular values kept k", y="energy left")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Relative error of outputs at the width of the proof of theorem 1 for an error of 1/2 (grey line), against the "
    "number of tokens, for values of mean zero. Line: root of n over the width",
    source="theorem 1",
    setting=SKETCHES,
    claims=("relative_error_of_projections",),
)
def error_at_the_published_width(setting: SketchSetting, lab: Lab) -> figures.Plate:
    lengths = (256, 512, 1024)
    few = replace(setting, n_draws=2, n_values=64, n_replicas=8)
    every = lab.simulate(sketches, *(at_published_width(replace(few, n_tokens=n)) for n in lengths))
    plate = figures.Plate()
    panel = plate[0, 0]
    fine = np.unique(np.geomspace(200, 100_000, 60).astype(int))
    law = [theory.relative_error_at_published_width_limit(int(n), ERROR) for n in fine]
    figures.prediction(panel, fine, law, "relative error")
    figures.measurement(panel, lengths, np.sqrt(np.stack([r["square"] for r in every], 1)), "relative error")
    figures.reference(panel, "promised, 1/2", y=ERROR)
    panel.scale(x="log", y="log")
    panel.labels(x="tokens n", y="relative error at k = 5 ln n / (ε² − ε³)")
    plate.legend("below")
    return plate
