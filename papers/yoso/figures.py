"""Figures: weights and exponentials; error against the number of hashes; slopes and their surrogate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.yoso.paper import FALLS, MANY, PAIRS, SLOPES, paper
from attnlab.simulators.hashing.draws import HashSetting, PairSetting, given, outputs, pairs
from attnlab.simulators.hashing.slopes import SlopeSetting, slopes
from attnlab.theory.hashing import bernoulli as theory
from attnlab.theory.hashing.yoso import collision

SHOWN = (1, 2, 4, 8, 16)


@paper.figure(
    "fig1",
    caption="Expected weights (lines) against q · k, with the shares of hashes in which two vectors met (points). Right: "
    "weights less exponentials of the same τ, which all cross them at −0.889 and 0.720",
    source="figure 1",
    setting=PAIRS,
    claims=("collision_probability", "weights_against_exponentials"),
)
def weights_and_exponentials(setting: PairSetting, lab: Lab) -> figures.Plate:
    angles = (0.2, 0.6, 1.0, 1.4, 1.8, 2.2, 2.6)
    every = lab.simulate(
        pairs, *(replace(setting, angles=angles, n_bits=bits, n_draws=1000, n_replicas=8) for bits in SHOWN)
    )
    plate = figures.Plate(columns=2, width="double")
    x = np.linspace(-0.999, 0.9999, 200)
    for bits, runs in zip(SHOWN, every, strict=True):
        law = collision(np.arccos(x), bits)
        figures.prediction(plate[0, 0], x, law, f"τ = {bits}")
        figures.measurement(plate[0, 0], np.cos(angles), runs["mean"], f"τ = {bits}")
        figures.prediction(plate[0, 1], x, law - np.exp(bits * (x - 1)), f"τ = {bits}")
    plate[0, 0].labels(x="inner product q · k", y="weight W")
    plate[0, 1].labels(x="inner product q · k", y="W − exp(τ (q · k − 1))")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Root mean square error of one hashed output (before the norm) over the length of the "
    "expected one, against the number "
    "of hashes, at 4 bits. Line: with the exact covariances of the entries; dashed: as if entries were independent",
    source="section 3",
    setting=FALLS,
    claims=("error_falls_with_hashes", "variance_of_an_output"),
)
def error_against_hashes(setting: HashSetting, lab: Lab) -> figures.Plate:
    every = lab.simulate(outputs, *(replace(setting, n_hashes=m) for m in MANY))
    q, k, v, _ = given(setting)
    W = collision(theory.angles(q[:1], k)[0], setting.n_bits)
    length = np.linalg.norm(W @ v)
    m = np.array(MANY)
    plate = figures.Plate()
    panel = plate[0, 0]
    law = np.array([theory.relative_error_exact(q[0], k, v, setting.n_bits, int(each)) for each in m])
    alone = np.sqrt((v**2).sum(1) @ (W * (1 - W)) / m) / length
    errors = np.stack([np.sqrt(r["variance"][:, 0].sum(1)) for r in every], 1) / length
    figures.prediction(panel, m, law, "exact")
    figures.prediction(panel, m, alone, "independent entries")
    figures.measurement(panel, m, errors, "hashes drawn", series="exact")
    panel.scale(x="log", y="log")
    panel.ticks(x=MANY)
    panel.labels(x="hashes m", y="relative error of the output")
    plate.legend("below")
    return plate


@paper.figure(
    "fig3",
    caption="Slope of a weight over τ W against q · k: the same curve for every τ, infinite at 1, "
    "least at 0.4421. The surrogate is "
    "the line at 1/2. Points: automatic differentiation, all numbers of bits on each other",
    source="section 3, backward pass",
    setting=SLOPES,
    claims=("slope_of_the_weight", "surrogate_is_below", "largest_surrogate"),
)
def slopes_and_surrogate(setting: SlopeSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(slopes, setting)
    plate = figures.Plate()
    panel = plate[0, 0]
    x = np.linspace(-0.95, 0.9995, 400)
    figures.prediction(panel, x, theory.weight_slope_exact(x, 1) / collision(np.arccos(x), 1), "slope / (τ W)")
    figures.prediction(panel, x, np.full_like(x, 0.5), "surrogate / (τ W)")
    ratio = runs["slope"][0] / (np.array(setting.bits)[:, None] * runs["weight"][0])
    figures.measurement(panel, setting.inners, ratio[:1], "differentiated", series="slope / (τ W)")
    panel.limits(y=(0, 4))
    panel.labels(x="inner product q · k", y="slope over τ W")
    plate.legend("below")
    return plate
