"""Figures: what a needle weighs against the spread of keys, and recall against load."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.gates_and_memory.paper import NEEDLES, RECALLS, paper
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.gates_and_memory.memories import NeedleSetting, RecallSetting, needles, recalls
from attnlab.theory.gates_and_memory import compressive_memory, mega

SPREADS = (0.25, 0.5, 1.0, 2.0, 5.0, 20.0)
LOADS = (4, 8, 16, 24, 48)


@paper.figure(
    "fig1",
    caption="Weight of a stored pair times the number of pairs against the spread of keys (points: means and 95 % intervals "
    "over replicas; line: N g/(N - 1 + g) with the gain g(s); dashed: the ceiling pi of g)",
    source="compressive memory",
    setting=NEEDLES,
    claims=("needles_dilute",),
)
def gain(setting: NeedleSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel = plate[0, 0]
    fine = np.geomspace(SPREADS[0], SPREADS[-1], 60)
    N = setting.n_stored
    figures.prediction(panel, fine, [N * compressive_memory.needle_weight(N, s) for s in fine], "N g/(N - 1 + g)")
    figures.prediction(panel, fine, np.full(60, compressive_memory.gain_bound()), r"ceiling $\pi$")
    runs = lab.simulate(needles, *(replace(setting, key_std=s) for s in SPREADS))
    figures.measurement(panel, SPREADS, np.stack([each["weight"] for each in runs], 1), "N g/(N - 1 + g)")
    panel.scale(x="log")
    panel.labels(x="spread of the keys s", y="weight of the needle times N")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="(a) Share of stored pairs whose read-out is nearest to their own value against the number of pairs, unit keys, at "
    "the setting's widths (points: means and 95 % intervals; lines: the law, and softmax, which is always right). (b) Influence "
    "of a token across chunks against its distance, for an average at its start and with longer timescales (lines alone)",
    source="compressive memory; Mega",
    setting=Scales(
        *(replace(each, n_draws=100, n_replicas=16) for each in (RECALLS.smoke, RECALLS.desk, RECALLS.paper))
    ),
    claims=("memory_recalls_few", "far_chunks_fade"),
)
def recall(setting: RecallSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    panel, beside = plate[0, 0], plate[0, 1]
    fine = np.unique(np.geomspace(LOADS[0], LOADS[-1], 40).astype(int))
    widths = setting.key_std, setting.key_width, setting.value_width
    law = [compressive_memory.recall_limit(int(n), *widths) for n in fine]
    figures.prediction(panel, fine, law, "memory")
    runs = lab.simulate(recalls, *(replace(setting, n_stored=n) for n in LOADS))
    figures.measurement(panel, LOADS, np.stack([each["right"] for each in runs], 1), "memory")
    figures.prediction(panel, fine, np.ones(len(fine)), "softmax")
    figures.measurement(panel, LOADS, np.stack([each["softmax"] for each in runs], 1), "softmax")
    panel.scale(x="log")
    panel.labels(x="stored pairs N", y="share of pairs read right")
    distance = np.arange(0, 257)
    for timescale in (4, 16, 64):
        q = 1 - 1 / timescale
        label = f"q = {q:.3g}, half-life {mega.half_life(q):.3g}"
        figures.prediction(beside, distance, q**distance, label)
    beside.scale(y="log")
    beside.limits(y=(1e-6, 1.5))
    beside.labels(x="distance (tokens)", y="influence across chunks")
    plate.legend("below", columns=3)
    return plate
