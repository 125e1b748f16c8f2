"""Claims on linear log-normal attention: cumulants of ln P, matching softmax, and weight on a token's own key."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy import special

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, finite_size, ordered, replicas
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.conditions import DECLARED, at_least
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.lln_lognormal.paper import LOG_NORMAL_ROWS, MATCHED, OWN, paper
from attnlab.simulators.score_statistics.attention_maps import OwnKeySetting, own_keys
from attnlab.simulators.score_statistics.attention_rows import LogNormalRowSetting, log_normal_rows
from attnlab.theory.linear_variants import log_normal as operator
from attnlab.theory.score_statistics import attention_rows as rows
from attnlab.theory.score_statistics import log_normal_sums as theory

#: Relative standard deviations of one row with its 8,192 keys about the law of its query, by scale s: 128 rows, children of
#: np.random.SeedSequence(1). The first is near sqrt(2 / n), that of a normal sample.
VARIANCE_STD = {0.5: 0.0160, 1.0: 0.0186, 4.0: 0.0205}
THIRD_STD = {0.5: 0.175, 1.0: 0.116, 4.0: 0.079}
RELATIVE_STD = {0.5: 0.0188, 1.0: 0.0387}
#: Relative standard deviation over queries of the variance of ln P in a row, at s from 2 to 6, same seeds: 0.24 to 0.27.
QUERY_STD = 0.27
#: Standard deviations over maps of the mean own weight less its law, at n = 512: 16 maps, same seeds.
OWN_STD = {"softmax": 0.00083, "log_normal": 0.00018, "with_blocks": 0.00036}

SIZES = {"n_keys": DECLARED, "dim": DECLARED, "scales": DECLARED}


@paper.claim(
    "log_variance_of_sums",
    source="Proposition on the weights of linear log-normal attention; the exact law is derived here",
    statements=[5],
    kind="extrapolation",
    setting=LOG_NORMAL_ROWS,
    parts=3,
    formula="Var(ln P) = Var(U) - pi^2 / 6, P(U > u) = prod_c phi(u + a q_c)",
    judged="variance over keys against the law of each row's query, mean over rows; spread from other seeds",
    reads=("dim", "scales"),
    covers=SIZES,
)
def log_variance_of_sums(setting: LogNormalRowSetting, lab: Lab) -> Verdict:
    """The variance of ln P within a row is one integral, exact for its query.

    Twins: Fenton's law ln(1 + CV^2); between s = 2 and 6, the line through its ends.
    """
    runs, of, parts = lab.simulate(log_normal_rows, setting), _of(setting), []
    for k, s in enumerate(setting.scales):
        law = theory.log_cumulants_given_query_exact(math.sqrt(s) * runs["queries"], math.sqrt(s))[..., 0].mean(1)
        size = theory.mean_log_variance_exact(setting.dim, s)
        if 2 < s < 6:
            twin = Twin.of("a line", predicted=law * theory.log_variance_of_a_line(s, setting.dim, 2.0, 6.0) / size)
        else:
            relative = _relative_variances(runs["queries"], s)
            fenton = np.vectorize(operator.log_variance_of_one_log_normal)(relative).mean(1)
            twin = Twin.of("Fenton", predicted=fenton)
        within = budget(_rows(VARIANCE_STD[s] * size, setting, runs.n))
        measured = runs["log_variance"][:, k].mean(1)
        parts.append(agrees(measured, law, within=within, of=of, twin=twin).named(f"s = {s:g}"))
    return all_of(*parts)


@paper.claim(
    "sums_are_skewed",
    source="Proposition on the weights of linear log-normal attention; the exact law is derived here",
    statements=[5],
    kind="extrapolation",
    setting=LOG_NORMAL_ROWS,
    parts=3,
    formula="third cumulant of ln P = -(third cumulant of U + 2 zeta(3))",
    judged="third central moment over keys against the law of each row's query, mean over rows; spread from other seeds",
    reads=("dim", "scales"),
    covers=SIZES,
)
def sums_are_skewed(setting: LogNormalRowSetting, lab: Lab) -> Verdict:
    """Within a row ln P is skewed to the right by a known third cumulant: weights are not log-normal. Twin: a fifth more."""
    runs, of, parts = lab.simulate(log_normal_rows, setting), _of(setting), []
    for k, s in enumerate(setting.scales):
        law = theory.log_cumulants_given_query_exact(math.sqrt(s) * runs["queries"], math.sqrt(s))[..., 1].mean(1)
        within = budget(_rows(THIRD_STD[s] * _third(setting.dim, s), setting, runs.n))
        twin = Twin.of("a fifth more", predicted=1.2 * law)
        measured = runs["log_third"][:, k].mean(1)
        parts.append(agrees(measured, law, within=within, of=of, twin=twin).named(f"s = {s:g}"))
    return all_of(*parts)


@paper.claim(
    "relative_variance_of_sums",
    source="weights of linear log-normal attention; derived here",
    statements=[5],
    kind="extrapolation",
    setting=LOG_NORMAL_ROWS,
    parts=2,
    formula="N^2 Var_j(P) = (e^(b^2) - 1) sum_c w_c^2, w = softmax(a q)",
    judged="variance over squared mean at s = 0.5 and 1, against the law of each row's query; corrections in 1/N are bounded",
    reads=("n_keys", "dim", "scales"),
    covers=SIZES,
)
def relative_variance_of_sums(setting: LogNormalRowSetting, lab: Lab) -> Verdict:
    """The relative variance of a row's weights is that of one log-normal number times the participation of its query.

    Twin: e^s (e^s - 1) / d, its form for wide heads.
    """
    runs, of, parts = lab.simulate(log_normal_rows, setting), _of(setting), []
    for k, s in enumerate(setting.scales[:2]):
        law = _relative_variances(runs["queries"], s).mean(1)
        size = theory.mean_relative_variance_exact(setting.dim, s)
        # 2 mu_3 / (sigma^2 mu N), with sum w^3 / sum w^2 <= (sum w^2)^(1/2)
        skew = (math.exp(3 * s) - 3 * math.exp(s) + 2) / math.expm1(s) * math.sqrt(size / math.expm1(s))
        within = budget(
            _rows(RELATIVE_STD[s] * size, setting, runs.n), finite_size(setting.n_keys, 2 * skew * size, of="N")
        )
        wide = operator.relative_variance_approx(s, setting.dim)
        measured = runs["relative_variance"][:, k].mean(1)
        twin = Twin.of("wide heads", predicted=law * wide / size)
        parts.append(agrees(measured, law, within=within, of=of, twin=twin).named(f"s = {s:g}"))
    return all_of(*parts)


@paper.claim(
    "moment_matching",
    source="moment matching",
    statements=[6],
    setting=MATCHED,
    parts=2,
    formula="s such that the mean variance of ln P within rows is sigma^2",
    judged="variance over keys, mean over many queries, at sigma^2 = 0.25 and 1; the spread over queries comes from other seeds",
    reads=("dim", "scales"),
    covers={"dim": at_least(64, "the spread over queries is known there"), "scales": DECLARED},
)
def moment_matching(setting: LogNormalRowSetting, lab: Lab) -> Verdict:
    """At the scale that solves the exact law, linear log-normal attention has the log-variance of softmax.

    ``scales`` are the variances sigma^2 to be met. Twin: the scale by Fenton's law.
    """
    targets, parts, of = setting.scales, [], f"mean over replicas of {setting.n_rows} draws"
    solved = [theory.scale_for_log_variance_exact(target, setting.dim) for target in targets]
    runs = lab.simulate(log_normal_rows, replace(setting, scales=tuple(solved)))
    for k, target in enumerate(targets):
        std = target * math.hypot(QUERY_STD, math.sqrt(2.5 / setting.n_keys))
        fenton = theory.scale_for_relative_variance_exact(math.expm1(target), setting.dim)
        rival = theory.mean_log_variance_exact(setting.dim, fenton)
        parts.append(
            agrees(
                runs["log_variance"][:, k].mean(1),
                target,
                within=budget(replicas(std / math.sqrt(setting.n_rows), runs.n, of=of)),
                of=of,
                twin=Twin.of("the scale by Fenton's law", predicted=rival),
            ).named(f"sigma^2 = {target:g}")
        )
    return all_of(*parts)


@paper.claim(
    "own_key",
    source="diluted interactions of near tokens; the formulas are derived here",
    statements=[7],
    kind="extrapolation",
    setting=OWN,
    parts=3,
    formula="p / (1 - p) = e^(sigma |q|^2 / sqrt d - v / 2) / (n - 1), and its counterpart for sums of exponentials",
    judged="mean weight of tokens on their own key against the law of their queries; spread over maps from other seeds",
    reads=("n", "dim", "spread", "scale", "block"),
    covers={
        "n": at_least(256, "the sum over other keys is replaced by its mean"),
        "scale": DECLARED,
        "spread": DECLARED,
    },
)
def own_key(setting: OwnKeySetting, lab: Lab) -> Verdict:
    """The weight of a token on its own key, where keys are queries, is known for softmax, sums of exponentials and the average.

    Twins: 5 % more; the form for wide heads; the average with blocks of half the length.
    """
    runs = lab.simulate(own_keys, setting)
    laws = _own(setting, runs["queries"])
    halved = _own(replace(setting, block=setting.block // 2), runs["queries"])["with_blocks"]
    # relative variances of the sums over other keys, to second order in 1 / (1 + S): p (1 - p)^2 of them
    near = math.expm1(setting.spread**2) / setting.block
    sums = theory.mean_relative_variance_exact(setting.dim, setting.scale) / setting.n
    dropped = {"softmax": near * setting.block / setting.n, "log_normal": sums, "with_blocks": near}
    parts, of = [], f"mean over replicas of {setting.n} draws"
    for name, law in laws.items():
        size = float(law.mean())
        second = dropped[name] * size * (1 - size) ** 2
        within = budget(
            replicas(OWN_STD[name] * 512 / setting.n, runs.n, of=of), finite_size(setting.n, second * setting.n, of="n")
        )
        twin = Twin.of("5 % more", predicted=1.05 * law)
        if name == "log_normal":
            wide = math.exp(setting.scale) / (math.exp(setting.scale) + setting.n - 1)
            twin = Twin.of("e^s : 1, as for wide heads", predicted=wide)
        if name == "with_blocks":
            twin = Twin.of("blocks of half the length", predicted=halved)
        parts.append(agrees(runs[name], law, within=within, of=of, twin=twin).named(name))
    return all_of(*parts)


@paper.claim(
    "blocks_undo_dilution",
    source="diluted interactions of near tokens",
    statements=[7],
    setting=OWN,
    parts=2,
    formula="linear log-normal < softmax / 10; with blocks > softmax / 2",
    judged="paired differences over maps of tokens whose keys are their queries, at the scale of the closed-form match",
    reads=("n", "dim", "spread", "scale", "block"),
    covers={"spread": DECLARED, "scale": DECLARED},
)
def blocks_undo_dilution(setting: OwnKeySetting, lab: Lab) -> Verdict:
    """Alone, linear log-normal attention leaves a token's own key under a tenth of its softmax weight; with blocks, over half.

    Twins: less than a hundredth; more than 0.9 of it.
    """
    runs = lab.simulate(own_keys, setting)
    soft = runs["softmax"]
    diluted = ordered(
        runs["log_normal"], soft / 10, twin=Twin.of("a hundredth", smaller=runs["log_normal"], larger=soft / 100)
    )
    undone = ordered(
        soft / 2, runs["with_blocks"], twin=Twin.of("0.9 of it", smaller=0.9 * soft, larger=runs["with_blocks"])
    )
    return all_of(diluted.named("alone"), undone.named("with blocks"))


def _own(setting: OwnKeySetting, queries: np.ndarray) -> dict[str, np.ndarray]:
    """Laws of the mean own weight per replica."""
    linear = theory.own_weight_of_log_normal_approx(queries, setting.n, setting.scale).mean(1)
    near = rows.own_weight_of_softmax_approx(queries, setting.block, setting.spread).mean(1)
    soft = rows.own_weight_of_softmax_approx(queries, setting.n, setting.spread).mean(1)
    return {"softmax": soft, "log_normal": linear, "with_blocks": (linear + near) / 2}


def _relative_variances(queries: np.ndarray, scale: float) -> np.ndarray:
    a = math.sqrt(scale)
    return np.array([[operator.relative_variance(query, a, a) for query in each] for each in queries])


def _third(dim: int, scale: float) -> float:
    """A typical third cumulant: that for queries at the quantiles of a normal law."""
    query = special.ndtri((np.arange(dim) + 0.5) / dim)
    return float(theory.log_cumulants_given_query_exact(math.sqrt(scale) * query, math.sqrt(scale))[..., 1])


def _of(setting: LogNormalRowSetting) -> str:
    return f"mean over replicas of {setting.n_rows * setting.n_keys} draws"


def _rows(std: float, setting: LogNormalRowSetting, n: int) -> Piece:
    return replicas(std / math.sqrt(setting.n_rows), n, of=_of(setting))
