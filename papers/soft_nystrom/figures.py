"""Figures: Newton's residual, and the start that fails; norms against the number of tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.soft_nystrom.paper import LEFT, RING, paper
from attnlab.simulators.sketching.landmarks import KernelSetting, NewtonSetting, kernels, newton
from attnlab.theory.sketching import gaussian_kernel as theory
from attnlab.theory.sketching.nystrom import residual


@paper.figure(
    "fig1",
    caption="Spectral norm of 1 − A X against the iteration: random landmarks, and landmarks on a regular polygon, whose "
    "residual from the published start 2 / |A|₁² never falls. Residuals below 10⁻¹² are rounding and left out",
    source="proposition on the start",
    setting=RING,
    claims=("residual_squares", "largest_start_converges", "smaller_start_converges"),
)
def residuals(setting: NewtonSetting, lab: Lab) -> figures.Plate:
    shown = {
        "random, 1.8": NewtonSetting(n_replicas=1),
        "polygon, 1.8": setting,
        "polygon, 2": replace(setting, factor=2.0),
    }
    every = lab.simulate(newton, *shown.values())
    plate = figures.Plate()
    panel = plate[0, 0]
    for (label, each), runs in zip(shown.items(), every, strict=True):
        t = np.arange(each.n_iterations + 1)
        law = np.array([residual(runs["matrix"][0], each.factor, int(k)) for k in t])
        seen = law > 1e-12
        figures.prediction(panel, t[seen], law[seen], label)
        figures.measurement(panel, t[seen], runs["residual"][:1, seen], label)
    panel.scale(y="log")
    panel.labels(x="iteration t", y="residual |1 − A X|")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Largest eigenvalue of the Gaussian kernel against the number of tokens (standard "
    "deviation 1/2 in 8 dimensions), and "
    "of the normalised kernel. Lines: n times the top eigenvalue of the limit operator; 1",
    source="section on normalisation",
    setting=LEFT,
    claims=("norm_grows", "normalised_norm"),
)
def norms(setting: KernelSetting, lab: Lab) -> figures.Plate:
    lengths = (32, 64, 128, 256, 512)
    every = lab.simulate(kernels, *(replace(setting, n_tokens=n, n_replicas=8) for n in lengths))
    plate = figures.Plate()
    panel, n = plate[0, 0], np.array(lengths)
    figures.prediction(panel, n, n * theory.norm_share_limit(setting.dim, setting.token_std), "kernel")
    figures.prediction(panel, n, np.ones(n.size), "normalised")
    figures.measurement(panel, n, np.stack([r["norm"] for r in every], 1) * n, "kernel")
    figures.measurement(panel, n, np.stack([r["normalised"] for r in every], 1), "normalised")
    panel.scale(x="log", y="log")
    panel.ticks(x=lengths)
    panel.labels(x="tokens n", y="spectral norm")
    plate.legend("below")
    return plate
