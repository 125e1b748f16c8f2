"""Claims on directions of trained weights: two machines, local optimality, over-parametrisation (statements 1, 2, 4, 6)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Outcome, Twin, Verdict, agrees, all_of, bounded, exhaustive, ordered, settles, share, trend
from attnlab.papers.lab.conditions import not_yet, too_few
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tarzanagh2023_att_svm.paper import (
    DESK,
    RESIDUAL,
    SHORT,
    angles,
    factored,
    paper,
    selection,
    solved,
    third_of_angle,
    too_short,
)
from attnlab.simulators.max_margin_attention import training as simulator
from attnlab.simulators.max_margin_attention.prompt_vectors import PromptSetting, prompts
from attnlab.theory.max_margin_attention import frobenius as svm
from attnlab.theory.max_margin_attention import nuclear

DIMS = {"smoke": (2, 6, 20), "desk": (2, 4, 6, 8, 10, 15, 20, 30), "paper": (2, 4, 6, 8, 10, 15, 20, 30)}
WIDE = Scales(
    smoke=replace(DESK, n_steps=1_000, n_records=4, n_replicas=32),
    desk=replace(DESK, n_steps=1_500, n_records=4, n_replicas=48),
    paper=replace(DESK, n_steps=4_000, n_records=4, n_replicas=512),
)
LOW = Scales(
    replace(DESK, dim=6, n_steps=2_000, n_replicas=16),
    replace(DESK, dim=6, n_steps=5_000),
    replace(DESK, dim=6, n_steps=50_000, n_replicas=100),
)
MARGIN = "a third of the mean angle between the two solutions on the same tokens"


def last_decade(steps):
    """The records of the last tenth of the logarithmic range that training covers."""
    return steps >= steps[-1] / 10


@paper.claim(
    "frobenius_direction",
    source="Theorems on W, Figure 1",
    statements=[1],
    parts=2,
    undecided_at_smoke=SHORT,
    formula="W_k / ||W_k||_F -> W_alpha / ||W_alpha||_F, ||W_k||_F ~ eta k",
    assumptions=["normalised gradient descent on W", "alpha: the tokens of largest final weight"],
    judged=f"mean angle to W_alpha tends to 0 within {MARGIN}; norm over the length of the path, eta k, tends to 1 "
    "within 0.1",
)
def frobenius_direction(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Trained attention weights diverge, in the direction of the Frobenius-norm machine of the tokens they select.

    Twins: the nuclear-norm machine of the same tokens; a norm that stops growing, as under back-propagation.
    """
    runs = lab.simulate(simulator.train, replace(setting, inner_dim=0))
    steps, chosen = runs["steps"][0], selection(runs, with_nuclear=True)
    direction = settles(
        steps,
        angles(runs, chosen.frobenius),
        0.0,
        within=third_of_angle(chosen.frobenius, chosen.nuclear),
        twin=Twin.of("nuclear norm", curves=angles(runs, chosen.nuclear)),
    )
    norm = np.linalg.norm(runs["W"][:, 1:], axis=(-2, -1))
    travelled = setting.learning_rate * steps[1:]
    growth = settles(steps[1:], norm / travelled, 1.0, within=0.1, twin=Twin.of("the norm stalls", predicted=0.0))
    return all_of(direction.named("direction"), growth.named("norm"))


@paper.claim(
    "nuclear_direction",
    source="Theorems on (K, Q), Figure 1",
    statements=[2],
    parts=2,
    undecided_at_smoke=SHORT,
    formula="K Q^T / ||K Q^T||_F -> W*_alpha / ||W*_alpha||_F",
    assumptions=["normalised gradient descent on K and on Q", "width d", "alpha: the tokens of largest final weight"],
    judged=f"mean angle to W*_alpha tends to 0 within {MARGIN}; the stable rank (||.||_* / ||.||_F)^2 is smaller "
    "than that of trained W",
)
def nuclear_direction(setting: simulator.Setting, lab: Lab) -> Verdict:
    """The product of trained key and query matrices points to the nuclear-norm machine of its tokens, and has lower rank than W.

    Twins: the Frobenius-norm machine of the same tokens; the reversed order of ranks.
    """
    joint, single = lab.simulate(simulator.train, factored(setting), replace(setting, inner_dim=0))
    steps, chosen = joint["steps"][0], selection(joint, with_nuclear=True)
    direction = settles(
        steps,
        angles(joint, chosen.nuclear),
        0.0,
        within=third_of_angle(chosen.nuclear, chosen.frobenius),
        twin=Twin.of("Frobenius norm", curves=angles(joint, chosen.frobenius)),
    )
    low, high = (nuclear.stable_rank(runs["W"][:, -1]) for runs in (joint, single))
    lower = ordered(low, high, paired=False, twin=Twin.of("reversed", smaller=high, larger=low))
    return all_of(direction.named("direction"), lower.named("rank"))


@paper.claim(
    "slow_directions",
    source="derived from the dual certificate",
    statements=[2, 10],
    undecided_at_smoke="the last decade of 2 000 steps is early, and 16 replicas are too few for a median",
    formula="u^T K Q^T v / ||K Q^T||_F ~ ||K Q^T||_F^(sigma - 1), sigma the largest singular value below 1 of sum "
    "lambda A",
    assumptions=[
        "normalised gradient descent on K and on Q",
        "u, v: the singular vectors of sigma",
        "sigma > 1/2",
        "the last decade of 5 000 steps or more",
    ],
    judged="median over replicas of the difference of log-log slopes within 0.1; the slopes themselves have a range of "
    "1/2",
)
def slow_directions(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Key and query matrices lose what the nuclear-norm machine leaves out as a slow power of the norm, read off its certificate.

    Along the singular vectors of the dual matrix K and Q grow like exp(sigma tau), against exp(tau) within the machine. So the
    nearer sigma to one, the slower the angle decays. Twin: what is left out stays for ever, slope 0.
    """
    if setting.n_steps < 5_000:
        return not_yet(f"n_steps={setting.n_steps} is below 5 000")
    runs = lab.simulate(simulator.train, factored(setting))
    late = last_decade(runs["steps"][0])
    measured, predicted = [], []
    for keys, queries, tokens, W in zip(
        runs["keys"], runs["queries"], runs["log_attention"].argmax(-1), runs["W"][:, late], strict=True
    ):
        left, values, right = np.linalg.svd(
            nuclear.dual_matrix(keys, queries, tokens, solved("nuclear", keys, queries, tokens))
        )
        below = int(np.flatnonzero(values < 1 - 1e-4)[0])  # the first that the machine leaves out
        if values[below] > 0.5:
            norm = np.linalg.norm(W, axis=(-2, -1))
            part = np.abs(np.einsum("kde,d,e->k", W, left[:, below], right[below])) / norm
            measured.append(np.polyfit(np.log(norm), np.log(part), 1)[0])
            predicted.append(values[below] - 1)
    return agrees(
        np.array(measured),
        np.array(predicted),
        within=0.1,
        of="median over replicas",
        twin=Twin.of("a lasting bias", predicted=np.zeros(len(predicted))),
    )


@paper.claim(
    "certificates",
    source="equations (Att-SVM) and (Att-SVM*)",
    statements=[1, 2],
    parts=2,
    formula="W_alpha = sum lambda A, lambda >= 0, lambda (<A, W> - 1) = 0; ||W*||_* = sum lambda, ||sum lambda A||_op "
    "<= 1",
    assumptions=["one-token selections of trained attention"],
    judged=f"largest relative violation of optimality at most {RESIDUAL:g} in every replica: far below any angle "
    "judged here",
)
def certificates(setting: simulator.Setting, lab: Lab) -> Verdict:
    """The solutions that training is compared with satisfy their optimality conditions.

    Twins: the multipliers of each norm's program taken as a certificate of the other's.
    """
    runs = lab.simulate(simulator.train, replace(setting, inner_dim=0))
    chosen = selection(runs, with_nuclear=True)
    crossed, swapped = [], []
    for keys, queries, tokens in zip(runs["keys"], runs["queries"], chosen.selected, strict=True):
        one, other = (solved(norm, keys, queries, tokens) for norm in ("frobenius", "nuclear"))
        A = svm.margin_matrices(keys, queries, tokens)
        rows = A[one.multipliers + 1 > 0].reshape(-1, A[0, 0].size)
        used = np.linalg.norm(rows, axis=1) > 0
        crossed.append(
            svm.kkt_residual(rows[used], np.ones(used.sum()), one.weights.ravel(), other.multipliers.ravel()[used])
        )
        spread = np.linalg.norm(np.tensordot(one.multipliers, A, 2), 2)
        swapped.append(1 - one.multipliers.sum() / spread / other.norm)
    frobenius = bounded(
        chosen.residual,
        RESIDUAL,
        of="every replica",
        twin=Twin.of("multipliers of the nuclear norm", measured=np.array(crossed)),
    )
    gap = bounded(
        chosen.gap,
        RESIDUAL,
        of="every replica",
        twin=Twin.of("multipliers of the Frobenius norm", measured=np.array(swapped)),
    )
    return all_of(frobenius.named("Frobenius"), gap.named("nuclear"))


@paper.claim(
    "local_optimality",
    source="definition of local optimality, discussion of local convergence",
    statements=[4],
    setting=LOW,
    formula="gamma_{i alpha_i} > gamma_{it} for all t with <A_it, W_alpha> = 1",
    undecided_at_smoke="16 replicas that all pass show a share of 0.7, and not all have converged",
    assumptions=[
        "d = 6, where many runs miss the best tokens",
        "alpha: the tokens of largest final weight",
        "replicas within 0.1 rad of the direction of W_alpha: those that are on their way may still change tokens",
    ],
    judged="share of replicas with locally optimal tokens is at least 0.75",
)
def local_optimality(setting: simulator.Setting, lab: Lab) -> Verdict:
    """What trained attention selects is locally optimal: no neighbouring token scores higher.

    Twin: it is globally optimal, every input's best-scoring token.
    """
    runs = lab.simulate(simulator.train, replace(setting, inner_dim=0))
    chosen = selection(runs)
    there = angles(runs, chosen.frobenius)[:, -1] < 0.1
    if (few := too_few(there, "are within 0.1 rad of their direction")) is not None:
        return few
    return share(
        chosen.locally[there], at_least=0.75, twin=Twin.of("globally optimal", successes=chosen.globally[there])
    )


@paper.claim(
    "local_direction",
    source="local convergence of gradient descent",
    statements=[4, 1],
    setting=LOW,
    undecided_at_smoke=SHORT,
    formula="W_k / ||W_k||_F -> W_alpha / ||W_alpha||_F with alpha != opt",
    assumptions=["replicas whose tokens are not all the best-scoring ones", "the best-scoring tokens are feasible"],
    judged="mean angle to W_alpha tends to 0 within a third of the mean angle between W_alpha and W_opt",
)
def local_direction(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Where training ends at tokens that don't score best, its direction is the machine of these tokens.

    Twin: the machine of the best-scoring tokens.
    """
    runs = lab.simulate(simulator.train, replace(setting, inner_dim=0))
    chosen = selection(runs)
    best = runs["scores"].argmax(-1)
    local = np.flatnonzero(
        [
            not same and svm.feasible(keys, queries, tokens)
            for same, keys, queries, tokens in zip(chosen.globally, runs["keys"], runs["queries"], best, strict=True)
        ]
    )
    if len(local) < 2:
        return Verdict(
            Outcome.UNDECIDED,
            "condition",
            n=len(local),
            reason=f"{len(local)} of {len(best)} replicas select other tokens than the best-scoring ones",
            wants="replicas",
        )
    rival = np.array([solved("frobenius", runs["keys"][i], runs["queries"][i], best[i]).weights for i in local])
    part = {"W": runs["W"][local]}
    right = chosen.frobenius[local]
    return settles(
        runs["steps"][0],
        angles(part, right),
        0.0,
        within=third_of_angle(right, rival),
        twin=Twin.of("globally optimal tokens", curves=angles(part, rival)),
    )


CONE = np.array([-0.5, -0.25, -0.1, 0.0, 0.05, 0.08, 0.12, 0.2, 0.4, 0.6])
"""Angles of the starts from the locally optimal direction, in radians."""


def cone(n_steps):
    """Starts of norm 200 around the locally optimal direction (1, 0) of the three-token example with scores 1, 0.9, 0."""
    starts = tuple((200 * float(np.cos(a)), 200 * float(np.sin(a))) for a in CONE)
    return PromptSetting(scores=(((1.0, 0.9, 0.0),),), starts=starts, n_steps=n_steps, n_records=20)


@paper.claim(
    "cone",
    source="local convergence theorem",
    statements=[4, 9],
    setting=Scales(cone(4_000), cone(10_000), cone(40_000)),
    formula="p_k / ||p_k|| -> p_alpha / ||p_alpha|| from a cone around p_alpha; here: from angles a with tan a < 1/10",
    assumptions=[
        "one input, tokens (-0.1, 1), (1, 0), (0, 0) with scores 1, 0.9, 0",
        "starts of norm 200, paths at least twice as long",
    ],
    judged="every start; the neighbour of p_alpha = (1, 0) is the third token as long as (1.1, -1) p > (1, 0) p; "
    "starts nearer than 0.02 to this boundary are left out, where at norm 200 the scores still count",
)
def cone_of_attraction(setting: PromptSetting, lab: Lab) -> Verdict:
    """Descent keeps a locally optimal token in a cone around its direction, and leaves it outside for the better token.

    Inside, the token that limits the margin scores lower than the selected one; outside, the better token is the nearest rival
    of the selected one. Twin: descent keeps whatever token leads at its start.
    """
    start = np.array(setting.starts)
    if (
        short := too_short(setting.n_steps * setting.learning_rate, 2 * np.linalg.norm(start, axis=1).max())
    ) is not None:
        return short
    runs = lab.simulate(prompts, setting)
    kept = runs["attention"][0, :, 0].argmax(-1) == 1
    lead = (start @ np.array(setting.keys[0]).T).argmax(-1) == 1
    inside = start[:, 1] < start[:, 0] / 10
    return exhaustive(
        range(len(start)),
        lambda i: bool(kept[i] == inside[i]),
        unit="start",
        of="every start",
        twin=Twin.of("the leading token is kept", check=lambda i: bool(kept[i] == lead[i])),
    )


@paper.claim(
    "overparametrisation",
    source="over-parametrisation figure",
    statements=[6],
    setting=WIDE,
    formula="P(selected tokens = best-scoring tokens) increases with d",
    assumptions=["n = 6, T = 8", "independent data sets at each d", "cross-attention"],
    judged="the slope of the share against log d exceeds 0; standard errors of shares of 48 replicas are 0.07, against "
    "a range of the order of 1 over a decade of d",
)
def overparametrisation(setting: simulator.Setting, lab: Lab) -> Verdict:
    """The share of runs that find the globally optimal tokens grows with the dimension.

    Twin: a larger dimension makes the problem harder, the share falls.
    """
    dims = DIMS[lab.scale]
    found = lab.simulate(simulator.train, *(replace(setting, dim=d) for d in dims))
    n = min(runs.n for runs in found)
    success = np.stack([selection(runs).globally[:n] for runs in found], axis=1).astype(float)
    return trend(np.log(dims), success, "rising", twin=Twin.of("falls", direction="falling"))
