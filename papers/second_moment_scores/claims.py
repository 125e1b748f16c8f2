"""Claims: the mass of far keys from two moments, the decisions it flips, clusters, and rows from flat to frozen."""

from __future__ import annotations

import math

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, identical, relative, replicas
from attnlab.papers.lab.conditions import that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.second_moment_scores.paper import BULK, CLUSTERS, COSTS, SUMS, paper
from attnlab.simulators.score_statistics.bulk import (
    BulkSetting,
    ClusterSetting,
    DecisionCostSetting,
    SumSetting,
    clusters,
    decision_cost,
    decisions,
    log_sums,
)
from attnlab.theory.score_statistics import gaussian_rows as rows
from attnlab.theory.score_statistics import log_sum as theory

SIX = {"spreads": that(lambda s: len(s) == 6, "six spreads", "the claim has as many parts")}


@paper.claim(
    "mass_from_two_moments",
    source="second moment approximation",
    statements=[2, 3],
    setting=BULK,
    parts=3,
    formula="log A_B - (log n_B + m + v/2): mean -(e^v - 1)/(2 n_B), variance (e^v - 1)/n_B + v/n_fit + v^2/(2 n_fit)",
    assumptions=["Gaussian keys", "moments of as many other keys for each query"],
    judged="mean and standard deviation over queries, and the share of decisions that the estimate flips when margins "
    "are uniform "
    "around the threshold: sqrt(2/pi) sigma / (2 w)",
    reads=("n_bulk", "n_fit", "spread", "half_width"),
    covers={"spread": that(lambda s: s <= 1.2, "at most 1.2", "the fluctuation formula drops terms in e^(3 s^2) / n")},
)
def mass_from_two_moments(setting: BulkSetting, lab: Lab) -> Verdict:
    """The mass of far keys is known from two moments up to a fluctuation of known size, and only decisions nearer than it flip.

    Twins: no error of the moments; a tenth more error; for the mean, an estimate that is off by 2 % of v / 2.
    """
    runs = lab.simulate(decisions, setting)
    n, v = setting.n_queries, setting.spread**2
    std = theory.std_of_estimated_log_sum_approx(setting.n_bulk, setting.n_fit, setting.spread)
    alone = theory.std_log_mean_approx(setting.n_bulk, setting.spread)
    dropped = math.exp(3 * v) / setting.n_bulk + 2 / setting.n_fit  # terms of the next order, relative to the variance
    of = f"mean over replicas of {n} draws"
    bias = agrees(
        runs["bias"],
        -math.expm1(v) / (2 * setting.n_bulk),
        within=budget(replicas(std / math.sqrt(n), runs.n, of=of)),
        of=of,
        scale=v / 2,
        twin=Twin.of("v / 2 off by 2 %", predicted=-math.expm1(v) / (2 * setting.n_bulk) + 0.02 * v / 2),
    )
    spread = agrees(
        runs["std"],
        std,
        within=budget(
            replicas(std / math.sqrt(2 * n), runs.n, of=of),
            relative(1 / (4 * n) + dropped / 2, std, "next order and small samples"),
        ),
        of=of,
        twin=Twin.of("moments known", predicted=alone),
    )
    rate = theory.flip_rate_approx(std, setting.half_width)
    flips = agrees(
        runs["flips"],
        rate,
        within=budget(
            replicas(
                theory.flip_rate_std_approx(std, setting.half_width, setting.n_margins) / math.sqrt(n), runs.n, of=of
            ),
            relative(dropped / 2, rate, "next order"),
        ),
        of=of,
        twin=Twin.of("moments known", predicted=theory.flip_rate_approx(alone, setting.half_width)),
    )
    return all_of(bias.named("mean"), spread.named("spread"), flips.named("flipped decisions"))


@paper.claim(
    "free_energy_through_freezing",
    source="log-sum-exp of Gaussian scores; the exact law is derived here",
    statements=[6],
    kind="extrapolation",
    setting=SUMS,
    parts=6,
    formula="E log X = integral of exp(-e^u) - (E exp(-e^(u + s z)))^n du, X = sum_i e^(s z_i)",
    judged="mean over rows and replicas at six spreads, four below and two beyond the freezing point at n = 1024; the "
    "spread of a row "
    "is at most sqrt(s^2 - s F'(s)) (Poincare)",
    reads=("n_keys", "spreads"),
    covers=SIX,
)
def free_energy_through_freezing(setting: SumSetting, lab: Lab) -> Verdict:
    """The mean log-sum-exp of n Gaussian scores is one integral, from flat rows to frozen ones.

    Twin: the limit of long rows, s^2 / 2 and then s sqrt(2 log n) - log n; well below freezing, where the limit is
    right, 3 % more.
    """
    runs = lab.simulate(log_sums, setting)
    of = f"mean over replicas of {setting.n_rows} draws"
    parts = []
    for k, s in enumerate(setting.spreads):
        law = theory.mean_log_mean_exact(setting.n_keys, s)
        std = theory.std_log_mean_bound(setting.n_keys, s) / math.sqrt(setting.n_rows)
        limit = theory.mean_log_mean_limit(setting.n_keys, s)
        frozen = s > 0.5 * theory.freezing_spread(setting.n_keys)  # below, the limit is right to less than can be told
        twin = (
            Twin.of("the limit of long rows", predicted=limit) if frozen else Twin.of("3 % more", predicted=1.03 * law)
        )
        parts.append(
            agrees(runs["mean"][:, k], law, within=budget(replicas(std, runs.n, of=of)), of=of, twin=twin).named(
                f"s = {s:g}"
            )
        )
    return all_of(*parts)


#: Standard deviation of a row's participation over n = 1024 scores: 32,000 rows of the simulator,
#: seeds of np.random.SeedSequence(1).
PARTICIPATION_STD = {1.0: 0.000416, 2.0: 0.0332, 3.0: 0.132, 4.0: 0.198, 5.0: 0.224}


def _participation_std(n: int, spread: float, law: float) -> float:
    """The delta method where it holds; the measured spread at n = 1024; else the largest that a number of this mean
    in [1/n, 1] can have."""
    if rows.expansion_error(n, spread, 2) < 0.02:
        return law * rows.spikiness_std(n, spread) / rows.spikiness_approx(n, spread)
    if n == 1024 and spread in PARTICIPATION_STD:
        return PARTICIPATION_STD[spread]
    return math.sqrt((law - 1 / n) * (1 - law))


@paper.claim(
    "participation_through_freezing",
    source="derived here, by Gaussian integration by parts",
    statements=[6],
    kind="extrapolation",
    setting=SUMS,
    parts=6,
    formula="E sum_i p_i^2 = 1 - F'(s) / s",
    judged="mean over rows and replicas; the spread of a row's participation comes from theory while rows are flat, "
    "else from other seeds",
    reads=("n_keys", "spreads"),
    covers=SIX,
)
def participation_through_freezing(setting: SumSetting, lab: Lab) -> Verdict:
    """The mean participation of softmax rows over Gaussian scores is the slope of the free energy, from flat rows to frozen ones.

    Twin: a tenth more.
    """
    runs = lab.simulate(log_sums, setting)
    of = f"mean over replicas of {setting.n_rows} draws"
    parts = []
    for k, s in enumerate(setting.spreads):
        law = theory.mean_participation_exact(setting.n_keys, s)
        std = _participation_std(setting.n_keys, s, law) / math.sqrt(setting.n_rows)
        parts.append(
            agrees(
                runs["participation"][:, k],
                law,
                within=budget(replicas(std, runs.n, of=of)),
                of=of,
                twin=Twin.of("a tenth more", predicted=1.1 * law),
            ).named(f"s = {s:g}")
        )
    return all_of(*parts)


@paper.claim(
    "fluctuations",
    source="log-sum-exp of Gaussian scores",
    statements=[6],
    kind="extrapolation",
    setting=SUMS,
    parts=2,
    formula="standard deviation sqrt((e^(s^2) - 1) / n)",
    judged="standard deviation over rows at s = 0.5 and 1; the next order is e^(3 s^2) / n of the variance",
    reads=("n_keys", "spreads"),
    covers={
        "spreads": that(
            lambda s: s[:2] == (0.5, 1.0), "0.5 and 1 first", "the formula is for spreads well below freezing"
        )
    },
)
def fluctuations(setting: SumSetting, lab: Lab) -> Verdict:
    """Well below freezing the log-sum-exp varies by sqrt((e^(s^2) - 1) / n) from row to row. Twin: s / sqrt(n), its
    first term."""
    runs = lab.simulate(log_sums, setting)
    of = f"mean over replicas of {setting.n_rows} draws"
    parts = []
    for k, s in enumerate(setting.spreads[:2]):
        law = theory.std_log_mean_approx(setting.n_keys, s)
        order = relative(0.5 * math.exp(3 * s**2) / setting.n_keys + 1 / (4 * setting.n_rows), law, "next order")
        parts.append(
            agrees(
                runs["std"][:, k],
                law,
                within=budget(replicas(law / math.sqrt(2 * setting.n_rows), runs.n, of=of), order),
                of=of,
                twin=Twin.of("s / sqrt(n)", predicted=s / math.sqrt(setting.n_keys)),
            ).named(f"s = {s:g}")
        )
    return all_of(*parts)


@paper.claim(
    "clusters_add_up",
    source="limits of the Gaussian model; derived here",
    statements=[7],
    kind="extrapolation",
    setting=CLUSTERS,
    parts=3,
    formula="log sum_g w_g e^(m_g + v_g / 2), against m + v / 2 of the pooled scores",
    judged="mean over replicas at separations 1, 2 and 3; the spread over replicas comes from theory",
    reads=("rare", "separations", "n_keys"),
    covers={
        "separations": that(lambda s: len(s) == 4 and s[0] == 0, "0 and three more", "the claim has as many parts")
    },
)
def clusters_add_up(setting: ClusterSetting, lab: Lab) -> Verdict:
    """A rare cluster that aligns with the query adds its own log-normal mean; one Gaussian with the pooled moments falls short.

    Twin: the pooled Gaussian.
    """
    runs = lab.simulate(clusters, setting)
    weights, variances = (1 - setting.rare, setting.rare), (1.0, 1.0)
    of = f"mean over replicas of {setting.n_keys} draws"
    parts = []
    for k, separation in enumerate(setting.separations):
        if k == 0:
            continue
        mixture = weights, (0.0, separation), variances
        law, pooled = theory.log_mean_of_clusters_exact(*mixture), theory.log_mean_of_pooled_clusters(*mixture)
        std = theory.std_of_cluster_log_mean_approx(*mixture, setting.n_keys)
        parts.append(
            agrees(
                runs["log_mean"][:, k],
                law,
                within=budget(
                    replicas(std, runs.n, of=f"mean over replicas of {setting.n_keys} draws"),
                    relative(1, std**2, "1/n"),
                ),
                of=of,
                twin=Twin.of("one Gaussian", predicted=pooled),
            ).named(f"separation {separation:g}")
        )
    return all_of(*parts)


@paper.claim(
    "decision_cost",
    source="cost of the criterion",
    statements=[5],
    setting=COSTS,
    formula="d^2 + 2 d + |L| d multiply-adds",
    judged="counted by torch on running products, equal in every cell; two cells differ in the length only",
    reads=("cells",),
)
def cost_of_a_decision(setting: DecisionCostSetting, lab: Lab) -> Verdict:
    """A decision from the moments costs d^2 + 2 d + |L| d multiply-adds, whatever the length. Twin: without the covariance."""
    runs = lab.simulate(decision_cost, setting)
    law = np.array([[theory.decision_multiply_adds(d, local) for d, local, _ in setting.cells]])
    less = law - np.array([[d * d for d, _, _ in setting.cells]])
    return identical(runs["multiply_adds"][:1], law, twin=Twin.of("without q^T S q", b=less))
