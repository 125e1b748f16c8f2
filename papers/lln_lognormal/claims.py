"""Claims on the entries of softmax attention: the law of ln P, entropy, variance, and their dependence on temperature."""

from __future__ import annotations

import math

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, finite_size, ordered, relative, replicas
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.conditions import DECLARED, at_most, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.lln_lognormal.paper import ROWS, SCORES, paper
from attnlab.simulators.score_statistics.attention_maps import (
    MapSetting,
    ScoreSetting,
    coordinate_variances,
    scores,
    spectra,
)
from attnlab.simulators.score_statistics.attention_rows import AttentionRowSetting, softmax_rows
from attnlab.theory.score_statistics import attention_rows as theory

PROFILES = {"slopes": that(lambda x: len(x) == 3 and x[0] == (0.0, 0.0), "equal, then two more", "three parts")}
FIXED = {"n_keys": DECLARED, "dim": DECLARED, "spreads": DECLARED}

#: Standard deviations of one row at N = 1024, d = 64: 8,000 rows of the simulator, children of np.random.SeedSequence(1).
ENTROPY_STD = {0.25: 0.0057, 0.5: 0.0230, 1.0: 0.0981, 1.5: 0.256, 2.0: 0.494, 3.0: 0.834}
VARIANCE_STD = {0.25: 0.0122, 0.5: 0.0613, 1.0: 0.853, 1.5: 10.7, 2.0: 44.1, 3.0: 149.0}


@paper.claim(
    "score_variance",
    source="Proposition on the log-normal law",
    statements=[1],
    setting=SCORES,
    parts=3,
    formula="sigma^2 = mean(u) mean(w) + Cov(u, w) = mean(u w), u and w the variances of the coordinates",
    judged="mean square of the scores of one map; its spread over maps comes from theory, two Wishart matrices",
    reads=("n", "dim", "slopes", "spread"),
    covers=PROFILES,
)
def score_variance(setting: ScoreSetting, lab: Lab) -> Verdict:
    """The variance of the scores is the product of mean variances plus the covariance over coordinates, C.

    Twins: no covariance; where that is 0, 3 % more.
    """
    runs, parts = lab.simulate(scores, setting), []
    for k, slopes in enumerate(setting.slopes):
        law = theory.score_variance_exact(*coordinate_variances(setting, k))
        without = theory.score_variance_without_covariance(*coordinate_variances(setting, k))
        std = theory.score_variance_std_exact(setting.n, *coordinate_variances(setting, k))
        twin = Twin.of("no covariance", predicted=without) if k else Twin.of("3 % more", predicted=1.03 * law)
        of = f"mean over replicas of {setting.n} draws"
        within = budget(replicas(std, runs.n, of=of))
        parts.append(agrees(runs["variance"][:, k], law, within=within, of=of, twin=twin).named(f"slopes {slopes}"))
    return all_of(*parts)


@paper.claim(
    "mean_log_weight",
    source="Proposition on the log-normal law",
    statements=[1],
    setting=SCORES,
    parts=3,
    formula="E ln P = -ln N - sigma^2 / 2",
    judged="mean of ln P over one map, in units of sigma^2 / 2; what the limit drops first is (E e^v - 1) / 2N",
    reads=("n", "dim", "slopes", "spread"),
    covers={**PROFILES, "spread": at_most(1.0, "the law is for moderate scores: e^(sigma^2) << N")},
)
def mean_log_weight(setting: ScoreSetting, lab: Lab) -> Verdict:
    """The mean of ln P lies half the variance of the scores below -ln N.

    Twins: the variance without covariance; where that is 0, 5 % more of it.
    """
    runs, parts = lab.simulate(scores, setting), []
    for k, slopes in enumerate(setting.slopes):
        variances = coordinate_variances(setting, k)
        s2 = theory.score_variance_exact(*variances)
        law = theory.mean_log_weight_limit(setting.n, math.sqrt(s2))
        rival = theory.score_variance_without_covariance(*variances) if k else 1.05 * s2
        std = theory.score_variance_std_exact(setting.n, *variances) / 2 + math.sqrt(math.expm1(s2)) / setting.n
        dropped = theory.mean_log_weight_correction(setting.n, *variances)
        of = f"mean over replicas of {setting.n} draws"
        parts.append(
            agrees(
                runs["mean_log_weight"][:, k],
                law,
                within=budget(replicas(std, runs.n, of=of), finite_size(setting.n, dropped * setting.n, of="N")),
                of=of,
                scale=s2 / 2,
                twin=Twin.of("another variance", predicted=theory.mean_log_weight_limit(setting.n, math.sqrt(rival))),
            ).named(f"slopes {slopes}")
        )
    return all_of(*parts)


@paper.claim(
    "log_weights_are_nearly_normal",
    source="Proposition on the log-normal law; the correction is derived here",
    statements=[1],
    kind="extrapolation",
    setting=SCORES,
    formula="kurtosis of the scores 3 (1 + 2 / d)",
    judged="kurtosis of the scores of one map; its spread over maps comes from theory",
    reads=("n", "dim"),
    covers=PROFILES,
)
def log_weights_are_nearly_normal(setting: ScoreSetting, lab: Lab) -> Verdict:
    """Over all queries ln P is a Gaussian number with a chi-square variance: its excess kurtosis is 6 / d.

    Twin: that of normal numbers, 3.
    """
    runs = lab.simulate(scores, setting)
    of = f"mean over replicas of {setting.n} draws"
    return agrees(
        runs["kurtosis"][:, 0],
        theory.score_kurtosis_exact(setting.dim),
        within=budget(replicas(theory.score_kurtosis_std_approx(setting.n, setting.dim), runs.n, of=of)),
        of=of,
        twin=Twin.of("normal", predicted=3.0),
    )


@paper.claim(
    "entropy_of_the_log_normal_law",
    source="Theorem on entropy and temperature",
    statements=[2],
    setting=ROWS,
    parts=3,
    formula="H = ln N - sigma^2 / 2",
    judged="entropy lost, ln N - H, mean over rows, at sigma <= 1; what the limit drops first is known, order 1/N",
    reads=("n_keys", "spreads"),
    covers=FIXED,
)
def entropy_of_the_log_normal_law(setting: AttentionRowSetting, lab: Lab) -> Verdict:
    """At moderate scores a row of softmax attention has the entropy ln N - sigma^2 / 2. Twin: 4 % more entropy lost."""
    runs, of, parts = lab.simulate(softmax_rows, setting), _of(setting), []
    for k, s in enumerate(setting.spreads[:3]):
        law = math.log(setting.n_keys) - theory.entropy_limit(setting.n_keys, s)
        within = budget(
            _rows(ENTROPY_STD[s], setting, runs.n),
            finite_size(setting.n_keys, setting.n_keys * theory.entropy_correction(setting.n_keys, s), of="N"),
        )
        lost = math.log(setting.n_keys) - runs["entropy"][:, k]
        twin = Twin.of("4 % more", predicted=1.04 * law)
        parts.append(agrees(lost, law, within=within, of=of, twin=twin).named(f"sigma = {s:g}"))
    return all_of(*parts)


@paper.claim(
    "variance_of_the_log_normal_law",
    source="Theorem on variance and temperature",
    statements=[3],
    setting=ROWS,
    parts=3,
    formula="N^2 Var(P) = e^(sigma^2) - 1",
    judged="mean over rows at sigma <= 1; what the limit drops first, of order 1/N and 1/d, is known",
    reads=("n_keys", "dim", "spreads"),
    covers=FIXED,
)
def variance_of_the_log_normal_law(setting: AttentionRowSetting, lab: Lab) -> Verdict:
    """At moderate scores the weights have the relative variance e^(sigma^2) - 1. Twin: sigma^2, its first term."""
    runs, of, parts = lab.simulate(softmax_rows, setting), _of(setting), []
    for k, s in enumerate(setting.spreads[:3]):
        law = theory.relative_variance_limit(s)
        dropped = abs(theory.relative_variance_correction(setting.n_keys, setting.dim, s))
        within = budget(_rows(VARIANCE_STD[s], setting, runs.n), relative(dropped, 1.0, "1/N and 1/d"))
        twin = Twin.of("its first term", predicted=s**2)
        verdict = agrees(runs["relative_variance"][:, k], law, within=within, of=of, twin=twin)
        parts.append(verdict.named(f"sigma = {s:g}"))
    return all_of(*parts)


@paper.claim(
    "entropy_through_freezing",
    source="derived here",
    statements=[2],
    kind="extrapolation",
    setting=ROWS,
    parts=6,
    formula="H = E_v [F(v) - sqrt(v) F'(sqrt v)], F the mean log-sum-exp of N scores, v sigma^2 times a chi-square number",
    judged="entropy lost, mean over rows, at six spreads up to 3; the spread of a row's entropy comes from other seeds",
    reads=("n_keys", "dim", "spreads"),
    covers=FIXED,
)
def entropy_through_freezing(setting: AttentionRowSetting, lab: Lab) -> Verdict:
    """The mean entropy of a row is one integral over chi-square numbers, from flat rows to frozen ones.

    Twins: the log-normal law from sigma = 2 on, where it is off; below, 4 % more entropy lost.
    """
    runs, of, parts = lab.simulate(softmax_rows, setting), _of(setting), []
    for k, s in enumerate(setting.spreads):
        law = math.log(setting.n_keys) - theory.entropy_exact(setting.n_keys, setting.dim, s)
        limit = math.log(setting.n_keys) - theory.entropy_limit(setting.n_keys, s)
        twin = Twin.of("log-normal", predicted=limit) if s >= 2 else Twin.of("4 % more", predicted=1.04 * law)
        lost = math.log(setting.n_keys) - runs["entropy"][:, k]
        within = budget(_rows(ENTROPY_STD[s], setting, runs.n))
        parts.append(agrees(lost, law, within=within, of=of, twin=twin).named(f"sigma = {s:g}"))
    return all_of(*parts)


@paper.claim(
    "variance_through_freezing",
    source="derived here",
    statements=[3],
    kind="extrapolation",
    setting=ROWS,
    parts=6,
    formula="N^2 Var(P) = N E_v [1 - F'(sqrt v) / sqrt v] - 1",
    judged="mean over rows, at six spreads up to 3; the spread of a row's participation comes from other seeds",
    reads=("n_keys", "dim", "spreads"),
    covers=FIXED,
)
def variance_through_freezing(setting: AttentionRowSetting, lab: Lab) -> Verdict:
    """The relative variance of the weights is the slope of the same function, for any N, d and sigma.

    Twins: the log-normal law from sigma = 2 on, where it is off by a factor; below, 15 % more.
    """
    runs, of, parts = lab.simulate(softmax_rows, setting), _of(setting), []
    for k, s in enumerate(setting.spreads):
        law = theory.relative_variance_exact(setting.n_keys, setting.dim, s)
        limit = theory.relative_variance_limit(s)
        twin = Twin.of("log-normal", predicted=limit) if s >= 2 else Twin.of("15 % more", predicted=1.15 * law)
        within = budget(_rows(VARIANCE_STD[s], setting, runs.n))
        verdict = agrees(runs["relative_variance"][:, k], law, within=within, of=of, twin=twin)
        parts.append(verdict.named(f"sigma = {s:g}"))
    return all_of(*parts)


@paper.claim(
    "temperature_orders_maps",
    source="Theorems on entropy, variance and the spectral gap",
    statements=[2, 3, 4],
    parts=12,
    formula="entropy and 1 - |lambda_2| fall, N^2 Var(P) rises, from each sigma to the next",
    judged="paired differences over maps between neighbouring spreads",
    reads=("spreads",),
    covers={"weights": that(lambda x: x == "softmax", "softmax"), "spreads": DECLARED, "n": DECLARED, "dim": DECLARED},
)
def temperature_orders_maps(setting: MapSetting, lab: Lab) -> Verdict:
    """A higher temperature gives a higher entropy, a lower variance of the weights and a larger spectral gap.

    Twins: differences of entropy and variance half as large again as the laws say; for the gap, twice as large.
    """
    runs, parts = lab.simulate(spectra, setting), []
    sizes = setting.n, setting.dim
    for k, (cold, hot) in enumerate(zip(setting.spreads[1:], setting.spreads, strict=False)):
        entropy = theory.entropy_exact(*sizes, hot) - theory.entropy_exact(*sizes, cold)
        variances = [theory.relative_variance_exact(*sizes, s) for s in (hot, cold)]
        seconds = [math.sqrt(v / setting.n) for v in variances]
        step = f"{hot:g} to {cold:g}"
        for name, sign, by in (
            ("entropy", -1, 1.5 * entropy),
            ("relative_variance", 1, 1.5 * (variances[1] - variances[0])),
            ("second", 1, 2 * (seconds[1] - seconds[0])),
        ):
            low, high = runs[name][:, k], runs[name][:, k + 1]
            pair = (low, high) if sign > 0 else (high, low)
            parts.append(ordered(*pair, twin=Twin.of("a larger step", by=by)).named(f"{name}, {step}"))
    return all_of(*parts)


def _of(setting: AttentionRowSetting) -> str:
    return f"mean over replicas of {setting.n_rows} draws"


def _rows(std: float, setting: AttentionRowSetting, n: int) -> Piece:
    """What replicas leave open, each a mean over independent rows of a known spread."""
    return replicas(std / math.sqrt(setting.n_rows), n, of=_of(setting))
