"""Figures: one score matrix under six priors; Sinkhorn and belief propagation against temperature; calibration curves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import expit, logit

from attnlab.analysis import figures
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.marginal_probability.assignments import centred
from attnlab.papers.marginal_probability.paper import CHANNEL, CURVE, paper
from attnlab.simulators.latent_structures.assignment import AssignmentSetting, assignments
from attnlab.simulators.latent_structures.channel import ChannelSetting, channel
from attnlab.simulators.latent_structures.enumeration import SHOWN, EnumerationSetting, same_scores
from attnlab.theory.latent_structures import permutations


@paper.figure(
    "fig1",
    caption="Posterior marginals of edges (row: query, column: key) for one score matrix of four tokens under six priors, "
    "from lists "
    "of all structures: one parent, at most one, independent edges, exactly two parents, one-to-one, one parent without cycles "
    "(diagonal: the root)",
    source="table of priors and mechanisms",
    claims=("one_parent_is_softmax", "priors_make_mechanisms", "other_structures"),
)
def six_priors(setting: EnumerationSetting, lab: Lab) -> figures.Plate:
    marginals = lab.simulate(same_scores, setting)["marginals"][0]
    plate = figures.Plate(rows=2, columns=3, width="double")
    scale = figures.colour_scale(np.array([0.0, 1.0]), symmetric=False)
    for k, (name, each) in enumerate(zip(SHOWN, marginals, strict=True)):
        panel = plate[k // 3, k % 3]
        figures.heat_map(panel, each, "marginal", symmetric=False, scale=scale, annotate=".2f")
        panel.heading(name)
    return plate


@paper.figure(
    "fig2",
    caption="Largest difference of a marginal from the exact one-to-one posterior, for one 4 x 4 matrix of standard normal "
    "scores, "
    "against the inverse temperature: Sinkhorn's plan and belief propagation. Lines: first order in the inverse temperature. The "
    "vertical line is where belief propagation freezes, rho(A) = 1",
    source="Sinkhorn's gap",
    setting=CURVE,
    claims=("warm_slopes", "belief_propagation_freezes"),
)
def gaps(setting: AssignmentSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(assignments, setting)
    n, betas = setting.n_tokens, np.array(setting.inverse_temperatures)
    plate = figures.Plate()
    panel = plate[0, 0]
    largest = float(np.abs(centred(runs["scores"])).max())
    for name, key, slope in (
        ("Sinkhorn", "sinkhorn", permutations.slope_of_sinkhorn(n)),
        ("belief propagation", "bethe", permutations.slope_of_bethe(n)),
    ):
        line = abs(slope - permutations.slope_exact(n)) * betas * largest
        figures.prediction(panel, betas[betas <= 1], line[betas <= 1], f"{name}, first order")
        figures.measurement(panel, betas, np.abs(runs[key] - runs["exact"]).max((2, 3)), name)
    S = runs["scores"][0]
    S = S[:, _best(S)]
    low, high = 1e-3, 1e3
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if permutations.freezing_radius(middle * S) > 1 else (low, middle)
    figures.reference(panel, "freezing", x=low, where="bottom")
    panel.scale(x="log", y="log")
    panel.labels(x=r"inverse temperature $\beta$", y="largest error of a marginal")
    plate.legend("below")
    return plate


def _best(S: np.ndarray) -> np.ndarray:
    return linear_sum_assignment(S, maximize=True)[1]


@paper.figure(
    "fig3",
    caption="How often the key is right where attention states a probability, in twenty bins: two Gaussian keys at 1.5 noises, "
    "softmax at beta = c / s^2, and with unequal norms ((|k_1|^2 - |k_2|^2) / 2 s^2 = 0.4) that the scores leave out. Lines: "
    "sigma((logit p - b) / c)",
    source="calibration",
    setting=CHANNEL,
    claims=("calibration",),
)
def reliability(setting: ChannelSetting, lab: Lab) -> figures.Plate:
    edges = tuple(np.linspace(0, 1, 21).tolist())
    cases = (("c = 1", 1.0, 0.0), ("c = 1/2", 0.5, 0.0), ("c = 2", 2.0, 0.0), ("c = 1, norms", 1.0, 0.4))
    found = lab.simulate(channel, *[replace(setting, sharpness=c, tilt=t, bins=edges) for _, c, t in cases])
    plate = figures.Plate()
    panel, fine = plate[0, 0], np.linspace(0.01, 0.99, 99)
    middle = np.diff(edges) / 2 + np.array(edges[:-1])
    for (name, c, tilt), runs in zip(cases, found, strict=True):
        figures.prediction(panel, fine, expit((logit(fine) - c * tilt) / c), name)
        seen = np.isfinite(runs["right"]).all(0)
        figures.measurement(panel, middle[seen], runs["right"][:, seen], f"{name}, drawn")
    panel.labels(x="stated probability p", y="share right")
    plate.legend("below")
    return plate
