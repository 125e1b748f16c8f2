"""Figures: the free energy and the entropy of Gaussian rows through freezing; clusters against one Gaussian."""

from __future__ import annotations

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.second_moment_scores.paper import CLUSTERS, SUMS, paper
from attnlab.simulators.score_statistics.bulk import ClusterSetting, SumSetting, clusters, log_sums
from attnlab.theory.score_statistics import log_sum as theory


@paper.figure(
    "fig1",
    caption="Rows of n Gaussian scores of spread s: mean of log (1/n) sum e^s (left) and mean entropy (right), exact "
    "laws and their limits "
    "for long rows. The vertical line is the freezing point sqrt(2 log n)",
    source="log-sum-exp and entropy",
    setting=SUMS,
    claims=("free_energy_through_freezing",),
)
def freezing(setting: SumSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(log_sums, setting)
    plate = figures.Plate(columns=2, width="double")
    n, fine = setting.n_keys, np.linspace(0.1, max(setting.spreads), 40)
    left, right = plate[0, 0], plate[0, 1]
    figures.prediction(left, fine, [theory.mean_log_mean_exact(n, float(s)) for s in fine], "exact")
    figures.prediction(left, fine, [theory.mean_log_mean_limit(n, float(s)) for s in fine], "limit of long rows")
    figures.measurement(left, setting.spreads, runs["mean"], "rows drawn")
    figures.prediction(right, fine, [theory.mean_entropy_exact(n, float(s)) for s in fine], "exact")
    figures.prediction(right, fine, [max(np.log(n) - s**2 / 2, 0.0) for s in fine], "limit of long rows")
    figures.measurement(right, setting.spreads, runs["entropy"], "rows drawn")
    for panel, label in ((left, r"mean of $\log \frac{1}{n} \sum_i e^{s_i}$"), (right, "mean entropy (nats)")):
        figures.reference(panel, "freezing", x=theory.freezing_spread(n))
        panel.labels(x="spread s of the scores", y=label)
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Keys of two clusters, a tenth of them apart by the separation: log of the mean of e^s, the exact law of "
    "the mixture, one "
    "Gaussian with the pooled moments, and cumulants up to the fourth",
    source="limits of the Gaussian model",
    setting=CLUSTERS,
    claims=("clusters_add_up",),
)
def two_clusters(setting: ClusterSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(clusters, setting)
    plate = figures.Plate()
    panel, fine = plate[0, 0], np.linspace(0, max(setting.separations), 60)
    weights = 1 - setting.rare, setting.rare

    def law(function, *more):
        return [function(weights, (0.0, float(x)), (1.0, 1.0), *more) for x in fine]

    figures.prediction(panel, fine, law(theory.log_mean_of_clusters_exact), "mixture, exact")
    figures.prediction(panel, fine, law(theory.log_mean_of_pooled_clusters), "one Gaussian")
    figures.prediction(panel, fine, law(theory.log_mean_of_pooled_clusters, 4), "four cumulants")
    figures.measurement(panel, setting.separations, runs["log_mean"], "keys drawn")
    panel.labels(x="separation of the mean scores", y=r"$\log$ of the mean of $e^s$")
    plate.legend("below")
    return plate
