"""Claims on regularisation paths and on rates: angle, norm, loss gap, finite part, reduced flow (statements 3 and
10)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, follows, frozen, replicas, settles
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.conditions import at_most, not_yet, one_of, outside, too_few
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tarzanagh2023_att_svm.paper import DESK, SHORT, angles, paper, selection, slopes_of_decades, solved
from attnlab.simulators.max_margin_attention import training as simulator
from attnlab.simulators.max_margin_attention.regularisation_path import PathSetting, regularisation_path
from attnlab.theory.max_margin_attention import dynamics
from attnlab.theory.max_margin_attention import frobenius as svm

RADII = (2.0, 5.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 1_100.0)
PATHS = Scales(*(PathSetting(radii=RADII, n_replicas=n) for n in (16, 48, 100)))
FLOW = replace(DESK, n_inputs=3, n_tokens=4, dim=5, learning_rate=0.025, n_steps=16_000, n_records=30, n_replicas=24)
FLOWS = Scales(
    replace(FLOW, n_steps=4_000, n_replicas=16), FLOW, replace(FLOW, learning_rate=0.01, n_steps=40_000, n_replicas=100)
)
PAIR = replace(
    DESK,
    n_inputs=1,
    n_tokens=2,
    dim=4,
    loss="linear",
    descent="plain",
    rescale_steps=True,
    init="zero",
    learning_rate=0.01,
    n_steps=20_000,
    n_records=40,
    n_replicas=16,
)
PATH_STD, GAP_STD, PART_STD, RATE_STD, LOG_STD = {"W": 0.003, "K and Q": 0.005}, 3e-5, 0.01, 0.15, 0.06
"""Spreads over replicas of a desk run at seed 1: angles of the paths at R = 1100, slope of the gap, distance of the
finite part, slope of the angle, slope of the norm."""
PLAIN = replace(
    DESK, n_inputs=3, n_tokens=4, dim=5, descent="plain", learning_rate=5.0, n_steps=60_000, n_records=60, n_replicas=64
)


def paths(setting, lab: Lab):
    """The two paths and the certified solutions on the best-scoring tokens: ``[(runs, Frobenius, nuclear)]``, W
    first."""
    found = []
    for runs in lab.simulate(regularisation_path, replace(setting, factored=False), replace(setting, factored=True)):
        cases = list(zip(runs["keys"], runs["queries"], runs["scores"].argmax(-1), strict=True))
        possible = np.array([svm.feasible(*case) for case in cases])
        kept = {name: runs[name][possible] for name in runs}
        solutions = [
            [solved(norm, *case) for case, can in zip(cases, possible, strict=True) if can]
            for norm in ("frobenius", "nuclear")
        ]
        found.append((kept, *solutions))
    return found


def weights(solutions):
    """``(replica, dim, query_dim)``."""
    return np.array([each.weights for each in solutions])


def norms(solutions):
    """``(replica,)``."""
    return np.array([each.norm for each in solutions])


def finite_lengths(runs, solutions):
    """Length of the finite part on the support for each data set, loss -u, ``(replica,)``."""
    found = zip(runs["keys"], runs["queries"], runs["scores"], solutions, strict=True)
    return np.array(
        [
            np.linalg.norm(dynamics.finite_component(keys, queries, scores, scores.argmax(-1), solution, "linear"))
            for keys, queries, scores, solution in found
        ]
    )


def nearly_active(solutions, radius):
    """Largest relative change of a slope in R by a constraint that is nearly active: x exp(-x R / |W|) <= |W| / (e R),
    mean."""
    return Piece("nearly active constraints", float(np.mean(norms(solutions))) / (np.e * radius))


@paper.claim(
    "regularisation_path",
    source="regularisation-path theorem",
    statements=[3],
    parts=2,
    setting=PATHS,
    formula="W(R) / R -> W_opt / ||W_opt||_F, K(R) Q(R)^T / ||.||_F -> W*_opt / ||W*_opt||_F",
    assumptions=["loss -u, strictly decreasing", "the best-scoring tokens are feasible", "best of several starts"],
    judged="mean angle tends to 0 with the radius, within the mean length of the finite part over the radius",
)
def regularisation_path_direction(setting: PathSetting, lab: Lab) -> Verdict:
    """The best weights of large norm point to the SVM of the best-scoring tokens: Frobenius for W, nuclear for K and Q.

    Twins: each other. Null control: the direction at the smallest radius.
    """
    (single, f1, n1), (joint, f2, n2) = paths(setting, lab)
    if (
        few := too_few(np.ones(min(len(f1), len(f2)), bool), "have feasible best tokens", wants="replicas")
    ) is not None:
        return few
    parts = []
    for name, runs, own, other, lengths in (
        ("W", single, weights(f1), weights(n1), finite_lengths(single, f1)),
        ("K and Q", joint, weights(n2), weights(f2), finite_lengths(joint, f2)),
    ):
        radii, towards = runs["radii"][0], angles(runs, own)
        left = Piece("finite part over the radius", float(lengths.mean()) / radii[-1])
        parts.append(
            settles(
                radii,
                towards,
                0.0,
                within=budget(left, replicas(PATH_STD[name] * 1_100 / radii[-1], len(towards))),
                scale=1.0,
                twin=Twin.of("the other norm", curves=angles(runs, other)),
                null=frozen(towards),
            ).named(name)
        )
    return all_of(*parts)


@paper.claim(
    "loss_gap",
    source="derived from the regularisation path",
    statements=[10, 3],
    kind="extrapolation",
    parts=2,
    setting=PATHS,
    formula="-d log(L - L*) / dR -> 1 / ||W_opt||_F for W, 1 / ||W*_opt||_* for (K, Q)",
    assumptions=["loss -u", "slopes between neighbouring radii up to 1100"],
    judged="slope times norm tends to 1 with the radius; at R = 1000 the finite part shifts it by its square over 2 "
    "R^2, and "
    "nearly active constraints by ||W|| / (e R) at most",
)
def loss_gap(setting: PathSetting, lab: Lab) -> Verdict:
    """The loss gap of the best weights falls exponentially with their norm, at the inverse norm of the SVM solution.

    Twins: the norm of the other solution.
    """
    verdicts = []
    for (runs, frobenius, nuclear), name in zip(paths(setting, lab), ("W", "K and Q"), strict=True):
        if (few := too_few(np.ones(len(frobenius), bool), "have feasible best tokens", wants="replicas")) is not None:
            return few
        radii = runs["radii"][0]
        slopes = -np.diff(runs["log_gap"]) / np.diff(radii)
        own, other = (frobenius, nuclear)[:: 1 if name == "W" else -1]
        bend = Piece("finite part", float((finite_lengths(runs, frobenius) ** 2).mean()) / (2 * radii[-2] ** 2))
        curves = slopes * norms(own)[:, None]
        verdicts.append(
            settles(
                radii[1:],
                curves,
                1.0,
                within=budget(bend, nearly_active(own, radii[-2]), replicas(GAP_STD, len(curves))),
                twin=Twin.of("the other norm", predicted=norms(own) / norms(other)),
            ).named(name)
        )
    return all_of(*verdicts)


@paper.claim(
    "finite_part",
    source="derived: stationarity on the support",
    statements=[10],
    kind="extrapolation",
    setting=PATHS,
    undecided_at_smoke="at most 16 data sets meet the condition, too few for a median at this confidence",
    formula="W(R) - <W, W^> W^ -> W_perp, lambda ~ |l'(gamma_alpha)| (gamma_alpha - gamma_t) exp(-<A, W_perp>)",
    assumptions=[
        "path of W, loss -u",
        "the largest radius R",
        "data sets whose other constraints exceed their bound by 10 ||W_opt|| / R at least",
    ],
    judged="median relative Frobenius distance from the prediction within the finite part over the radius; by the "
    "condition, which "
    "only the solution enters, other tokens weigh exp(-10) as much",
)
def finite_part(setting: PathSetting, lab: Lab) -> Verdict:
    """What the best weights keep across the SVM's direction converges to the predicted finite matrix.

    Twin: all score gaps count alike. Null control: what is across at the smallest radius.
    """
    runs, solutions, _ = paths(setting, lab)[0]
    found: dict[str, list[float]] = {"right": [], "equal gaps": [], "start": [], "length": []}
    arrays = (runs[name] for name in ("keys", "queries", "scores", "W"))
    for keys, queries, scores, path, solution in zip(*arrays, solutions, strict=True):
        unit, best = solution.weights / solution.norm, scores.argmax(-1)
        support = solution.multipliers > 1e-9 * solution.multipliers.max()
        excess = np.tensordot(svm.margin_matrices(keys, queries, best), solution.weights, 2) - 1
        others = ~support & (np.arange(scores.shape[1]) != best[:, None])
        if excess[others].min(initial=np.inf) * setting.radii[-1] / solution.norm < 10:
            continue
        alike = -(np.arange(scores.shape[1]) != best[:, None]).astype(float)  # score 0 against -1
        for name, W, values in (
            ("right", path[-1], scores),
            ("equal gaps", path[-1], alike),
            ("start", path[0], scores),
        ):
            across = W - (W * unit).sum() * unit
            part = dynamics.finite_component(keys, queries, values, best, solution, "linear")
            found[name].append(np.linalg.norm(across - part) / np.linalg.norm(part))
        found["length"].append(
            float(np.linalg.norm(dynamics.finite_component(keys, queries, scores, best, solution, "linear")))
        )
    right, rival, start, lengths = map(np.array, found.values())
    if (few := too_few(np.ones(len(right), bool), "meet the condition", least=16, wants="replicas")) is not None:
        return few
    within = budget(
        Piece("finite part over the radius", float(np.median(lengths)) / setting.radii[-1]),
        Piece("inactive constraints", setting.n_inputs * (setting.n_tokens - 1) * float(np.exp(-10))),
        replicas(PART_STD, len(right), of="median over replicas"),
    )
    return agrees(
        right,
        0.0,
        within=within,
        of="median over replicas",
        scale=1.0,
        twin=Twin.of("equal score gaps", measured=rival),
        null=start,
    )


@paper.claim(
    "angle_rate",
    source="derived from W_k = R_k W_alpha + O(1)",
    statements=[10, 1],
    kind="extrapolation",
    undecided_at_smoke=SHORT,
    covers={"descent": one_of("normalised", why="plain descent gets only as far as log k"), "head": one_of("linear")},
    formula="1 - corr(W_k, W_alpha) ~ c / ||W_k||^2",
    assumptions=[
        "normalised gradient descent on W",
        "the last decade of steps",
        "replicas within 0.1 rad of the direction",
    ],
    judged="median over replicas of the log-log slope against the norm is -2 within 0.1; constraints that are nearly "
    "active are "
    "still moving the finite part: with x = excess R / ||W_alpha|| one of them changes its logit by log(1 + e^-x), so "
    "by "
    "at most 0.28 per factor e of R, against a finite part of about 10",
)
def angle_rate(setting: simulator.Setting, lab: Lab) -> Verdict:
    """One minus the correlation with the SVM falls like the inverse square of the norm.

    Twin: it falls like the inverse norm. Null control: it does not fall.
    """
    runs = lab.simulate(simulator.train, replace(setting, inner_dim=0))
    limit = selection(runs).frobenius
    near = svm.angle(runs["W"][:, -1], limit) < 0.1
    if (few := too_few(near, "are within 0.1 rad of their direction", least=16)) is not None:
        return few
    late = runs["steps"][0] >= runs["steps"][0][-1] / 10
    norm = np.log(np.linalg.norm(runs["W"][near][:, late], axis=(-2, -1)))
    gap = np.log(svm.misalignment(runs["W"][near][:, late], limit[near][:, None]))
    slopes = np.array([np.polyfit(x, y, 1)[0] for x, y in zip(norm, gap, strict=True)])
    return agrees(
        slopes,
        -2.0,
        within=budget(
            Piece("nearly active constraints", 2 * 0.28 / 10),
            replicas(RATE_STD, len(slopes), of="median over replicas"),
        ),
        of="median over replicas",
        twin=Twin.of("inverse norm", predicted=-1.0),
        null=np.zeros(len(slopes)),
    )


@paper.claim(
    "reduced_flow",
    source="derived: gradients stay in the span of the x_it z_i^T",
    statements=[10, 1],
    kind="extrapolation",
    covers={
        "descent": one_of("normalised", why="the flow is taken by arc length"),
        "learning_rate": at_most(1, "longer steps do not follow a flow"),
        "head": one_of("linear"),
        "inner_dim": one_of(0),
    },
    setting=FLOWS,
    formula="du/ds = -c / sqrt(c^T k c), c_it = l'(u_i) s_it (gamma_it - mean), W = W_0 + sum u_it x_it z_i^T",
    assumptions=[
        "normalised gradient descent on W from uniform starts",
        "n = 3, T = 4, d = 5",
        "steps of 0.025, a quarter of the paper's",
    ],
    judged="ratio of 1 - corr to that of the flow, largest distance from 1 over the trajectory, median over replicas: "
    "below two steps "
    "over the least length that the flow has across, as descent lags behind by at most one step and squares double it",
)
def reduced_flow(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Trained attention follows the reduced flow of the logits, one number per token, from its start to its direction.

    Twin: the late law 1 - corr = |W_perp|^2 / (2 |W|^2), with the finite part of the support, at all times.
    """
    runs = lab.simulate(simulator.train, setting)
    measured, predicted, law, across = flows(setting, runs)
    if len(measured) < 2:
        return not_yet(f"{len(measured)} of {runs.n} replicas end at locally optimal tokens", n=len(measured))
    within = budget(Piece("one step of descent", 2 * setting.learning_rate / float(np.median(across.min(-1)))))
    law = np.maximum(law, np.finfo(float).tiny)
    return follows(
        measured / predicted,
        np.ones(predicted.shape[1]),
        within=within,
        of="median over replicas",
        twin=Twin.of("late law", trajectories=measured / law),
        null=measured[:, :1] / predicted,
    )


def flows(setting, runs):
    """One minus the correlation with the final SVM along training: measured, by the reduced flow, by the late law; and
    the length of the flow's weights across it.

    Each ``(replica, record)``, from the second record on, of the replicas whose final tokens are locally optimal.
    """
    chosen, steps = selection(runs), runs["steps"][0]
    lengths, measured, predicted, law, across = setting.learning_rate * steps, [], [], [], []
    for i in np.flatnonzero(chosen.locally):
        keys, queries, scores, W = (runs[name][i] for name in ("keys", "queries", "scores", "W"))
        tokens, solution = chosen.selected[i], solved("frobenius", keys, queries, chosen.selected[i])
        flow = dynamics.logit_flow(keys, queries, scores, lengths, start=W[0], loss=setting.loss)
        part = dynamics.finite_component(keys, queries, scores, tokens, solution, setting.loss)
        measured.append(svm.misalignment(W[1:], solution.weights))
        predicted.append(svm.misalignment(flow.weights[1:], solution.weights))
        law.append(dynamics.angle_law(part, np.linalg.norm(W[1:], axis=(-2, -1))))
        unit = solution.weights / solution.norm
        along = np.tensordot(flow.weights[1:], unit, 2)
        across.append(np.linalg.norm(flow.weights[1:] - along[:, None, None] * unit, axis=(-2, -1)))
    shape = len(measured), len(steps) - 1
    return tuple(np.array(curves).reshape(shape) for curves in (measured, predicted, law, across))


@paper.claim(
    "two_tokens",
    source="derived: closed form for T = 2",
    statements=[10],
    kind="extrapolation",
    covers={
        "n_inputs": one_of(1, why="the closed form is that of one input"),
        "n_tokens": one_of(2, why="the closed form is that of two tokens"),
        "loss": one_of("linear"),
        "descent": one_of("plain"),
        "rescale_steps": one_of(True),
        "init": one_of("zero"),
        "head": one_of("linear"),
        "inner_dim": one_of(0),
    },
    reads=("learning_rate",),
    setting=Scales(replace(PAIR, n_steps=5_000), PAIR, PAIR),
    formula="2 a + 2 sinh a = |Delta gamma| ||A||_F^2 t for the logit difference a",
    assumptions=["one input, two tokens, loss -u", "W(0) = 0", "steps of 0.01 in the rescaled time"],
    judged="largest distance over the trajectory in every replica below h / (8 e) + h^2 / 8: Euler steps of size h "
    "are off by "
    "(h / 2) a' log(a'(0) / a') to first order, a'(0) = 1/4, which is h / (8 e) at most",
)
def two_tokens(setting: simulator.Setting, lab: Lab) -> Verdict:
    """With two tokens the logit difference follows a closed form.

    Twin: the form without its linear term, 2 sinh a. Null control: the logits of the start.
    """
    if setting.learning_rate > 0.5:
        return outside(f"learning_rate={setting.learning_rate:g}: steps of more than 1/2 do not follow a flow")
    runs = lab.simulate(simulator.train, setting)
    time = setting.learning_rate * runs["steps"][0]
    gap = runs["keys"][:, 0, 0] - runs["keys"][:, 0, 1]
    a = np.einsum("rd,rkde,re->rk", gap, runs["W"], runs["queries"][:, 0])
    a = a * np.sign(runs["scores"][:, 0, 0] - runs["scores"][:, 0, 1])[:, None]
    return follows(
        a,
        dynamics.two_token_logit(time),
        within=budget(
            Piece("Euler steps", setting.learning_rate / (8 * np.e)),
            Piece("their second order", setting.learning_rate**2 / 8),
        ),
        of="every replica",
        times=time,
        twin=Twin.of("without the linear term", predicted=np.arcsinh(time / 2)),
        null=frozen(a),
    )


@paper.claim(
    "logarithmic_norm",
    source="derived from the exponential loss gap; companion paper, Figure on norms",
    statements=[10, 9],
    kind="extrapolation",
    covers={
        "descent": one_of("plain"),
        "head": one_of("linear"),
        "inner_dim": one_of(0),
        "learning_rate": at_most(50, "longer steps jump over the logits' own scale"),
    },
    setting=Scales(replace(PLAIN, n_steps=10_000, n_replicas=32), PLAIN, PLAIN),
    undecided_at_smoke="10 000 steps are early on a logarithmic scale",
    formula="d||W_k||_F / d log k -> ||W_alpha||_F",
    assumptions=["plain gradient descent on W", "slopes over the decade of steps before each"],
    judged="median of slope / ||W_alpha|| over the last decade is 1; R = ||W_alpha|| log k there, so that a nearly "
    "active constraint changes the slope by 1 / (e log k) at most, k at the start of the last decade",
)
def logarithmic_norm(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Under plain gradient descent the norm grows with the logarithm of time, by the norm of the SVM per factor e.

    Twin: by its nuclear norm, as K and Q would. Null control: the slope over the first decade.
    """
    runs = lab.simulate(simulator.train, setting)
    chosen = selection(runs, with_nuclear=True)
    size, rival = np.linalg.norm(chosen.frobenius, axis=(-2, -1)), np.linalg.norm(chosen.nuclear, "nuc", axis=(-2, -1))
    _, slopes = slopes_of_decades(runs["steps"][0], np.linalg.norm(runs["W"], axis=(-2, -1)))
    curves = slopes / size[:, None]
    early = np.log(max(setting.learning_rate, 1.0) * setting.n_steps / 10)
    return agrees(
        curves[:, -1],
        1.0,
        within=budget(
            Piece("nearly active constraints", 1 / (np.e * early)),
            replicas(LOG_STD, len(curves), of="median over replicas"),
        ),
        of="median over replicas",
        twin=Twin.of("nuclear norm", predicted=rival / size),
        null=curves[:, 0],
    )
