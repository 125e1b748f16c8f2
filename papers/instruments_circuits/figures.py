"""Figures: the table of paths, credit by gradients against strength, and what chance gives to overlaps and codes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.instruments_circuits.measured import (
    RECEIVERS,
    CodeSetting,
    InductionSetting,
    ProgramSetting,
    attributed,
    codes,
    paths,
    programs,
)
from attnlab.papers.instruments_circuits.paper import MODELS, paper
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.theory.instruments import circuits as theory

_SWEEP = Scales(*[InductionSetting(n_replicas=4)] * 3)
_CODES = Scales(*[CodeSetting(n_heads=200, n_replicas=8)] * 3)


@paper.figure(
    "fig1",
    caption="Effects of path patching on hand-written induction, mean over replicas of 20 prompt pairs: senders L0H0 to L1H3, "
    "receivers the logits, all paths (total), and key, query and value of L1H0. Predicted: 1 in four cells, 0 in all others",
    source="section 3",
    setting=MODELS,
    claims=("paths",),
)
def path_figure(setting: InductionSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(paths, setting)
    plate = figures.Plate(width="double", height=3.0)
    figures.heat_map(plate[0, 0], runs["effect"].mean(0), "effect, of the corruption's", annotate=".2f", square=False)
    plate[0, 0].labels(x="sender", y="receiver")
    plate[0, 0].ticks(
        x={4 * layer + head: f"L{layer}H{head}" for layer in range(2) for head in range(4)},
        y={k: name.replace("L1.H0.", "L1H0 ") for k, name in enumerate(RECEIVERS)},
    )
    return plate


@paper.figure(
    "fig2",
    caption="(a) Effect of the previous-token head by its gradient and by a path of 20 steps, over its exact effect, against "
    "the strength of the planted scores (points: 20 prompts per replica; line: complete). (b) Share of positive prompts with a "
    "code that none of 10 negative ones has, without any signal, against the number of codes (line: (1 - 1/K)^10). (c) Accuracy "
    "with context-free states before each layer, on all 49 prompts (lines: predicted steps)",
    source="sections 4, 5 and 9",
    setting=_SWEEP,
    claims=("saturation", "null_of_codes", "windows"),
)
def credit(setting: InductionSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=3, width="double")
    left, middle, right = (plate[0, k] for k in range(3))
    at = np.array([1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0])
    runs = lab.simulate(attributed, *(replace(setting, previous=float(b), match=float(b)) for b in at))
    for name, label in (("path", "path"), ("linear", "gradient")):
        figures.measurement(left, at, np.stack([r[name] / r["exact"] for r in runs], 1), label)
    figures.prediction(left, at, np.ones(at.size), "path")
    left.labels(x="strength (nats)", y="effect / exact effect")
    counts, fine = np.array([2, 4, 8, 16, 32]), np.arange(2, 33)
    drawn = lab.simulate(codes, *(replace(_CODES.desk, shares=(1 / int(k),) * int(k)) for k in counts))
    figures.prediction(middle, fine, [theory.codes_null((1 / int(k),) * int(k), 10) for k in fine], "no signal")
    figures.measurement(middle, counts, np.stack([r["score"] for r in drawn], 1), "no signal")
    middle.labels(x="codes of a head", y="score")
    first, layers = {"late": 2, "early": 0}, np.arange(7)
    for number, program in enumerate(first):
        found = lab.simulate(programs, ProgramSetting(program=program))
        figures.measurement(right, layers, found["accuracy"], program, dodge=2 * number)
        figures.prediction(right, layers, np.where(layers <= first[program], 1.0, 1 / 7), program)
    right.labels(x="layer", y="accuracy")
    plate.legend("below")
    return plate
