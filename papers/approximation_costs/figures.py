"""Figures: error against cost on five ensembles, with and without a law, and where laws stop being true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.analysis.statistics.intervals import mean_interval
from attnlab.papers.approximation_costs.paper import FIGURE, STOPS, paper
from attnlab.papers.approximation_costs.predictions import HAVE_A_LAW, costs_of, has_a_law, law_of, predicted_errors
from attnlab.papers.approximation_costs.stops import DEPARTURES, TOLERATED, walks
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.score_ensembles.ensembles import ENSEMBLES, EnsembleSetting
from attnlab.simulators.score_ensembles.map_errors import ladders, map_errors, sizes_of
from attnlab.theory.score_ensembles.law import mean_of_values_error_limit

NAMES = {
    "gaussian": "Gaussian",
    "clustered": "clustered keys",
    "heavy_tailed": "heavy-tailed keys",
    "low_rank": "low rank",
    "planted": "planted keys",
}
FIELDS = {
    "spread": "spread s of the scores",
    "n_clusters": "clusters of keys",
    "tail": "degrees of freedom of the tail",
    "rank": "rank of queries and keys",
    "height": "planted score h",
}


INTERVAL = "95 % t intervals of the mean logarithm over replicas, points geometric means"
RANGES = {"planted": (0.1, 10)}
"""Ranges of errors shown, where they are not those of all ensembles."""


def short(operator: str, ladder: str) -> str:
    """The name of a series."""
    name = operator.partition("/")[2].replace("_", " ")
    return f"{name}, {ladder}" if ladder else name


def geometric(panel: figures.Panel, x: np.ndarray, y: np.ndarray, name: str) -> None:
    """Points on a logarithmic axis: geometric means over replicas, ``y`` of shape (replica, points)."""
    low, high = np.exp([mean_interval(each, 0.95) for each in np.log(y).T]).T
    figures.estimate(panel, x, np.exp(np.log(y).mean(0)), low, high, name, interval=INTERVAL, series=name)


def errors_against_cost(setting: EnsembleSetting, lab: Lab, with_a_law: bool) -> figures.Plate:
    """Five panels, one per ensemble."""
    plate = figures.Plate(rows=2, columns=3, width=9.0, height=6.4, share_x=True)
    chosen = [
        key
        for key in ladders(sizes_of(setting))
        if has_a_law(replace(setting, operator=key[0], ladder=key[1])) == with_a_law
    ]
    for panel, ensemble in zip(plate, ENSEMBLES, strict=False):
        cells = [replace(setting, ensemble=ensemble, operator=operator, ladder=ladder) for operator, ladder in chosen]
        panel.scale(x="log", y="log")
        for each, run in zip(cells, lab.simulate(map_errors, *cells), strict=True):
            name, cost, law = short(each.operator, each.ladder), costs_of(each), predicted_errors(each)
            known = ~np.isnan(law)
            if known.any():
                figures.prediction(panel, cost[known], law[known], name)
            geometric(panel, cost, np.sqrt(run["error2"]), name)
        figures.reference(panel, "zero", y=1.0)
        figures.reference(panel, "mean", y=mean_of_values_error_limit(law_of(replace(setting, ensemble=ensemble))))
        panel.heading(NAMES[ensemble] + ("" if ensemble in HAVE_A_LAW or not with_a_law else " (Gaussian law)"))
        panel.labels(x="cost (softmax attention is 1)", y="relative error ε of the map")
        panel.limits(x=(0.02, 30), y=RANGES.get(ensemble, (0.005, 60)))
    plate[5].hide()
    plate.legend("below")
    return plate


CAPTION = (
    "Relative Frobenius error of the map against multiply-adds over those of softmax attention, {what}, on five ensembles of "
    "scores of spread 1/2. Lines: laws of the operators ({where}); points: measured against float64 softmax. Grey: an answer of "
    "zero (1), and the law of the mean of all values, which reads no score"
)


@paper.figure(
    "fig1",
    caption=CAPTION.format(
        what="operators whose error has a law",
        where="for clustered and heavy-tailed keys those of Gaussian scores of the same spread; none where no law covers them",
    ),
    source="asked for by the comparison of operators",
    setting=FIGURE,
    claims=("keys_at_random", "best_keys", "best_blocks", "series_of_order_two", "needle_at_random"),
)
def with_a_law(setting: EnsembleSetting, lab: Lab) -> figures.Plate:
    return errors_against_cost(setting, lab, True)


@paper.figure(
    "fig2",
    caption=CAPTION.format(what="operators without a law of their error", where="none"),
    source="asked for by the comparison of operators",
    setting=FIGURE,
)
def without_a_law(setting: EnsembleSetting, lab: Lab) -> figures.Plate:
    return errors_against_cost(setting, lab, False)


@paper.figure(
    "fig3",
    caption="Measured over predicted error while an ensemble leaves the Gaussian law: spread, number of clusters, tail, rank and "
    "planted score. The law knows spread and rank and nothing of the rest. Dashed: 10 % off. Where a law covers "
    "nothing there are no points",
    source="asked for by the comparison of operators",
    setting=STOPS,
    claims=("needle_at_random",),
)
def where_laws_stop(setting: EnsembleSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(rows=2, columns=3, width=9.0, height=6.0, share_y=True)
    panels = dict(zip(DEPARTURES, plate, strict=False))
    for field, panel in panels.items():
        panel.scale(x="log", y="log")
        panel.heading(NAMES[DEPARTURES[field][0]])
        panel.labels(x=FIELDS[field], y="measured over predicted error")
        panel.ticks(x=DEPARTURES[field][1])
        panel.limits(y=(0.1, 10))
        for y in (1 - TOLERATED, 1 + TOLERATED):
            figures.reference(panel, f"{y:g}", y=y)
    for walk in walks(setting, lab):
        known = ~np.isnan(walk.ratio).any(1)
        if known.any():
            values = np.array(walk.values, dtype=float)[known]
            geometric(panels[walk.field], values, walk.ratio[known].T, short(walk.operator, walk.ladder))
    plate[5].hide()
    plate.legend("below")
    return plate
