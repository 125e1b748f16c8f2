"""Claims on a trained prompt vector, alone and with the head (statement 9)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, aligned, all_of, exhaustive, settles
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tarzanagh2023_att_svm.paper import DESK, SHORT, angles, paper, selection, too_short, unless_moving
from attnlab.simulators.max_margin_attention import training as simulator
from attnlab.simulators.max_margin_attention.prompt_vectors import JointSetting, PromptSetting, joint, prompts
from attnlab.theory.max_margin_attention import frobenius as svm
from attnlab.theory.max_margin_attention.prompt_vectors import joint_prompt_direction, two_input_offset

STARTS = Scales(PromptSetting(), PromptSetting(), PromptSetting())
RANDOM = replace(DESK, query="prompt", n_inputs=4, n_tokens=6, dim=10, n_steps=10_000, n_replicas=32)
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


def to_all(walk, end):
    """Angles of the points of a walk ``(record, dim)`` to one direction."""
    return svm.angle(np.where(walk.any(-1, keepdims=True), walk, -end)[:, None], end[None])  # the origin is far from it


def machine(keys, token):
    """Direction of the prompt that selects one token of a single input."""
    return svm.frobenius_svm(np.array(keys), np.ones((1, 1)), [token]).weights[:, 0]


@paper.claim(
    "prompt_starts",
    source="companion paper, single-input figure",
    statements=[9, 4],
    parts=3,
    setting=STARTS,
    formula="p_k / ||p_k|| -> p_alpha / ||p_alpha||; global (-0.0990, 0.9901), local (1, 0)",
    assumptions=["tokens (-0.1, 1), (1, 0), (0, 0)", "scores 1, 0.9, c with c = 0.9 or 0", "six starts (0, a)"],
    judged="every start: angle to the machine of its token below 0.05 after 1 000 steps of 0.1, which leave across "
    "what the start and the first steps had, of order 1 against 100",
)
def prompt_starts(setting: PromptSetting, lab: Lab) -> Verdict:
    """Every start ends at the global solution, unless a token that scores less is locally optimal and the start is on its side.

    With c = 0.9 the second token is not locally optimal; with c = 0 it is, and starts with a <= -1 select it. Twins: the other
    token's direction; the best token from every start.
    """
    low = replace(setting, scores=(((*setting.scores[0][0][:2], 0.0),),))
    high, local = (lab.simulate(prompts, each) for each in (setting, low))
    best, second = machine(setting.keys, 0), machine(setting.keys, 1)
    tokens = local["attention"][0, :, 0].argmax(-1)
    ends = np.array([(best, second)[token] for token in tokens])
    swapped = np.array([(second, best)[token] for token in tokens])
    first = aligned(
        high["p"][0, :, -1],
        best,
        within_angle=0.05,
        of="every start",
        unit="start",
        twin=Twin.of("second token", direction=second),
    )
    steps, ways = (
        high["steps"][0],
        [
            np.array([to_all(walk, end) for walk, end in zip(p, aims, strict=True)])
            for p, aims in ((high["p"][0], [best] * len(tokens)), (local["p"][0], ends))
        ],
    )
    own = aligned(
        local["p"][0, :, -1],
        ends,
        within_angle=0.05,
        of="every start",
        unit="start",
        twin=Twin.of("other token", direction=swapped),
    )
    below = np.array(setting.starts)[:, 1] <= -1
    which = exhaustive(
        range(len(tokens)),
        lambda i: bool((tokens[i] == 1) == below[i]),
        unit="start",
        twin=Twin.of("always the best token", check=lambda i: bool(tokens[i] == 0)),
    )
    first, own = (unless_moving(each, steps, way, 0.05) for each, way in zip((first, own), ways, strict=True))
    return all_of(first.named("c = 0.9"), own.named("c = 0"), which.named("selection"))


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
    judged="mean angle tends to 0 within a third of the mean angle to the rival",
)
def prompt_direction(setting: simulator.Setting, lab: Lab) -> Verdict:
    """A trained prompt vector diverges in the direction of the machine of its tokens.

    Twin: the sum of the active constraints with equal multipliers.
    """
    runs = lab.simulate(simulator.train, setting)
    chosen = selection(runs)
    rival = []
    for keys, queries, tokens, W in zip(runs["keys"], runs["queries"], chosen.selected, chosen.frobenius, strict=True):
        A = svm.margin_matrices(keys, queries, tokens)
        rival.append(A[svm.active_tokens(keys, queries, tokens, W)].sum(0))
    rival = np.array(rival)
    return settles(
        runs["steps"][0],
        angles(runs, chosen.frobenius),
        0.0,
        within=float(np.mean(svm.angle(chosen.frobenius, rival))) / 3,
        twin=Twin.of("equal multipliers", curves=angles(runs, rival)),
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
    judged="every C: direction within 0.05, p_2 within 0.01, the order of (step / margin)^2; twins differ by up to "
    "several units",
)
def two_losses(setting: PromptSetting, lab: Lab) -> Verdict:
    """The direction is the same for all losses; the finite part moves towards the high score for -u and away from it otherwise.

    Twins: the finite part of another loss; the direction of the high-scoring token.
    """
    if (short := too_short(setting.n_steps * setting.learning_rate, 200)) is not None:
        return short
    found = lab.simulate(prompts, *(replace(setting, loss=loss) for loss in LOSSES))
    C = np.array(setting.scores)[:, 0, 1]
    ends = np.concatenate([runs["p"][0, :, -1] for runs in found])
    verdicts = [
        aligned(
            ends,
            np.array([1.0, 0.0]),
            within_angle=0.05,
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
                within=0.01,
                of="every start",
                unit="start",
                twin=Twin.of(f"{rival} loss", predicted=two_input_offset(C, rival)),
            ).named(loss)
        )
    return all_of(*verdicts)


def head_machine(setting):
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
    judged="every ratio: angles below 0.03, a third of the smallest angle between two candidates (0.0987 between r = 1 "
    "and r = 2)",
)
def joint_training(setting: JointSetting, lab: Lab) -> Verdict:
    """Trained together, the head turns to its max-margin direction and the prompt to a machine relaxed on non-support inputs.

    How much it is relaxed depends on the ratio of the two growth rates: not at all beyond r = 1 for the third token
    (0.5, 1.5), whose constraint is felt at r = 2; inputs that all support the head give the plain machine at every r. Twins: the
    plain machine; the fully relaxed one; the head of the first two inputs read with equal labels.
    """
    if (short := too_short(setting.n_steps * min(setting.prompt_rates), 200)) is not None:
        return short
    tight = replace(setting, tokens=(*setting.tokens[:2], ((0.0, 0.0), THIRD_TIGHT)))
    loose_runs, tight_runs = lab.simulate(joint, setting, tight)
    ratios = np.array(setting.prompt_rates) / setting.head_rate
    verdicts = []
    for name, each, runs in (("relaxed", setting, loose_runs), ("tight", tight, tight_runs)):
        head, margins, gaps = head_machine(each)
        right = np.array([joint_prompt_direction(margins, gaps, ratio)[0] for ratio in ratios])
        plain = svm.least_distance(gaps, np.ones(len(gaps)))[0]
        relaxed = svm.least_distance(gaps[:2], np.ones(2))[0]
        rival = (
            Twin.of("plain machine", direction=plain)
            if name == "relaxed"
            else Twin.of("relaxed machine", direction=relaxed)
        )
        verdicts.append(
            aligned(runs["p"][0, :, -1], right, within_angle=0.03, of="every ratio", unit="ratio", twin=rival).named(
                name
            )
        )
        if name == "relaxed":
            verdicts.append(
                aligned(
                    runs["v"][0, :, -1],
                    head,
                    within_angle=0.03,
                    of="every ratio",
                    unit="ratio",
                    twin=Twin.of("direction of the prompt", direction=plain),
                ).named("head")
            )
    return all_of(*verdicts)
