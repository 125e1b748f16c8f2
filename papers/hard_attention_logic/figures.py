"""Figure: the size of compiled encoders, and softmax in place of hard attention."""

from __future__ import annotations

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.hard_attention_logic.paper import RANDOM_SCALES, SOFTMAX, paper, random_formulas
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.hard_attention.recognition import RecognitionSetting, SoftmaxSetting, recognise, sharpness
from attnlab.theory.hard_attention import limits
from attnlab.theory.hard_attention.syntax import Next, Since, Until, subformulas


@paper.figure(
    "fig1",
    caption="Encoders compiled from random formulas of temporal logic: attention layers against temporal operators (left; the "
    "line is one layer per operator) and coordinates of a position against subformulas (right). Every point is a formula; points "
    "that coincide lie on each other",
    source="depth and width against the size of the formula",
    setting=RANDOM_SCALES,
)
def sizes(setting: RecognitionSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    formulas = [subformulas(each) for each in random_formulas(len(setting.encoders))]
    runs = lab.simulate(recognise, setting)
    operators = [sum(isinstance(part, (Next, Until, Since)) for part in each) for each in formulas]
    most = max(operators)
    figures.prediction(plate[0, 0], np.arange(most + 1), np.arange(most + 1.0), "one layer per operator")
    figures.measurement(plate[0, 0], operators, runs["layers"].astype(float), "compiled")
    plate[0, 0].labels(x="temporal operators", y="attention layers")
    figures.measurement(plate[0, 1], [len(each) for each in formulas], runs["width"].astype(float), "compiled")
    plate[0, 1].labels(x="subformulas", y="coordinates of a position")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="The least inverse temperature, in units of the largest score, from which softmax accepts all words of length n that "
    "hard attention accepts, for the encoder of a U b over three letters. Line: the exact law; and its limit 2 log(rho) 2^(n-3), "
    "rho the plastic number",
    source="softmax in place of hard attention",
    setting=SOFTMAX,
    claims=("softmax_sharpness",),
)
def softmax(setting: SoftmaxSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(sharpness, setting)
    plate = figures.Plate()
    panel, lengths = plate[0, 0], np.array(setting.lengths)
    unit = 4.0 ** (lengths - 1)
    exact = [limits.least_inverse_temperature_exact(int(n)) * 4.0 ** (n - 1) for n in lengths]
    figures.prediction(panel, lengths, exact, "exact law")
    limit = [limits.least_inverse_temperature_limit(int(n)) * 4.0 ** (n - 1) for n in lengths]
    figures.prediction(panel, lengths, limit, "limit of long words")
    figures.measurement(panel, lengths, runs["least"] * unit, "all words tried")
    panel.scale(y="log")
    panel.labels(x="length n of the words", y=r"least inverse temperature $\beta$")
    plate.legend("below")
    return plate
