"""The figure of trajectories in two dimensions: weights, prompts, losses, joint training, norms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.paper import Scales
from attnlab.papers.tarzanagh2023.common import DESK, paper, selection
from attnlab.papers.tarzanagh2023.prompt_vectors import LOSSES, PAIRS, RELAXED, STARTS, head_machine, machine
from attnlab.simulators import max_margin_attention as simulator
from attnlab.simulators.max_margin_attention_prompts import PromptSetting, joint, prompts
from attnlab.theory.max_margin_attention_prompt import joint_prompt_direction, two_input_offset

PLANE = replace(DESK, n_inputs=2, n_tokens=5, dim=2, init="zero", n_steps=1_000, n_records=60, n_replicas=16)
PLANES = Scales(PLANE, PLANE, PLANE)


def clouds(start_seed: int = 4) -> PromptSetting:
    """Three inputs of seven tokens: one token near (1, 0) of score 1, three near (-1, 1) and three near (-0.5, -0.5) of score
    0.5."""
    centres = np.array([(1.0, 0.0)] + [(-1.0, 1.0)] * 3 + [(-0.5, -0.5)] * 3)
    keys = centres + 0.2 * np.random.default_rng(start_seed).normal(size=(3, 7, 2))
    return PromptSetting(keys=tuple(tuple(map(tuple, X)) for X in keys.round(6).tolist()),
                         scores=(tuple((1.0,) + (0.5,) * 6 for _ in range(3)),),
                         starts=tuple((a, 0.0) for a in (1.0, 0.5, 0.0, -0.5, -1.0, -1.5)))


@paper.figure("fig5", caption="Trajectories in two dimensions; dashed or straight lines are predicted. a: W z of two inputs "
                              "(one replica, W from zero) and the machine's directions. b, c: prompts from six starts, the last "
                              "two tokens scoring 0.9 or the last one 0; only in c is the second token locally optimal. d: "
                              "prompts for two inputs of scores 1 and C with three losses, and where the second coordinate "
                              "settles. e: angle of head and prompt trained together, growth ratio 1 and 2, and the directions "
                              "predicted. f: norm of a prompt for three inputs of seven tokens, six starts, normalised (step "
                              "0.1) and plain descent (step 1), and the slope of a norm that grows by 0.1 a step",
              source="figures of trajectories", setting=PLANES)
def trajectories(setting, lab):
    plate = figures.Plate(2, 3, width="double", height=5.6)
    plane(plate[0, 0], lab.simulate(simulator.train, setting))
    starts(plate[0, 1], plate[0, 2], lab)
    fan(plate[1, 0], lab)
    together(plate[1, 1], lab)
    lengths(plate[1, 2], lab)
    plate.legend("below", columns=3)
    return plate


def plane(panel, runs):
    """W z of the first replica that selects the best-scoring tokens of both inputs."""
    chosen = selection(runs)
    r = int(np.argmax(chosen.globally))
    for i, query in enumerate(runs["queries"][r]):
        walk, end = runs["W"][r] @ query, chosen.frobenius[r] @ query
        figures.path(panel, walk[:, 0], walk[:, 1], f"$W z_{i + 1}$, trained")
        tip = end * np.linalg.norm(walk[-1]) / np.linalg.norm(end)
        figures.prediction(panel, [0.0, tip[0]], [0.0, tip[1]], f"machine, $z_{i + 1}$")
    panel.labels(x="first coordinate", y="second coordinate")
    panel.heading("weights")


def starts(high, low, lab):
    """The six starts with the score of the third token high and low."""
    setting = STARTS.at(lab.scale)
    lower = replace(setting, scores=(((*setting.scores[0][0][:2], 0.0),),))
    keys = setting.keys
    for panel, each, heading in ((high, setting, "scores 1, 0.9, 0.9"), (low, lower, "scores 1, 0.9, 0")):
        p = lab.simulate(prompts, each)["p"][0]
        for walk in p:
            early = np.linalg.norm(walk, axis=1) <= 12
            figures.path(panel, walk[early, 0], walk[early, 1], "prompt, trained")
        for token, label in ((0, "machine, best token"), (1, "machine, second token")):
            tip = 12 * machine(keys, token) / np.linalg.norm(machine(keys, token))
            figures.prediction(panel, [0.0, tip[0]], [0.0, tip[1]], label)
        panel.labels(x="$p_1$", y="$p_2$")
        panel.heading(heading)


def fan(panel, lab):
    """Prompts under three losses, and the predicted second coordinates."""
    setting = replace(PAIRS, scores=tuple(PAIRS.scores[i] for i in (1, 4, 9)), starts=PAIRS.starts[:3])
    C = np.array(setting.scores)[:, 0, 1]
    for loss, runs in zip(LOSSES, lab.simulate(prompts, *(replace(setting, loss=loss) for loss in LOSSES)), strict=True):
        for walk, settled in zip(runs["p"][0], two_input_offset(C, loss), strict=True):
            figures.path(panel, walk[:, 0], walk[:, 1], f"{loss} loss, C = 2, 5, 10", series=f"{loss} loss")
            figures.prediction(panel, [100.0, 400.0], [settled, settled], f"{loss} loss, predicted", series=f"{loss} loss")
    panel.limits(x=(0, 400))
    panel.labels(x="$p_1$", y="$p_2$")
    panel.heading("two inputs")


def together(panel, lab):
    """Angles of the head and the prompt from the first axis, in degrees."""
    setting = replace(RELAXED, prompt_rates=(0.1, 0.2))
    runs = lab.simulate(joint, setting)
    steps = runs["steps"][0]
    seen = steps >= 10
    head, margins, gaps = head_machine(setting)
    for index, rate in enumerate(setting.prompt_rates):
        ratio = rate / setting.head_rate
        p = runs["p"][0, index, seen]
        figures.measurement(panel, steps[seen], degrees(p)[None], f"prompt, ratio {ratio:g}")
        end = degrees(joint_prompt_direction(margins, gaps, ratio)[0])
        figures.prediction(panel, steps[seen][[0, -1]], [end, end], f"predicted, ratio {ratio:g}",
                           series=f"prompt, ratio {ratio:g}")
    figures.measurement(panel, steps[seen], degrees(runs["v"][0, 0, seen])[None], "head")
    figures.prediction(panel, steps[seen][[0, -1]], [degrees(head)] * 2, "max-margin head", series="head")
    panel.scale(x="log")
    panel.labels(x="training step", y="angle from the first axis (degrees)")
    panel.heading("head and prompt")


def lengths(panel, lab):
    """Norm of the prompt against steps under both kinds of descent."""
    normalised = clouds()
    plain = replace(normalised, descent="plain", learning_rate=1.0)
    for name, runs in zip(("normalised descent", "plain descent"), lab.simulate(prompts, normalised, plain), strict=True):
        steps = runs["steps"][0][1:]
        figures.band(panel, steps, np.linalg.norm(runs["p"][0, :, 1:], axis=-1), name)
    figures.prediction(panel, steps, 0.1 * steps, "0.1 a step")
    panel.scale(x="log", y="log")
    panel.labels(x="training step", y="norm of the prompt $\\|p\\|$")
    panel.heading("norms")


def degrees(vectors):
    """Angle of vectors of the plane from the first axis."""
    return np.degrees(np.arctan2(vectors[..., 1], vectors[..., 0]))
