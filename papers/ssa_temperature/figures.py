"""Figures: dilution and the temperature that undoes it; entropy and spikiness of Gaussian rows."""

from __future__ import annotations

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.ssa_temperature.paper import DILUTION, KEPT, ROWS, kept, paper
from attnlab.simulators.score_statistics.rows import RowSetting, rows
from attnlab.simulators.score_statistics.selectivity import DilutionSetting, dilution
from attnlab.theory.score_statistics import gaussian_rows as theory
from attnlab.theory.score_statistics import selectivity as norms


@paper.figure(
    "fig1",
    caption="Weight of one token whose logit lies g = 4 above all others, against the length of the row: at fixed "
    "logits, and with an inverse temperature linear in log L",
    source="position-aware temperature",
    setting=DILUTION,
    claims=("dilution",),
)
def weights(setting: DilutionSetting, lab: Lab) -> figures.Plate:
    fixed, held = lab.simulate(dilution, setting, kept(setting))
    plate = figures.Plate()
    panel, fine = plate[0, 0], np.unique(np.geomspace(min(setting.lengths), max(setting.lengths), 80).astype(int))
    figures.prediction(panel, fine, [norms.weight_of_gap(setting.gap, int(n)) for n in fine], "fixed logits")
    figures.prediction(panel, fine, np.full(fine.size, KEPT), "temperature linear in log L")
    figures.measurement(panel, setting.lengths, fixed["weight"], "fixed logits")
    figures.measurement(panel, setting.lengths, held["weight"], "temperature linear in log L")
    panel.scale(x="log")
    panel.labels(x="number of tokens L", y="weight of the relevant token")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Rows of Gaussian scores of standard deviation s: entropy lost against equal weights (left) and share of the keys "
    "in use (right), with the laws to first order in 1/L",
    source="spikiness metric, entropy-invariant scale",
    setting=ROWS,
    claims=("entropy_of_gaussian_rows", "spikiness_of_gaussian_rows"),
)
def gaussian_rows(setting: RowSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(rows, setting)
    plate = figures.Plate(columns=2, width="double")
    n, fine = setting.n_keys, np.linspace(0.05, 1.05 * max(setting.spreads), 60)
    lost = [np.log(n) - theory.entropy_approx(n, float(s)) for s in fine]
    figures.prediction(plate[0, 0], fine, lost, "prediction")
    figures.measurement(plate[0, 0], setting.spreads, np.log(n) - runs["entropy"], "rows drawn")
    plate[0, 0].labels(x="spread s of the scores", y="entropy lost, log L − H (nats)")
    figures.prediction(plate[0, 1], fine, [theory.spikiness_approx(n, float(s)) for s in fine], "prediction")
    figures.measurement(plate[0, 1], setting.spreads, runs["spikiness"], "rows drawn")
    plate[0, 1].labels(x="spread s of the scores", y="share of the keys in use")
    plate.legend("below")
    return plate
