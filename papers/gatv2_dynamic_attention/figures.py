"""Figures: attention of static and dynamic heads that answer, accuracy against size, weights of two hidden units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.gatv2_dynamic_attention.paper import TRAINING, UNITS, paper
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.graph_attention.constructions import StaticLookupSetting, UnitsSetting, static_lookup, two_units
from attnlab.simulators.graph_attention.lookup import LookupSetting, lookup
from attnlab.theory.graph_attention import dynamic

SIZES = (3, 4, 5)


@paper.figure(
    "fig1",
    caption="Attention weights of one head on one training graph, queries in rows, keys in columns, replica 0. (a) GAT and (b) "
    "GATv2, "
    "trained; (c) GAT with weights by hand, which answers every query although all rows have the same favourite key",
    source="figure 1",
    setting=TRAINING,
    claims=("trained_gat_is_static", "a_static_head_looks_up"),
)
def attention(setting: LookupSetting, lab: Lab) -> figures.Plate:
    gat, v2 = lab.simulate(lookup, setting, replace(setting, score="gatv2"))
    planted = lab.simulate(static_lookup, StaticLookupSetting(n_words=setting.n_words, n_replicas=8))
    plate = figures.Plate(columns=3, width="double")
    maps = [runs["attention"][0] for runs in (gat, v2, planted)]
    scale = figures.colour_scale(*maps, symmetric=False)
    for panel, values in zip((plate[0, 0], plate[0, 1], plate[0, 2]), maps, strict=True):
        figures.heat_map(panel, values, "attention weight", scale=scale, symmetric=False)
        panel.labels(x="key (attribute)", y="query (attribute)")
    return plate


@paper.figure(
    "fig2",
    caption="Accuracy on the training graphs of DictionaryLookup against its number of words, after training (points: means "
    "and 95 % "
    "intervals over replicas). Lines: 2/k, and 1, the accuracy of one GAT head with weights by hand",
    source="figure of section 4.1",
    setting=Scales(
        *(
            replace(each, n_replicas=n)
            for each, n in zip((TRAINING.smoke, TRAINING.desk, TRAINING.paper), (8, 16, 16), strict=True)
        )
    ),
    claims=("gat_cannot_look_up", "trained_gat_stops_at_two_answers"),
)
def accuracy(setting: LookupSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel, sizes = plate[0, 0], np.array(SIZES)
    fine = np.linspace(sizes[0], sizes[-1], 50)
    figures.prediction(panel, fine, 2 / fine, "two answers, 2/k")
    figures.prediction(panel, sizes, np.ones(len(sizes)), "one GAT head by hand")
    kinds = {
        "GAT, 1 head": setting,
        "GAT, 4 heads": replace(setting, n_heads=4),
        "GATv2, 1 head": replace(setting, score="gatv2"),
        "dot product, 1 head": replace(setting, score="dot"),
    }
    for shift, (label, each) in enumerate(kinds.items()):
        runs = lab.simulate(lookup, *(replace(each, n_words=k) for k in SIZES))
        found = np.stack([run["train_nodes"][:, -1] for run in runs], 1)
        figures.measurement(panel, sizes + 0.06 * (shift - 1.5), found, label)
    panel.labels(x="number of words k", y="accuracy on training graphs")
    plate.legend("below")
    return plate


@paper.figure(
    "fig3",
    caption="Weight of the right key of a lookup by two hidden units against the read-out c, least over queries (points) of "
    "dictionaries of 4 and 100 words. Lines: the bound for any size, tanh(0.4 c), and the union bounds 1 - (k - 1) exp(-0.8 c)",
    source="section 4.1",
    setting=Scales(*(replace(UNITS.desk, n_words=(4, 100), sharpnesses=(0.25, 0.5, 1.0, 2.0, 4.0, 8.0)),) * 3),
    claims=("two_units",),
)
def units(setting: UnitsSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(two_units, setting)
    plate = figures.Plate()
    panel, fine = plate[0, 0], np.geomspace(setting.sharpnesses[0], setting.sharpnesses[-1], 80)
    figures.prediction(panel, fine, [dynamic.lookup_weight_bound(c) for c in fine], "bound for any k")
    for k in setting.n_words:
        union = np.array([dynamic.union_weight_bound(k, c) for c in fine])
        figures.prediction(panel, fine[union > 0], union[union > 0], f"union bound, k = {k}")
    for a, k in enumerate(setting.n_words):
        figures.measurement(panel, setting.sharpnesses, runs["weight"][:, a].min(-1), f"k = {k}")
    panel.scale(x="log")
    panel.labels(x="read-out c", y="least weight of a right key")
    plate.legend("below")
    return plate
