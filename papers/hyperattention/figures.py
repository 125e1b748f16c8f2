"""Figures: spectral error against the number of samples; hardness of Gaussian maps against the spread of scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.hyperattention.paper import ERRORS, MAPS, paper
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.hashing.sampled_attention import ErrorSetting, MapSetting, errors, extreme_sums, hardness
from attnlab.theory.hashing import hyper_attention as theory
from attnlab.theory.hashing import sampling


@paper.figure(
    "fig1",
    caption="Relative spectral error against the number of sampled keys for hashed blocks, blocks in order and none: (a) "
    "Gaussian tokens, "
    "(b) planted neighbours. Line: root of the first-order law of the Frobenius error for no blocks, times the measured ratio "
    "of the two "
    "norms: its slope is the prediction. On planted data the ratio of sums saturates and the law fails",
    source="figure on approximation errors",
    setting=ERRORS,
    claims=("error_falls_like_a_root", "missed_neighbours_keep_the_error"),
)
def errors_against_samples(setting: ErrorSetting, lab: Lab) -> figures.Plate:
    plate, m = figures.Plate(columns=2, width="double"), np.array(setting.numbers)
    for panel, data in zip(plate, ("diffuse", "planted"), strict=True):
        cells = [replace(setting, data=data, blocks=blocks, n_replicas=16) for blocks in ("hashed", "in order", "none")]
        found = lab.simulate(errors, *cells)
        relative = found[2]["spectral"] / np.sqrt(found[2]["frobenius"])  # one over |P| |V| and the ratio of norms
        law = np.sqrt(found[2]["law"][:, None] / m) * relative
        figures.prediction(panel, m, law.mean(0), "first order, no blocks")
        for each, name in zip(found, ("hashed blocks", "blocks in order", "no blocks"), strict=True):
            figures.measurement(panel, m, each["spectral"], name)
        panel.scale(x="log", y="log")
        panel.ticks(x=setting.numbers)
        panel.labels(x="samples m", y="relative spectral error")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Hardness of maps of Gaussian tokens against the spread of their scores: mean column weight with its law and "
    "e^(s^2) (dashed); "
    "row sum of the longest over that of the shortest query among 16 times as many tokens, with the law at the mean lengths",
    source="second panel of the sheet's figure",
    setting=MAPS,
    claims=("mean_column_weight", "row_sums_spread_by_length"),
)
def hardness_of_maps(setting: MapSetting, lab: Lab) -> figures.Plate:
    runs, d = lab.simulate(hardness, setting), setting.dim
    fine = np.linspace(0.2, 0.8, 30)
    plate = figures.Plate(columns=2, width="double")
    law = [sampling.mean_column_weight_exact_limit(s**2, d) for s in fine]
    figures.prediction(plate[0, 0], fine, np.array(law), "Gaussian tokens")
    figures.prediction(plate[0, 0], fine, np.exp(fine**2), "wide heads")
    figures.measurement(plate[0, 0], setting.spreads, runs["mean"], "maps drawn", series="Gaussian tokens")
    plate[0, 0].labels(x="spread s of the scores", y="mean of n |P e_j|²")
    rows = lab.simulate(extreme_sums, replace(setting, n_tokens=16 * setting.n_tokens, n_replicas=512))
    ends = rows["queries"][:, -1] / rows["rate"][:, -1:]  # lengths of unit-variance queries
    rates = (fine / d**0.5) ** 0.5
    sums = [np.mean([theory.kappa_limit(*(rate * e), rate) for e in ends]) for rate in rates]
    figures.prediction(plate[0, 1], fine, np.array(sums), "Gaussian tokens")
    figures.measurement(plate[0, 1], setting.spreads, rows["sums"], "maps drawn", series="Gaussian tokens")
    plate[0, 1].labels(x="spread s of the scores", y="ratio of extreme row sums")
    plate.legend("below")
    return plate
