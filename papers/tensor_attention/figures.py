"""Figures: errors of polynomials with their sharp bound, and accuracy on Match3 against sharpness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tensor_attention.paper import RANDOM, SERIES, TRAINED, hard, paper
from attnlab.simulators.polynomial_attention.match3 import MatchSetting, match3
from attnlab.simulators.polynomial_attention.tensor import TensorSetting, hard_keys, tensor_errors
from attnlab.simulators.polynomial_attention.trained import TrainedSetting, trained
from attnlab.theory.polynomial_attention import match3 as triples
from attnlab.theory.polynomial_attention import tensor as theory


@paper.figure(
    "fig1",
    caption="(a) Largest error of an output with weights truncated at degree g, for entries uniform up to B (points: means "
    "and 95 % "
    "intervals over replicas) and its sharp bound over all inputs (lines, where finite). (b) The least degree whose bound is "
    "10^-3, "
    "against the largest score B^3",
    source="the polynomial method",
    setting=SERIES,
    claims=("output_error", "bound_is_attained"),
)
def errors(setting: TensorSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    degrees = (1, 2, 3, 4, 5, 6)
    for B in (0.5, 1.0, 1.5):
        runs = lab.simulate(tensor_errors, replace(setting, entry_bound=B, degrees=degrees))
        bound = np.array([theory.output_error_bound(g, B) for g in degrees])
        shown = np.isfinite(bound)
        figures.prediction(plate[0, 0], np.array(degrees)[shown], bound[shown], f"B = {B:g}")
        figures.measurement(plate[0, 0], degrees, runs["error"], f"B = {B:g}")
    for B in (0.5, 1.0):
        found = lab.simulate(hard_keys, *(hard(B, g) for g in degrees[1:]))
        worst = np.array([[runs["error"][0] for runs in found]])
        figures.measurement(plate[0, 0], degrees[1:], worst, f"hardest keys, B = {B:g}")
    plate[0, 0].scale(y="log")
    plate[0, 0].labels(x="degree g", y="largest output error")
    b = np.linspace(0.05, 8, 400)
    least = [theory.least_degree(1e-3, float(x ** (1 / 3))) for x in b]
    figures.prediction(plate[0, 1], b, least, "bound of 0.001")
    plate[0, 1].labels(x=r"largest score $B^3$", y="least degree")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Accuracy on Match3 of one tensor head with weights by hand, six tokens modulo 41, against its inverse "
    "temperature over the sharp "
    "threshold (points: means and 95 % intervals over replicas of random sequences), and the threshold",
    source="Match3",
    setting=RANDOM,
    claims=("match3",),
)
def accuracy(setting: MatchSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(match3, setting)
    plate = figures.Plate()
    beta = triples.least_inverse_temperature_exact(setting.n_tokens, setting.modulus)
    right = 1 - runs["wrong"] / runs["of"][:, None]
    figures.measurement(plate[0, 0], np.array(setting.inverse_temperatures) / beta, right, "random sequences")
    figures.reference(plate[0, 0], "right on every sequence", x=1.0)
    plate[0, 0].labels(x=r"inverse temperature $\beta / \beta^*$", y="accuracy on Match3")
    plate.legend("below")
    return plate


@paper.figure(
    "fig3",
    caption="Accuracy over all sequences of three tokens after training, half of them matches, against the modulus, for one "
    "tensor head and for one, two and four pairwise heads (points: means and 95 % intervals over replicas). Lines: right on "
    "every sequence, and the most that one pairwise head of any width can reach, 3/4",
    source="Match3",
    setting=TRAINED,
    claims=("one_tensor_head_learns_it", "one_pairwise_head_does_not", "two_pairwise_heads_nearly_do"),
)
def trained_accuracy(setting: TrainedSetting, lab: Lab) -> figures.Plate:
    plate, moduli = figures.Plate(), (5, 7, 11)
    panel = plate[0, 0]
    kinds = {"one tensor head": ("tensor", 1), "one pairwise head": ("pairwise", 1)}
    kinds |= {"two pairwise heads": ("pairwise", 2), "four pairwise heads": ("pairwise", 4)}
    for number, (label, (head, count)) in enumerate(kinds.items()):
        cases = [replace(setting, head=head, n_heads=count, modulus=M) for M in moduli]
        found = np.stack([runs["accuracy"] for runs in lab.simulate(trained, *cases)], 1)
        figures.measurement(panel, moduli, found, label, dodge=3 * number)
    figures.prediction(panel, moduli, np.ones(3), "all", series="one tensor head")
    bound = [triples.best_pairwise_accuracy(M, setting.p_match) for M in moduli]
    figures.prediction(panel, moduli, bound, "most for one pairwise head", series="one pairwise head")
    panel.labels(x="modulus M", y="accuracy on Match3")
    panel.ticks(x=moduli)
    panel.limits(x=(4.5, 12))
    plate.legend("below")
    return plate
