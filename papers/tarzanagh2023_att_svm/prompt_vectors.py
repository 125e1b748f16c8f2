"""Claims on a trained prompt vector, alone and with the head (statement 9)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, aligned, all_of, budget, replicas, rounding
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.conditions import DECLARED, at_most, one_of, that, too_few
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tarzanagh2023_att_svm.directions import ADDED_STD
from attnlab.papers.tarzanagh2023_att_svm.paper import (
    DESK,
    SHORT,
    last_half,
    paper,
    selection,
    started,
    still_moving,
    too_short,
)
from attnlab.simulators.max_margin_attention import training as simulator
from attnlab.simulators.max_margin_attention.prompt_vectors import JointSetting, PromptSetting, joint, prompts
from attnlab.theory.max_margin_attention import frobenius as svm
from attnlab.theory.max_margin_attention.prompt_vectors import joint_prompt_direction, two_input_offset

RANDOM = replace(DESK, query="prompt", n_inputs=4, n_tokens=6, dim=10, n_steps=10_000, n_replicas=64)
HIGH = tuple(map(float, range(1, 11)))
PAIRS = PromptSetting(
    keys=(((0.0, 0.0), (1.0, 1.0)), ((0.0, 0.0), (1.0, -1.0))),
    scores=tuple(((0.0, C), (0.0, 1.0)) for C in HIGH),
    starts=((0.0, 0.0),) * len(HIGH),
    n_steps=4_000,
)
LOSSES = ("linear", "logistic", "exponential")
RELAXED = JointSetting(prompt_rates=(0.05, 0.1, 0.2), n_steps=8_000)
THIRD_TIGHT = (0.5, 1.0)


def two_scores(scores):
    """Whether the better tokens of the two inputs score C > 0 and 1 against zero, as the finite part is written for."""
    cases = np.array(scores, dtype=float)
    return cases.shape[1:] == (2, 2) and bool(
        np.all(cases[:, :, 0] == 0) and np.all(cases[:, 1, 1] == 1) and np.all(cases[:, 0, 1] > 0)
    )


def third_declared(tokens):
    """Whether the first two inputs are the paper's and the third has a token against the origin."""
    return len(tokens) == 3 and tokens[:2] == RELAXED.tokens[:2] and tokens[2][0] == (0.0, 0.0)


@paper.claim(
    "prompt_direction",
    source="companion paper, local convergence",
    statements=[9],
    undecided_at_smoke=SHORT,
    setting=Scales(
        replace(RANDOM, n_steps=2_000, n_replicas=16), RANDOM, replace(RANDOM, n_steps=50_000, n_replicas=100)
    ),
    formula="p_k / ||p_k|| -> p_alpha / ||p_alpha||, p_alpha = argmin ||p|| s.t. (k_{i alpha_i} - k_it)^T p >= 1",
    assumptions=["random problems, n = 4, T = 6, d = 10", "alpha: the tokens of largest final weight"],
    covers={
        "descent": one_of("normalised"),
        "head": one_of("linear"),
        "query": one_of("prompt"),
        "learning_rate": at_most(1, "longer steps jump over the logits' own scale"),
    },
    judged="what the last half of the steps adds: median angle to p_alpha within what constraints that are nearly "
    "active can still turn",
)
def prompt_direction(setting: simulator.Setting, lab: Lab) -> Verdict:
    """A trained prompt vector diverges in the direction of the SVM of its tokens.

    Twin: the sum of the active constraints with equal multipliers. Null control: the prompt at its start.
    """
    runs = lab.simulate(simulator.train, setting)
    chosen = selection(runs)
    rival = []
    for keys, queries, tokens, W in zip(runs["keys"], runs["queries"], chosen.selected, chosen.frobenius, strict=True):
        A = svm.margin_matrices(keys, queries, tokens)
        rival.append(A[svm.active_tokens(keys, queries, tokens, W)].sum(0))
    if (few := too_few(last_half(runs).any((-2, -1)), "still move", least=runs.n)) is not None:
        return few
    within = budget(
        still_moving(setting, setting.learning_rate * setting.n_steps),
        replicas(ADDED_STD, runs.n, of="median over replicas"),
    )
    return aligned(
        last_half(runs),
        chosen.frobenius,
        within_angle=float(within),
        of="median over replicas",
        twin=Twin.of("equal multipliers", direction=np.array(rival)),
        null=started(runs),
    )


@paper.claim(
    "two_losses",
    source="companion paper, two-input figure; limit derived",
    statements=[9, 10],
    parts=4,
    setting=Scales(PAIRS, PAIRS, PAIRS),
    formula="p / ||p|| -> (1, 0), p_2 -> log(C |l'(C)| / |l'(1)|) / 2",
    assumptions=[
        "inputs {(0,0), (1,1)} of score C and {(0,0), (1,-1)} of score 1",
        "C = 1 to 10",
        "p_0 = 0",
        "paths of length 200 at least",
    ],
    covers={
        "keys": DECLARED,
        "descent": one_of("normalised"),
        "scores": that(two_scores, "0 and C, 0 and 1 for the two inputs, C > 0"),
    },
    judged="every C: direction within twice the largest |p_2| over the length of the path; p_2 to one rounding a "
    "step, of "
    "numbers as large as the path",
)
def two_losses(setting: PromptSetting, lab: Lab) -> Verdict:
    """The direction is the same for all losses; the finite part moves towards the high score for -u and away from it
    otherwise.

    Twins: the finite part of another loss; the direction of the high-scoring token. Null control: the start, p = 0.
    """
    length = setting.n_steps * setting.learning_rate
    if (short := too_short(length, 200)) is not None:
        return short
    found = lab.simulate(prompts, *(replace(setting, loss=loss) for loss in LOSSES))
    C = np.array(setting.scores)[:, 0, 1]
    ends = np.concatenate([runs["p"][0, :, -1] for runs in found])
    largest = max(float(np.abs(two_input_offset(C, loss)).max()) for loss in LOSSES)
    verdicts = [
        aligned(
            ends,
            np.array([1.0, 0.0]),
            within_angle=float(budget(Piece("finite part over the path", 2 * largest / length))),
            of="every start",
            unit="start",
            twin=Twin.of("high score", direction=np.array([1.0, 1.0])),
        ).named("direction")
    ]
    for loss, rival, runs in zip(LOSSES, LOSSES[1:] + LOSSES[:1], found, strict=True):
        verdicts.append(
            agrees(
                runs["p"][0, :, -1, 1],
                two_input_offset(C, loss),
                within=budget(rounding(setting.n_steps, length)),
                of="every start",
                unit="start",
                scale=1.0,
                twin=Twin.of(f"{rival} loss", predicted=two_input_offset(C, rival)),
                null=runs["p"][0, :, 0, 1],
            ).named(loss)
        )
    return all_of(*verdicts)


def head_svm(setting):
    """Unit max-margin head on the labelled better tokens (the second ones), their margins, and the key gaps."""
    tokens, labels = np.array(setting.tokens), np.array(setting.labels)
    head, _, _ = svm.least_distance(labels[:, None] * tokens[:, 1], np.ones(len(labels)))
    head = head / np.linalg.norm(head)
    return head, labels * (tokens[:, 1] @ head), tokens[:, 1] - tokens[:, 0]


@paper.claim(
    "joint_training",
    source="companion paper, joint optimisation; limit derived",
    statements=[9],
    parts=3,
    setting=Scales(RELAXED, RELAXED, RELAXED),
    formula="v -> max-margin head; p / ||p|| -> argmax_{|p| = 1} min_i (m_i + r g_i^T p), r = lim ||p|| / ||v||",
    assumptions=[
        "inputs (1,1), (1,-1), and (0.5,1.5) or (0.5,1) against (0,0)",
        "normalised descent on both, r = 1/2, 1, 2",
        "paths of p of length 200 at least",
    ],
    covers={
        "tokens": that(third_declared, "inputs (1, 1), (1, -1) and a third one against (0, 0)"),
        "labels": DECLARED,
    },
    judged="every ratio: angles below 4 over the length of the shortest path: the start has length 1, the turn "
    "towards the limit "
    "takes a quarter of a circle, and the finite part is of order one",
)
def joint_training(setting: JointSetting, lab: Lab) -> Verdict:
    """Trained together, the head turns to its max-margin direction and the prompt to an SVM relaxed on non-support
    inputs.

    How much it is relaxed depends on the ratio of the two growth rates: not at all beyond r = 1 for the third token
    (0.5, 1.5), whose constraint is felt at r = 2; inputs that all support the head give the plain SVM at every r.
    Twins: the fully relaxed SVM at every ratio; the direction of the prompt for the head.
    """
    if (short := too_short(setting.n_steps * min(setting.prompt_rates), 200)) is not None:
        return short
    within = budget(Piece("start, turn and finite part", 4 / (setting.n_steps * min(setting.prompt_rates))))
    tight = replace(setting, tokens=(*setting.tokens[:2], ((0.0, 0.0), THIRD_TIGHT)))
    loose_runs, tight_runs = lab.simulate(joint, setting, tight)
    ratios = np.array(setting.prompt_rates) / setting.head_rate
    verdicts = []
    for name, each, runs in (("relaxed", setting, loose_runs), ("tight", tight, tight_runs)):
        head, margins, gaps = head_svm(each)
        right = np.array([joint_prompt_direction(margins, gaps, ratio)[0] for ratio in ratios])
        plain = svm.least_distance(gaps, np.ones(len(gaps)))[0]
        relaxed = svm.least_distance(gaps[:2], np.ones(2))[0]
        parts = [("p", name, right, Twin.of("relaxed SVM", direction=relaxed))]
        if name == "relaxed":
            parts.append(("v", "head", head, Twin.of("direction of the prompt", direction=plain)))
        for which, label, direction, rival in parts:
            verdicts.append(
                aligned(
                    runs[which][0, :, -1],
                    direction,
                    within_angle=float(within),
                    of="every ratio",
                    unit="ratio",
                    twin=rival,
                    null=runs[which][0, :, 0],
                ).named(label)
            )
    return all_of(*verdicts)
