"""Figures: amplification beyond the trained range against the ridge, and errors on the sphere against resolution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.positions_and_geometry.paper import SPHERES, WAVES, paper
from attnlab.papers.positions_and_geometry.places import kept
from attnlab.simulators.positional_attention.geometry import SphereSetting, spheres
from attnlab.simulators.positional_attention.places import WaveSetting, extrapolations
from attnlab.theory.positional_attention import fourier_positions, sphere

RIDGES, PERIODS, ROWS = (1e-6, 1e-4, 1e-2, 1.0), (0.0, 1.0, 4.0), (4, 6, 8, 12, 16)


@paper.figure(
    "fig1",
    caption="Mean square, beyond the trained distances, of a fit to unit noise against the ridge, for three floors of the rotary "
    "frequencies (points: means and 95 % intervals over replicas; lines: the exact law)",
    source="Fourier positions",
    setting=Scales(*(replace(each, n_draws=50, n_replicas=16) for each in (WAVES.smoke, WAVES.desk, WAVES.paper))),
    claims=("slow_waves_amplify",),
)
def amplification(setting: WaveSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel, L = plate[0, 0], setting.trained_length
    fine = np.geomspace(RIDGES[0], RIDGES[-1], 25)
    for periods in PERIODS:
        label = f"periods from {periods:g} on" if periods else "all frequencies"
        w = kept(setting, periods)
        law = [fourier_positions.noise_beyond_exact(w, L, 4 * L, lam) ** 2 for lam in fine]
        figures.prediction(panel, fine, law, label)
        runs = lab.simulate(extrapolations, *(replace(setting, periods=periods, ridge=lam) for lam in RIDGES))
        figures.measurement(panel, RIDGES, np.stack([each["beyond"] for each in runs], 1), label)
    panel.scale(x="log", y="log")
    panel.labels(x="ridge", y="mean square beyond the range")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Relative error of the response to values along u on the sphere against the number of rows, kappa = 4: "
    "Gauss-Legendre rows with "
    "weights, rows of equal angles with weights, and without (the operator on each grid; nothing is random)",
    source="attention on the sphere",
    setting=SPHERES,
    claims=("weights_make_the_integral",),
)
def errors(setting: SphereSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel, law = plate[0, 0], sphere.mean_direction_exact(setting.concentration)
    runs = lab.simulate(spheres, *(replace(setting, n_lat=n) for n in ROWS))
    for name, label in (
        ("gauss", "Gauss-Legendre"),
        ("angles", "equal angles, weighted"),
        ("unweighted", "equal angles, unweighted"),
    ):
        found = [max(abs(float(each[name][0]) / law - 1), 1e-16) for each in runs]
        figures.estimate(panel, ROWS, found, found, found, label, interval="none: the grid decides")
    panel.scale(y="log")
    panel.labels(x="rows of the grid", y="relative error of the response")
    plate.legend("below")
    return plate
