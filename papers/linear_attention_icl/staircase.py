"""Claims on separate key and query: plateaus, order, drops, ranks above one, and softmax attention (4, 5, 10)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, aligned, all_of, bounded, follows, ordered, share
from attnlab.papers.lab.conditions import outside, too_few
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.linear_attention_icl.one_step import relative_distance
from attnlab.papers.linear_attention_icl.paper import (
    REST,
    STAIRS,
    components,
    crossing_times,
    dwell_times,
    levels,
    longest_rest,
    paper,
    plateaus,
    shifted,
    stair_sizes,
)
from attnlab.simulators.linear_attention import softmax
from attnlab.simulators.linear_attention import training as simulator
from attnlab.simulators.linear_attention.softmax import SoftmaxSetting
from attnlab.theory.linear_attention import dynamics


def without_finite_context(setting, n_learnt):
    """Loss and matrix of principal-component regression with plain inverse eigenvalues (A = 1), the rival at plateau m."""
    lam, _ = stair_sizes(setting)
    kept = np.argsort(-lam, kind="stable")[:n_learnt]
    return lam.sum() - lam[kept].sum(), np.diag(np.where(np.isin(np.arange(lam.size), kept), 1 / lam, 0.0))


@paper.claim(
    "plateau_losses",
    source="Zhang, Singh, Latham, Saxe, Section 4",
    statements=[4],
    parts=3,
    formula="L(M_m) = tr S - sum_{d <= m} lam_d / A_d, A_d = 1 + (1 + tr S / lam_d) / N",
    assumptions=["population loss", "small random start", "replicas that rest at plateau m and leave it"],
    judged="loss at the slowest moment of plateaus 1, 2, 3 within a third of the distance to the rival",
)
def plateau_losses(setting: simulator.Setting, lab: Lab) -> Verdict:
    """From a small start the loss rests at the levels at which the m leading eigenvectors are learnt.

    Twin: the levels of an infinite context, A = 1.
    """
    runs = lab.simulate(simulator.train, setting)
    at, L = plateaus(setting, runs), levels(setting.spectrum, setting.n_context)
    verdicts = []
    for m in range(1, min(4, len(L) - 1)):
        there = at[:, m] >= 0
        if (verdict := too_few(there, f"rest at plateau {m} and leave it", least=8)) is not None:
            return verdict
        rival, _ = without_finite_context(setting, m)
        measured = runs["population_loss"][there, at[there, m]]
        verdicts.append(
            agrees(
                measured,
                L[m],
                within=abs(L[m] - rival) / 3,
                of="median over replicas",
                twin=Twin.of("infinite context", predicted=rival),
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
    judged="relative Frobenius distance at the slowest moment of plateaus 1, 2, 3 is 0 within a third of the distance "
    "of the rival",
)
def principal_components(setting: simulator.Setting, lab: Lab) -> Verdict:
    """At plateau m the model is in-context regression on the m leading principal components, shrunk for the finite context.

    Twin: the same without the shrinkage (plain inverse eigenvalues).
    """
    runs = lab.simulate(simulator.train, setting)
    at, verdicts = plateaus(setting, runs), []
    for m in range(1, min(4, at.shape[1])):
        there = at[:, m] >= 0
        if (verdict := too_few(there, f"rest at plateau {m} and leave it", least=8)) is not None:
            return verdict
        target, (_, rival) = dynamics.plateau_matrix_exact(m, *stair_sizes(setting)), without_finite_context(setting, m)
        matrix = runs["matrix"][there, at[there, m]]
        verdicts.append(
            agrees(
                relative_distance(matrix, target),
                0.0,
                within=float(relative_distance(rival, target)) / 3,
                of="median over replicas",
                twin=Twin.of("no shrinkage", measured=relative_distance(matrix, rival)),
            ).named(f"plateau {m}")
        )
    return all_of(*verdicts)


@paper.claim(
    "order",
    source="Zhang, Singh, Latham, Saxe, Section 4",
    statements=[4],
    formula="t_1 < t_2 < ... for decreasing eigenvalues, t_d the time at which component d is half learnt",
    assumptions=[
        "small random start: amplitudes of order start^(1 - (lam_2 / lam_1)^2) compete",
        "replicas that learn all but one component",
    ],
    judged="share of replicas in this order at least 1/2",
)
def order(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Eigenvectors are learnt one after another, those of large eigenvalues first.

    Twin: the reverse order.
    """
    runs = lab.simulate(simulator.train, setting)
    times = crossing_times(runs["time"][0], np.moveaxis(components(setting, runs), 1, 2))
    times = times[:, np.argsort(-np.array(setting.spectrum), kind="stable")]
    there = np.isfinite(times[:, :-1]).all(-1)
    if (verdict := too_few(there, "learn all but the last component", least=8)) is not None:
        return verdict
    steps = times[there][:, 1:] - np.where(np.isfinite(times[there][:, :-1]), times[there][:, :-1], 0)
    return share(
        (steps > 0).all(-1), at_least=0.5, twin=Twin.of("small eigenvalues first", successes=(steps < 0).all(-1))
    )


def heads_of(setting, runs):
    """For every eigenvector the head that ends with the largest share in it, and that share of the whole: ``(replica, d)``.

    Heads have rank one; the part of head i in component d is ``v_i k_id q_id``.
    """
    k = runs["k_cosine"][:, -1, :, 0] * runs["k_norm"][:, -1]
    part = np.abs(runs["v"][:, -1, :, None]) * k**2
    return part.argmax(1), part.max(1) / part.sum(1)


@paper.claim(
    "aligned_heads",
    source="Zhang, Singh, Latham, Saxe, Section 4",
    statements=[4],
    parts=4,
    formula="|v| = ||k|| = ||q|| = (lam_d A_d)^{-1/3}, k parallel to e_d",
    assumptions=["rank-one heads", "eigenvectors that one head has learnt at the end (nine tenths of the component)"],
    judged="share of learnt eigenvectors with one head above 1/2; worst eigenvector of a replica: |v| (lam A)^(1/3) and "
    "||k|| / |v| within a third of the distance of A^(1/3) to 1, angle of k to e_1 below the size "
    "start^(1 - (lam_2 / lam_1)^2) of the second component when the first is of order one, 0.15 here",
)
def aligned_heads(setting: simulator.Setting, lab: Lab) -> Verdict:
    """At each drop one head aligns with one eigenvector, and its value, key and query weights grow to one common size.

    Twins: two heads share; the size without the finite context; keys of the heads before a drop, in random directions.
    """
    runs = lab.simulate(simulator.train, setting)
    sizes = stair_sizes(setting)
    A = dynamics.finite_context_factors(*sizes)
    limit = dynamics.final_weight_exact(sizes[0], A)
    head, part = heads_of(setting, runs)
    learnt = components(setting, runs)[:, -1] > 0.9
    one = learnt & (part > 0.9)
    all_learnt = learnt.any(-1) & (one == learnt).all(-1)
    if (verdict := too_few(all_learnt, "have learnt each eigenvector with one head", least=8)) is not None:
        return verdict

    def of_head(values):
        return np.take_along_axis(values, head, 1)[all_learnt]

    def worst(values):
        return np.where(learnt[all_learnt], np.abs(values), 0).max(-1)

    v, k = np.abs(of_head(runs["v"][:, -1])), of_head(runs["k_norm"][:, -1, :, 0])
    within = float((A ** (1 / 3)).min() - 1) / 3
    alone = share(one[learnt], at_least=0.5, unit="drop", twin=Twin.of("two heads share", successes=~one[learnt]))
    size = agrees(
        worst(v / limit - 1),
        0.0,
        within=within,
        of="median over replicas",
        twin=Twin.of("infinite context", measured=worst(v * sizes[0] ** (1 / 3) - 1)),
    )
    balance = agrees(
        worst(k / v - 1),
        0.0,
        within=within,
        of="median over replicas",
        twin=Twin.of("keys free of values", measured=worst(k / np.abs(of_head(runs["v"][:, 0])) - 1)),
    )
    first = int(np.argmax(sizes[0]))

    def key(record):
        return runs["k_cosine"][np.arange(len(head)), record, head[:, first], 0]

    axis, (second, largest) = np.eye(len(sizes[0]))[first], np.sort(sizes[0])[-2:]
    angle = (setting.init_scale / setting.n_heads**0.5) ** (1 - (second / largest) ** 2)
    direction = aligned(
        key(-1),
        axis,
        within_angle=min(float(angle), 0.5),
        signed=False,
        of="median over replicas",
        twin=Twin.of("keys of the start", vectors=key(0)),
    )
    return all_of(alone.named("one head"), size.named("size"), balance.named("balance"), direction.named("direction"))


DROPS = replace(
    STAIRS, spectrum=(0.4, 0.3), n_heads=3, init_scale=0.015, learning_rate=0.1, n_steps=40_000, n_records=5_000
)
DROP_SCALES = Scales(
    smoke=DROPS,
    desk=replace(DROPS, n_replicas=32),
    paper=replace(DROPS, init_scale=0.005, n_steps=120_000, n_records=15_000),
)
CLOCK = np.linspace(-6, 2, 33)  # lam^2 v_inf (t - t_half)


def drops(setting, runs):
    """Weights of the head that learns each eigenvector around its own drop, over the limit: ``(replica, time, d)`` on CLOCK.

    Time is counted from the moment of half weight. NaN where another head shares the eigenvector, or the drop is not over.
    """
    sizes = stair_sizes(setting)
    limit = dynamics.final_weight_exact(sizes[0], dynamics.finite_context_factors(*sizes))
    head, part = heads_of(setting, runs)
    time = runs["time"][0]
    curves = np.full((len(head), CLOCK.size, sizes[0].size), np.nan)
    for d, (lam, end) in enumerate(zip(sizes[0], limit, strict=True)):
        weight = np.abs(runs["v"][np.arange(len(head)), :, head[:, d]]) / end
        half, unit = crossing_times(time, weight), 1 / (lam**2 * end)
        seen = (
            np.isfinite(half) & (half + CLOCK[-1] * unit < time[-1]) & (half + CLOCK[0] * unit > 0) & (part[:, d] > 0.9)
        )
        if seen.any():
            curves[seen, :, d] = shifted(time, weight[seen], half[seen], CLOCK * unit)
    return curves


def predicted_drop(setting):
    """The reduced equation's weights over their limits on CLOCK, the same for every eigenvector in these units."""
    lam, A = 0.3, 1.0
    limit = float(dynamics.final_weight_exact(lam, A))
    return dynamics.drop_weight_exact(CLOCK / (lam**2 * limit), np.full(CLOCK.size, limit / 2), lam, A) / limit


@paper.claim(
    "drop_shape",
    source="Zhang, Singh, Latham, Saxe, Section 4",
    statements=[4],
    setting=DROP_SCALES,
    formula="dv/dt = lam^2 v^2 - lam^3 A v^5 in the time since v = v_inf / 2",
    assumptions=["small random start", "drops that one head makes", "small steps"],
    judged="median over replicas of the largest distance, all drops together, within 3 % of the limit (discrete steps: "
    "half the learning rate times the rate, 1 %)",
)
def drop_shape(setting: simulator.Setting, lab: Lab) -> Verdict:
    """During a drop the weight of the head follows one scalar equation, the same for all eigenvectors in their own units.

    Twin: a logistic curve with the same speed at half, the drop of a two-layer network.
    """
    runs = lab.simulate(simulator.train, setting)
    curves = drops(setting, runs)
    there = np.isfinite(curves).all((1, 2))
    if (verdict := too_few(there, "make each drop with one head", least=8)) is not None:
        return verdict
    predicted = predicted_drop(setting)
    slope = 0.5**2 - 0.5**5  # of u at u = 1/2, in units of CLOCK
    logistic = 1 / (1 + np.exp(-4 * slope * CLOCK))
    n = len(setting.spectrum)
    return follows(
        curves[there],
        np.repeat(predicted[:, None], n, axis=1),
        within=0.03,
        times=CLOCK,
        of="median over replicas",
        twin=Twin.of("logistic drop", predicted=np.repeat(logistic[:, None], n, axis=1)),
    )


RANKS = replace(STAIRS, init_scale=0.05, learning_rate=0.4, n_steps=7_500, n_records=2_500)
RANK_SCALES = Scales(
    smoke=RANKS, desk=RANKS, paper=replace(RANKS, spectrum=tuple((8 - i) / 36 for i in range(8)), n_heads=9)
)
SMALLER = 5.0


def time_at(dwell, plateaus_of):
    """Logarithm of the time spent at some plateaus, ``(replica,)``; one unit is added, below the record interval."""
    return np.log(dwell[:, plateaus_of].sum(1) + 1.0)


@paper.claim(
    "rank_rule",
    source="Zhang, Singh, Latham, Saxe, Section 4.4",
    statements=[5],
    parts=4,
    setting=RANK_SCALES,
    formula="plateaus m = R, 2R, ...: time ~ 1 / start; all others: time ~ ln(1 / start)",
    assumptions=["population loss", "the first plateaus", "starts a factor of 5 apart"],
    judged="between the two starts the logarithm of the time at m = 1, 2 (rank 1) rises by more than half of ln 5, that "
    "at m = 1, 3 (rank 2) and m = 1, 2, 3 (rank 4) by less; from the smaller start rank 2 rests longer at m = 2 "
    "than at m = 1 and 3 together",
)
def rank_rule(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Heads of rank R rest after every R-th eigenvector for a time that grows like the inverse start; elsewhere hardly at all.

    Twin of each: the other law. With rank one all plateaus are of the first kind, with full rank all of the second.
    """
    if len(setting.spectrum) < 4:
        return outside(f"spectrum={setting.spectrum}: four eigenvalues are needed")
    small = replace(setting, init_scale=setting.init_scale / SMALLER, n_steps=int(SMALLER * setting.n_steps))
    ranks = (1, 2, 4)
    runs = lab.simulate(simulator.train, *(replace(each, rank=rank) for each in (setting, small) for rank in ranks))
    dwell = {
        key: dwell_times(setting, run) for key, run in zip([(s, r) for s in (0, 1) for r in ranks], runs, strict=True)
    }
    verdicts = []
    for rank, chosen, conspicuous in ((1, [1, 2], True), (2, [1, 3], False), (4, [1, 2, 3], False)):
        before, after = (time_at(dwell[start, rank], chosen) for start in (0, 1))
        shift = np.log(SMALLER) / 2
        grows = {"smaller": before + shift, "larger": after}
        brief = {"smaller": after, "larger": before + shift}
        claim, rival = (grows, brief) if conspicuous else (brief, grows)
        verdicts.append(
            ordered(**claim, paired=False, twin=Twin.of("the other law", **rival)).named(
                f"rank {rank}, m = {', '.join(map(str, chosen))}"
            )
        )
    brief, long = (time_at(dwell[1, 2], chosen) for chosen in ([1, 3], [2]))
    return all_of(
        *verdicts, ordered(brief, long, twin=Twin.of("reversed", smaller=long, larger=brief)).named("rank 2, m = 2")
    )


SOFTMAX = SoftmaxSetting(init_scale=0.08, batch=32, learning_rate=0.2, n_steps=7_500, n_records=750, n_replicas=8)
SOFTMAX_SCALES = Scales(
    smoke=replace(SOFTMAX, n_steps=1_500, n_records=150, batch=16),
    desk=replace(SOFTMAX, n_replicas=16),
    paper=replace(SOFTMAX, n_heads=8, batch=256, init_scale=0.03, n_steps=100_000, n_replicas=16),
)


def softmax_pair(setting, lab: Lab):
    """Runs of softmax attention with merged and with separate key and query.

    The merged model starts 8 times smaller, which lengthens its wait, and has fewer, larger batches and smaller steps.
    """
    return lab.simulate(
        softmax.train,
        replace(
            setting,
            kind="merged",
            init_scale=setting.init_scale / 8,
            batch=4 * setting.batch,
            learning_rate=setting.learning_rate / 2,
            n_steps=max(setting.n_steps // 7, 900),
            n_records=75,
        ),
        setting,
    )


@paper.claim(
    "softmax_drops",
    source="Zhang, Singh, Latham, Saxe, Section 5",
    statements=[10],
    parts=2,
    setting=SOFTMAX_SCALES,
    undecided_at_smoke="8 replicas of short runs differ too much",
    formula="longest time within 5 % of the drop, at 20 to 80 %, times ||S^2||_F",
    assumptions=["softmax over the context, query no key", "fresh sequences, small random start"],
    judged="merged: at most 3 in the median, as without softmax; separate: more than twice as long as merged, mean of "
    "the logarithms",
)
def softmax_drops(setting: SoftmaxSetting, lab: Lab) -> Verdict:
    """Softmax attention falls in one drop with merged key and query, and in several with separate ones.

    Twins: each other.
    """
    merged, separate = softmax_pair(setting, lab)
    rests = []
    for runs in (merged, separate):
        loss = runs["loss"][:, 1:]
        rests.append(longest_rest(setting, runs["time"][0, 1:], loss, np.median(loss[:, -10:])))
    one = bounded(rests[0], REST, of="median over replicas", twin=Twin.of("separate", measured=rests[1]))
    merged, separate = (np.log(each) for each in rests)
    several = ordered(
        merged, separate, by=float(np.log(2)), paired=False, twin=Twin.of("reversed", smaller=separate, larger=merged)
    )
    return all_of(one.named("merged"), several.named("separate"))
