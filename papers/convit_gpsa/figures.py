"""Figures: gates and distances in training, heads at three localities, errors as a convolution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.convit_gpsa.claims import SHARES
from attnlab.papers.convit_gpsa.paper import HEADS, MATCHING, WINDOWS, paper
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.positional_attention.gates import MatchingSetting, WindowSetting, matching, windows
from attnlab.simulators.positional_attention.heads import HeadsSetting, heads
from attnlab.theory.positional_attention import gates, locality


@paper.figure(
    "fig1",
    caption="Gates (a) and mean distances looked at (b) of heads trained on s times a local blur and 1 - s times the value of "
    "a matching "
    "cell (points: means and 95 % intervals over replicas; lines: the limits)",
    source="figure on gates during training",
    setting=MATCHING,
    claims=("gates_share_matching",),
)
def matching_gates(setting: MatchingSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    side = setting.side
    at = np.arange(side**2)
    blur = np.array(
        [locality.weights_on_grid_exact((side, side), (i // side, i % side), (0, 0), 1.0).ravel() for i in at]
    )
    apart = np.hypot(*(np.stack([at // side, at % side])[:, :, None] - np.stack([at // side, at % side])[:, None]))
    local, far = (blur * apart).sum() / len(at), apart.sum() / (len(at) * (len(at) - 1))
    for s in SHARES:
        runs = lab.simulate(matching, replace(setting, local_share=s))
        steps = runs["steps"][0]
        late = steps > 0
        ends = np.array([steps[late][0], steps[-1]])
        distance = gates.matching_distance_limit(s, local, far)
        for panel, name, law in (
            (plate[0, 0], "gate", gates.matching_gate_limit(s)),
            (plate[0, 1], "distance", distance),
        ):
            figures.prediction(panel, ends, np.full(2, law), f"s = {s:g}")
            figures.measurement(panel, steps[late], runs[name][:, late], f"s = {s:g}")
    for panel, label in ((plate[0, 0], r"gate $\sigma(\lambda)$"), (plate[0, 1], "mean distance, cells")):
        panel.scale(x="log")
        panel.labels(x="training step", y=label)
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Weights of a positional head on an 11 x 11 grid, seen from the middle cell, offset (-1, -1), at localities 0.5, "
    "1 and 2 "
    "(computed from the closed form, which the claim on weights judges)",
    source="figure of attention maps",
    setting=HEADS,
    claims=("gaussian_weights",),
)
def maps(setting: HeadsSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=3, width="double")
    runs = lab.simulate(heads, replace(setting, localities=(0.5, 1.0, 2.0)))
    shown = list(runs["seen"][0])
    scale = figures.colour_scale(*shown, symmetric=False)
    for k, values in enumerate(shown):
        panel = plate[0, k]
        figures.heat_map(panel, values, "weight", scale=scale, symmetric=False)
        panel.labels(x="column", y="row")
    return plate


@paper.figure(
    "fig3",
    caption="Relative error of nine positional heads as a 3 x 3 convolution against their locality: in the interior, at an "
    "edge and at a "
    "corner (points; lines: exact laws; dashed 4 exp(-alpha), the missing centre weight)",
    source="theorem 1 of Cordonnier et al.",
    setting=HEADS,
    claims=("convolution", "borders"),
)
def errors(setting: HeadsSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(heads, setting)
    plate = figures.Plate()
    panel, middle = plate[0, 0], setting.side // 2
    fine = np.linspace(min(setting.localities), max(setting.localities), 80)
    shape = (setting.side, setting.side)
    kernel = [(float(a), float(b)) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    figures.prediction(panel, fine, [locality.convolution_error_exact(a) for a in fine], "interior")
    for label, query in (("edge", (0, middle)), ("corner", (0, 0))):
        law = [locality.border_error_exact(shape, query, kernel, a) for a in fine]
        figures.prediction(panel, fine, law, label)
    late = fine[fine > 1.5]
    figures.prediction(panel, late, 4 * np.exp(-late), r"missing centre $4 e^{-\alpha}$")
    for label, name in (("interior", "error"), ("edge", "edge_error"), ("corner", "corner_error")):
        figures.measurement(panel, setting.localities, runs[name], label)
    panel.scale(y="log")
    panel.labels(x=r"locality $\alpha$", y="relative error")
    plate.legend("below")
    return plate


@paper.figure(
    "fig4",
    caption="Gates between a Gaussian head and the mean of the image, trained on means over windows of radius 1, 2 and 3, "
    "from a start near "
    "0.73 (points: means and 95 % intervals over replicas; lines: the gate of least distance)",
    source="gates that escape locality",
    setting=WINDOWS,
    claims=("gates_follow_the_window",),
)
def window_gates(setting: WindowSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel = plate[0, 0]
    for radius in (1, 2, 3):
        runs = lab.simulate(windows, replace(setting, radius=radius))
        P, T = runs["positional"][0], runs["target"][0]
        best = gates.best_gate_exact(P, np.full_like(P, 1 / len(P)), T)
        steps = runs["steps"][0]
        ends = np.array([1, steps[-1]])
        figures.prediction(panel, ends, np.full(2, best), f"radius {radius}")
        figures.measurement(panel, steps[1:], runs["gate"][:, 1:], f"radius {radius}")
    panel.scale(x="log")
    panel.labels(x="training step", y=r"gate $\sigma(\lambda)$")
    plate.legend("below")
    return plate
