"""The figure of trajectories in two dimensions: weights, prompts, losses, joint training, norms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tarzanagh2023_att_svm.paper import DESK, paper, selection
from attnlab.papers.tarzanagh2023_att_svm.prompt_starts import STARTS, svm_direction
from attnlab.papers.tarzanagh2023_att_svm.prompt_vectors import LOSSES, PAIRS, RELAXED, head_svm
from attnlab.simulators.max_margin_attention import training as simulator
from attnlab.simulators.max_margin_attention.prompt_vectors import PromptSetting, joint, prompts
from attnlab.theory.max_margin_attention.prompt_vectors import joint_prompt_direction, two_input_offset

PLANE = replace(DESK, n_inputs=2, n_tokens=5, dim=2, init="zero", n_steps=1_000, n_records=60, n_replicas=16)
PLANES = Scales(PLANE, PLANE, PLANE)


def clouds(start_seed: int = 4) -> PromptSetting:
    """Three inputs of seven tokens: one near (1, 0) of score 1, three near (-1, 1) and three near (-0.5, -0.5) of score
    0.5."""
    centres = np.array([(1.0, 0.0)] + [(-1.0, 1.0)] * 3 + [(-0.5, -0.5)] * 3)
    keys = centres + 0.2 * np.random.default_rng(start_seed).normal(size=(3, 7, 2))
    return PromptSetting(
        keys=tuple(tuple(map(tuple, X)) for X in keys.round(6).tolist()),
        scores=(tuple((1.0,) + (0.5,) * 6 for _ in range(3)),),
        starts=tuple((a, 0.0) for a in (1.0, 0.5, 0.0, -0.5, -1.0, -1.5)),
    )


@paper.figure(
    "fig5",
    caption="Trajectories in two dimensions, from open to filled circles, and straight lines along the predicted "
    "directions. a: W z of two inputs, W from zero, one replica that selects the best tokens. b, c: prompts from six "
    "starts; the last token scores 0.9 or 0, and only in c is the second token locally optimal",
    source="figures of trajectories",
    setting=PLANES,
)
def trajectories(setting: simulator.Setting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(1, 3, width="double", height=3.0)
    plane(plate[0], lab.simulate(simulator.train, setting))
    starts(plate[1], plate[2], lab)
    plate.legend("below", columns=3)
    return plate


@paper.figure(
    "fig7",
    caption="Prompts, points measured and lines predicted. a: two inputs of scores 1 and C = 2, 5, 10; the second "
    "coordinate settles at a limit that depends on the loss. b: directions of head and prompt trained together, at two "
    "ratios of their growth rates. c: norm of a prompt for three inputs of seven tokens from six starts, normalised "
    "descent by 0.1 a step and plain descent with rate 1; line: 0.1 a step",
    source="figures of the companion paper",
    setting=PLANES,
)
def prompt_limits(setting: simulator.Setting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(1, 3, width="double", height=3.4)
    fan(plate[0], lab)
    together(plate[1], lab)
    lengths(plate[2], lab)
    plate.legend("below", columns=3)
    return plate


def plane(panel, runs):
    """W z of the first replica that selects the best-scoring tokens of both inputs."""
    chosen = selection(runs)
    r = int(np.argmax(chosen.globally))
    for query in runs["queries"][r]:
        walk, end = runs["W"][r] @ query, chosen.frobenius[r] @ query
        figures.path(panel, walk[:, 0], walk[:, 1], "$W z_i$, trained")
        tip = end * np.linalg.norm(walk[-1]) / np.linalg.norm(end)
        figures.prediction(panel, [0.0, tip[0]], [0.0, tip[1]], "SVM, $W_\\alpha z_i$")
    panel.labels(x="first coordinate", y="second coordinate")
    panel.heading("weights")


def starts(high, low, lab: Lab):
    """The six starts with the score of the third token high and low."""
    setting = STARTS.at(lab.scale)
    lower = replace(setting, scores=(((*setting.scores[0][0][:2], 0.0),),))
    keys = setting.keys
    for panel, each, heading in ((high, setting, "scores 1, 0.9, 0.9"), (low, lower, "scores 1, 0.9, 0")):
        p = lab.simulate(prompts, each)["p"][0]
        for walk in p:
            early = np.linalg.norm(walk, axis=1) <= 12
            figures.path(panel, walk[early, 0], walk[early, 1], "prompt, trained")
        for token, label in ((0, "SVM, best token"), (1, "SVM, second token")):
            tip = 12 * svm_direction(keys, token) / np.linalg.norm(svm_direction(keys, token))
            figures.prediction(panel, [0.0, tip[0]], [0.0, tip[1]], label)
        panel.labels(x="$p_1$", y="$p_2$")
        panel.heading(heading)


def fan(panel, lab: Lab):
    """Prompts under three losses, and the predicted second coordinates."""
    setting = replace(PAIRS, scores=tuple(PAIRS.scores[i] for i in (1, 4, 9)), starts=PAIRS.starts[:3])
    C = np.array(setting.scores)[:, 0, 1]
    for loss, runs in zip(
        LOSSES, lab.simulate(prompts, *(replace(setting, loss=loss) for loss in LOSSES)), strict=True
    ):
        for walk, settled in zip(runs["p"][0], two_input_offset(C, loss), strict=True):
            seen = walk[:, 0] > 0.5
            figures.prediction(panel, [0.5, 400.0], [settled, settled], f"{loss} loss, limit", series=loss)
            figures.measurement(panel, walk[seen, 0][::3], walk[seen, 1][None, ::3], f"{loss} loss", series=loss)
    panel.scale(x="log")
    panel.labels(x="$p_1$", y="$p_2$")
    panel.heading("two inputs")


def together(panel, lab: Lab):
    """Angles of the head and the prompt from the first axis, in degrees."""
    setting = replace(RELAXED, prompt_rates=(0.1, 0.2))
    runs = lab.simulate(joint, setting)
    steps = runs["steps"][0]
    seen = np.flatnonzero(steps >= 45)[::2]
    head, margins, gaps = head_svm(setting)
    for index, rate in enumerate(setting.prompt_rates):
        ratio = rate / setting.head_rate
        p = runs["p"][0, index][seen]
        figures.measurement(panel, steps[seen], degrees(p)[None], f"prompt, ratio {ratio:g}")
        end = degrees(joint_prompt_direction(margins, gaps, ratio)[0])
        figures.prediction(
            panel, steps[seen][[0, -1]], [end, end], f"predicted, ratio {ratio:g}", series=f"prompt, ratio {ratio:g}"
        )
    figures.measurement(panel, steps[seen], degrees(runs["v"][0, 0][seen])[None], "head")
    figures.prediction(panel, steps[seen][[0, -1]], [degrees(head)] * 2, "max-margin head", series="head")
    panel.limits(y=(-30, 110))
    panel.scale(x="log")
    panel.labels(x="training step", y="angle from axis 1 (degrees)")
    panel.heading("head and prompt")


def lengths(panel, lab: Lab):
    """Norm of the prompt against steps under both kinds of descent."""
    normalised = clouds()
    plain = replace(normalised, descent="plain", learning_rate=1.0)
    for name, runs in zip(
        ("normalised descent", "plain descent"), lab.simulate(prompts, normalised, plain), strict=True
    ):
        steps = runs["steps"][0][1:]
        figures.band(panel, steps, np.linalg.norm(runs["p"][0, :, 1:], axis=-1), name)
    figures.prediction(panel, steps, 0.1 * steps, "0.1 a step")
    panel.scale(x="log", y="log")
    panel.labels(x="training step", y="norm of the prompt $\\|p\\|$")
    panel.heading("norms")


def degrees(vectors):
    """Angle of vectors of the plane from the first axis."""
    return np.degrees(np.arctan2(vectors[..., 1], vectors[..., 0]))
