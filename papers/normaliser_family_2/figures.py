"""Figures: what an amplifier gains against its ratio, and how plans converge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.normaliser_family_2.paper import NOISES, PLANS, paper
from attnlab.simulators.score_maps.plans_and_trees import NoiseSetting, PlanSetting, noises, plans
from attnlab.theory.score_maps import difference, sinkhorn

RATIOS, CORRELATIONS, EPSILONS = (0.5, 1.0, 2.0, 5.0, 10.0, 50.0), (0.0, 0.5, 0.9), (0.1, 0.3)


@paper.figure(
    "fig1",
    caption="Power signal to noise of the amplifier's weights over that of the first map, against the ratio of gains, for three "
    "correlations of the two maps' noises (points: means and 95 % intervals over replicas; lines: the law)",
    source="operational amplifier",
    setting=Scales(
        *(replace(each, n_weights=5000, n_replicas=16) for each in (NOISES.smoke, NOISES.desk, NOISES.paper))
    ),
    claims=("rejection_pays_if_noise_is_common",),
)
def gains(setting: NoiseSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel, fine = plate[0, 0], np.geomspace(RATIOS[0], RATIOS[-1], 60)
    for rho in CORRELATIONS:
        runs = lab.simulate(noises, *(replace(setting, ratio=K, correlation=rho) for K in RATIOS))
        label = rf"$\rho$ = {rho:g}"
        figures.prediction(panel, fine, [difference.noise_gain(K, rho) for K in fine], label)
        figures.measurement(panel, RATIOS, np.stack([each["gain"] for each in runs], 1), label)
    panel.scale(x="log", y="log")
    panel.labels(x="ratio of gains K", y="gain in signal to noise")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Distance of a transport plan from its end against full iterations, one draw per epsilon (points), with the "
    "slopes that "
    "the second singular value of the end gives (lines, through the tenth point)",
    source="Sinkhorn attention",
    setting=PLANS,
    claims=("plans_contract_by_a_singular_value",),
)
def convergence(setting: PlanSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel, at = plate[0, 0], np.arange(1, 31)
    runs = lab.simulate(plans, *(replace(setting, epsilon=e) for e in EPSILONS))
    for e, each in zip(EPSILONS, runs, strict=True):
        label, gaps = f"epsilon = {e:g}", each["residual"][0]
        seen = at[gaps > 1.01 * gaps.min()]
        middle = min(9, len(seen) // 2)
        slope = sinkhorn.contraction(each["plan"][0])
        figures.prediction(panel, seen, gaps[middle] * slope ** (seen - at[middle]), label)
        shown = gaps[: len(seen)]
        figures.estimate(panel, seen, shown, shown, shown, label, interval="none: one draw")
    panel.scale(y="log")
    panel.labels(x="full iterations", y="distance from the end")
    plate.legend("below")
    return plate
