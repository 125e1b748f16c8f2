"""Claims on separate rank-one key and query: plateaus, their matrices, order, heads and drops (4)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, aligned, all_of, budget, euler_step, follows, replicas, share
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.conditions import at_most, one_of, that, too_few
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.linear_attention_icl.one_step import relative_distance
from attnlab.papers.linear_attention_icl.paper import (
    STAIRS,
    between_records,
    components,
    half_times,
    learnt,
    levels,
    paper,
    plateaus,
    stair_sizes,
)
from attnlab.simulators.linear_attention import training as simulator
from attnlab.theory.linear_attention import dynamics

MEDIAN = "median over replicas"
# Spreads at plateaus 1, 2, 3 (start 0.03, 16 replicas at another seed): losses, and relative distances of matrices.
LOSS_STD = (2.5e-5, 1.2e-4, 1e-7)
DISTANCE_STD = (0.02, 0.011, 1e-4)
SEPARATE = {
    "kind": one_of("separate"),
    "rank": one_of(1, why="heads of higher rank learn several eigenvectors at once: see rank_rule"),
    "normalised": one_of(True, why="without the factor 1 / N levels and times are others"),
    "n_sequences": one_of(0, why="levels and eigenvectors are those of the population"),
    "spectrum": that(lambda s: len(set(s)) == len(s) > 1, "different eigenvalues", "equal ones merge plateaus"),
    "init_scale": at_most(0.1, "plateaus are limits of small starts"),
    "learning_rate": at_most(0.5, "larger steps jump over plateaus"),
}


def waiting(setting, m):
    """What heads that still wait change at plateau m: loss, and relative distance of the matrix.

    The slowest record comes before the next head has grown; heads at most twice the start, each of the three weights, lower the
    loss by ``2 lam_{m+1}^2 (2 w_0)^3``. A matrix that costs as much in the stiffness ``lam_m^2 lam_{m+1}`` between the two
    eigenvectors is off by its root.
    """
    lam = np.sort(setting.spectrum)[::-1]
    loss = 2 * lam[m] ** 2 * (2 * setting.init_scale) ** 3
    size = np.linalg.norm(1 / lam[:m])
    return float(loss), float((loss / (lam[m - 1] ** 2 * lam[m])) ** 0.5 / size)


def resting(setting, runs):
    """Plateaus 1 to 3 that are not the last: ``(m, replicas that rest there and leave, their record)``."""
    at = plateaus(setting, runs)
    return [(m, at[:, m] >= 0, at[at[:, m] >= 0, m]) for m in range(1, min(4, at.shape[1]))]


@paper.claim(
    "plateau_losses",
    source="Zhang, Singh, Latham, Saxe, Section 4",
    statements=[4],
    parts=3,
    formula="L(M_m) = tr S - sum_{d <= m} lam_d / A_d, A_d = 1 + (1 + tr S / lam_d) / N",
    assumptions=["population loss", "small random start", "replicas that rest at plateau m and leave it"],
    judged="median of the loss at the slowest moment of plateaus 1, 2, 3; margin: what waiting heads take, the spread at another "
    "seed",
    reads=("spectrum", "n_context", "init_scale"),
    covers=SEPARATE,
)
def plateau_losses(setting: simulator.Setting, lab: Lab) -> Verdict:
    """From a small start the loss rests at the levels at which the m leading eigenvectors are learnt.

    Twin: the levels of N + 1 examples, as if the query counted.
    """
    runs = lab.simulate(simulator.train, setting)
    L, rival = (levels(setting.spectrum, n) for n in (setting.n_context, setting.n_context + 1))
    loss, verdicts = runs["population_loss"], []
    for m, there, at in resting(setting, runs):
        if (verdict := too_few(there, f"rest at plateau {m} and leave it", least=16)) is not None:
            return verdict
        pieces = Piece("waiting heads", waiting(setting, m)[0]), replicas(LOSS_STD[m - 1], len(at), of=MEDIAN)
        verdicts.append(
            agrees(
                loss[there, at],
                L[m],
                within=budget(*pieces),
                of=MEDIAN,
                twin=Twin.of("N + 1 examples", predicted=rival[m]),
                null=loss[there, 0],
            ).named(f"plateau {m}")
        )
    return all_of(*verdicts)


@paper.claim(
    "principal_components",
    source="Zhang, Singh, Latham, Saxe, Section 4",
    statements=[4],
    parts=3,
    formula="G = sum_{d <= m} e_d e_d^T / (lam_d A_d) at plateau m",
    assumptions=["population loss", "small random start", "replicas that rest at plateau m and leave it"],
    judged="median of the relative Frobenius distance at the slowest moment of plateaus 1, 2, 3; margin: a matrix that costs as "
    "much as waiting heads take, the spread at another seed",
    reads=("spectrum", "n_context", "init_scale"),
    covers=SEPARATE,
)
def principal_components(setting: simulator.Setting, lab: Lab) -> Verdict:
    """At plateau m the model is in-context regression on the m leading principal components, shrunk for the finite context.

    Twin: the same without the shrinkage (plain inverse eigenvalues).
    """
    runs, lam = lab.simulate(simulator.train, setting), np.array(setting.spectrum)
    verdicts = []
    for m, there, at in resting(setting, runs):
        if (verdict := too_few(there, f"rest at plateau {m} and leave it", least=16)) is not None:
            return verdict
        target = dynamics.plateau_matrix_exact(m, *stair_sizes(setting))
        matrix, plain = runs["matrix"][there, at], np.diag(np.where(np.diag(target) > 0, 1 / lam, 0.0))
        verdicts.append(
            agrees(
                relative_distance(matrix, target),
                0.0,
                within=budget(
                    Piece("waiting heads", waiting(setting, m)[1]), replicas(DISTANCE_STD[m - 1], len(at), of=MEDIAN)
                ),
                of=MEDIAN,
                scale=1.0,
                twin=Twin.of("no shrinkage", measured=relative_distance(matrix, plain)),
                null=relative_distance(runs["matrix"][there, 0], target),
            ).named(f"plateau {m}")
        )
    return all_of(*verdicts)


IN_ORDER = 0.8


@paper.claim(
    "order",
    source="Zhang, Singh, Latham, Saxe, Section 4",
    statements=[4],
    formula="t_1 < t_2 < ... for decreasing eigenvalues, t_d the time at which component d passes half of its last value",
    assumptions=[
        "small random start: amplitudes of order start^(1 - (lam_2 / lam_1)^2) compete",
        "replicas that learn all but one component",
    ],
    judged="share of replicas in this order at least 0.8, about what 64 can vouch for",
    reads=("spectrum", "n_context"),
    covers=SEPARATE,
)
def order(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Eigenvectors are learnt one after another, those of large eigenvalues first.

    Twin: components are learnt in the order of their size at the start.
    """
    runs = lab.simulate(simulator.train, setting)
    by_size = np.argsort(-np.array(setting.spectrum), kind="stable")
    found = components(setting, runs)[..., by_size]
    there = learnt(replace(setting, spectrum=tuple(np.array(setting.spectrum)[by_size])), found[:, -1])
    enough = there[:, :-1].all(-1)
    if (verdict := too_few(enough, "learn all but the last component", least=8)) is not None:
        return verdict
    times = np.where(there, half_times(runs["time"][0], np.moveaxis(found, 1, 2)), np.inf)[enough]
    start = np.argsort(-np.abs(found[enough, 0]), axis=1)

    def rising(each):
        return (each[:, 1:] >= each[:, :-1]).all(1)

    return share(
        rising(times),
        at_least=IN_ORDER,
        twin=Twin.of("in the order of the start", successes=rising(np.take_along_axis(times, start, 1))),
    )


def heads_of(setting, runs):
    """For every eigenvector the head that ends with the largest share in it, and that share of the whole: ``(replica, d)``.

    Heads have rank one; the part of head i in component d is ``v_i k_id q_id``.
    """
    k = runs["k_cosine"][:, -1, :, 0] * runs["k_norm"][:, -1]
    part = np.abs(runs["v"][:, -1, :, None]) * k**2
    return part.argmax(1), part.max(1) / part.sum(1)


ALONE = 0.99  # a head that has this share of its component is off its size by a third of the rest


@paper.claim(
    "aligned_heads",
    source="Zhang, Singh, Latham, Saxe, Section 4",
    statements=[4],
    parts=4,
    formula="|v| = ||k|| = ||q|| = (lam_d A_d)^{-1/3}, k parallel to e_d",
    assumptions=[
        "rank-one heads",
        "eigenvectors learnt at the end, size and balance where one head has 99 % of the component",
    ],
    judged="share of replicas whose first eigenvector one head has learnt (nine tenths of it) above 1/2; |v| of every such head, "
    "within a third of the part of others and the start's unbalance; ||k|| / |v| of each; angle of k to e_1 below the size "
    "start^(1 - (lam_2 / lam_1)^2) of the second component when the first is of order one, 0.15 here",
    reads=("spectrum", "n_context", "init_scale", "n_heads"),
    covers=SEPARATE,
)
def aligned_heads(setting: simulator.Setting, lab: Lab) -> Verdict:
    """At each drop one head aligns with one eigenvector, and its value, key and query weights grow to one common size.

    Twins: one head at any start, however large; the size without the finite context; the balance v^2 = ||k||^2 + ||q||^2 of two
    layers; keys of the start.
    """
    runs = lab.simulate(simulator.train, setting)
    lam, N = stair_sizes(setting)
    limit = dynamics.final_weight_exact(lam, dynamics.finite_context_factors(lam, N))
    head, part = heads_of(setting, runs)
    done, first = learnt(setting, components(setting, runs)[:, -1]), int(np.argmax(lam))
    if (verdict := too_few(done[:, first], "have learnt the first eigenvector", least=16)) is not None:
        return verdict
    alone = done & (part > ALONE)
    if (verdict := too_few(alone.any(1), "have a head with 99 % of an eigenvector", least=8)) is not None:
        return verdict
    one_head = share(
        part[done[:, first], first] > 0.9, at_least=0.5, twin=Twin.of("always, at any start", at_least=1.0)
    )

    def of_heads(values):
        return np.take_along_axis(values, head, 1)[alone]

    v, k = np.abs(of_heads(runs["v"][:, -1])), of_heads(runs["k_norm"][:, -1, :, 0])
    predicted, plain = (np.broadcast_to(each, done.shape)[alone] for each in (limit, lam ** (-1 / 3)))
    # v^2 - ||k||^2 is conserved; three standard deviations of a head's weights at the start
    unbalanced = (3 * setting.init_scale) ** 2 / setting.n_heads / (2 * float(limit.min()) ** 2)
    size = agrees(
        v / plain,
        predicted / plain,
        within=budget(Piece("part of other heads", (1 - ALONE) / 3), Piece("unbalanced start", unbalanced)),
        of="every drop",
        unit="drop",
        twin=Twin.of("infinite context", predicted=np.ones(len(v))),
        null=np.abs(of_heads(runs["v"][:, 0])) / plain,
    )
    balance = agrees(
        k / v,
        1.0,
        within=budget(Piece("unbalanced start", 2 * unbalanced)),
        of="every drop",
        unit="drop",
        twin=Twin.of("balance of two layers", predicted=0.5**0.5),
        null=of_heads(runs["k_norm"][:, 0, :, 0]) / np.abs(of_heads(runs["v"][:, 0])),
    )

    def key(record):
        return runs["k_cosine"][np.arange(runs.n), record, head[:, first], 0][done[:, first]]

    second, largest = np.sort(lam)[-2:]
    angle = (setting.init_scale / setting.n_heads**0.5) ** (1 - (second / largest) ** 2)
    direction = aligned(
        key(-1),
        np.eye(len(lam))[first],
        within_angle=min(float(angle), 0.5),
        signed=False,
        of=MEDIAN,
        twin=Twin.of("keys of the start", vectors=key(0)),
        null=key(0),
    )
    return all_of(
        one_head.named("one head"), size.named("size"), balance.named("balance"), direction.named("direction")
    )


DROPS = replace(
    STAIRS, spectrum=(0.4, 0.3), n_heads=3, init_scale=0.015, learning_rate=0.1, n_steps=40_000, n_records=5_000
)
DROP_SCALES = Scales(
    smoke=replace(DROPS, n_replicas=32),
    desk=replace(DROPS, n_replicas=64),
    paper=replace(DROPS, init_scale=0.005, n_steps=120_000, n_records=15_000, n_replicas=64),
)
CLOCK = np.linspace(-6, 2, 33)  # lam^2 v_inf (t - t_half)
DROP_STD = 0.004  # spread of the largest distance over replicas, at another seed


def drops(setting, runs):
    """Weights of the head that learns each eigenvector around its own drop, over their last value: ``(replica, clock, d)``.

    Time is counted from the moment of half weight, in units of ``1 / (lam^2 v)`` with the last weight v. NaN where another head
    has more than a twentieth of the eigenvector, or the drop is not over.
    """
    lam = np.array(setting.spectrum)
    head, part = heads_of(setting, runs)
    time, done = runs["time"][0], learnt(setting, components(setting, runs)[:, -1])
    curves = np.full((len(head), CLOCK.size, lam.size), np.nan)
    for d in range(lam.size):
        weight = np.abs(runs["v"][np.arange(len(head)), :, head[:, d]])
        half, unit = half_times(time, weight), 1 / (lam[d] ** 2 * weight[:, -1])
        late, early = half + CLOCK[-1] * unit, half + CLOCK[0] * unit
        for r in np.flatnonzero(done[:, d] & (part[:, d] > 0.95) & (late < time[-1]) & (early > 0)):
            curves[r, :, d] = np.interp(half[r] + CLOCK * unit[r], time, weight[r] / weight[r, -1])
    return curves


def predicted_drop():
    """The reduced equation's weights over their limits on CLOCK, the same for every eigenvector in these units."""
    return dynamics.drop_weight_exact(CLOCK, np.full(CLOCK.size, 0.5), 1.0, 1.0)


@paper.claim(
    "drop_shape",
    source="Zhang, Singh, Latham, Saxe, Section 4",
    statements=[4],
    setting=DROP_SCALES,
    formula="dv/dt = lam^2 v^2 - lam^3 A v^5 in the time since v = v_inf / 2",
    assumptions=["small random start", "drops that one head makes (95 % of the component)", "small steps"],
    judged="median over replicas of the largest distance, all drops together, in units of the last weight, within steps, "
    "records, a third of the part of other heads and the spread at another seed",
    reads=("spectrum", "learning_rate"),
    covers=SEPARATE,
)
def drop_shape(setting: simulator.Setting, lab: Lab) -> Verdict:
    """During a drop the weight of the head follows one scalar equation, the same for all eigenvectors in their own units.

    Twin: a logistic curve with the same speed at half, the drop of a two-layer network.
    """
    runs = lab.simulate(simulator.train, setting)
    curves = drops(setting, runs)
    there = np.isfinite(curves).all((1, 2))
    if (verdict := too_few(there, "make each drop with one head", least=16)) is not None:
        return verdict
    predicted = predicted_drop()
    slope = 0.5**2 - 0.5**5  # of u at u = 1/2, in units of CLOCK
    logistic = 1 / (1 + np.exp(-4 * slope * CLOCK))
    lam, n = np.array(setting.spectrum), len(setting.spectrum)
    rate = float(max(lam**2 * dynamics.final_weight_exact(lam, dynamics.finite_context_factors(*stair_sizes(setting)))))
    return follows(
        curves[there],
        np.repeat(predicted[:, None], n, axis=1),
        within=budget(
            euler_step(2 * setting.learning_rate, 3 * rate),
            between_records(setting, 3 * rate),
            Piece("part of other heads", 0.05 / 3),
            replicas(DROP_STD, int(there.sum()), of=MEDIAN),
        ),
        times=CLOCK,
        of=MEDIAN,
        twin=Twin.of("logistic drop", predicted=np.repeat(logistic[:, None], n, axis=1)),
        null=np.repeat(curves[there][:, :1], CLOCK.size, axis=1),
    )
