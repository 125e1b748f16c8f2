"""Claims on the hardness of Gaussian maps, sampled sums and products, hashed blocks, and the causal split."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import torch

from attnlab.analysis import (
    Twin,
    Verdict,
    agrees,
    all_of,
    bounded,
    budget,
    exhaustive,
    exponent,
    finite_size,
    for_all,
    identical,
    ordered,
    relative,
    replicas,
)
from attnlab.analysis.theorems.statement.domains import Matrix
from attnlab.kernels.operators.operator import Sizes
from attnlab.papers.hyperattention.paper import (
    CAUSAL,
    COPIES,
    EXTREMES,
    FLAT,
    MAPS,
    PLANTED,
    ROOT,
    SAMPLES,
    SEARCHES,
    SearchSetting,
    paper,
)
from attnlab.papers.lab.conditions import DECLARED, at_least, one_of, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.hashing.sampled_attention import (
    CausalSetting,
    ErrorSetting,
    IdentitySetting,
    MapSetting,
    SampleSetting,
    errors,
    extreme_sums,
    hardness,
    identity,
    recursion,
    sample_data,
    sums_and_products,
)
from attnlab.theory.hashing import hyper_attention as theory
from attnlab.theory.hashing import sampling

#: Standard deviations over maps of 1,024 tokens of dim 8, by spread: 32 maps, children of np.random.SeedSequence(1). More tokens
#: hardly lower them, as the longest query grows.
MEAN_STD = {0.25: 0.0015, 0.5: 0.0081, 0.75: 0.037}
#: Relative, of two rows over 16,384 tokens: 200 maps, children of np.random.SeedSequence(2). For many keys its square is what
#: ``row_sum_variance_limit`` gives for one sample of each key, the sum of both rows: 0.0044, 0.0109, 0.0253.
SUMS_STD = {0.25: 0.0046, 0.5: 0.0113, 0.75: 0.0248}
#: Of the slope of an error over 32 to 256 samples, sum of squares 5 in log2: 4 maps of diffuse data, same seeds.
SLOPE_STD = 0.058
#: Relative, of a variance or a mean squared error over 1,000 draws: 512 replicas, children of np.random.SeedSequence(2).
ROW_STD, PRODUCT_STD = 0.044, {"by_norm": 0.065, "uniform": 0.033}
GAUSSIAN = {"n_tokens": at_least(1024), "spreads": DECLARED, "dim": one_of(8, why="spreads over maps are known there")}
EPSILON = 0.5


@paper.for_all(
    "alpha_is_at_least_one",
    source="section 2",
    statements=[2],
    setting=SEARCHES,
    formula="n max_j |P e_j|^2 >= 1, as n |P|_F^2 >= n for rows that sum to one",
)
def alpha_is_at_least_one(setting: SearchSetting):
    """The largest column weight alpha is at least 1 for every map, and 1 for uniform attention. Twin: at least 1.05."""
    return {
        "searched": for_all(s=Matrix(4, 4, low=-3.0, high=3.0)).bound(
            lambda s: 1 - 4 * torch.softmax(s, -1).square().sum(0).max(),
            at_most=0.0,
            twin=Twin.of("1.05", at_most=-0.05),
        )
    }


@paper.claim(
    "mean_column_weight",
    source="closed form for Gaussian tokens, derived here",
    statements=[2],
    kind="extrapolation",
    setting=MAPS,
    parts=3,
    formula="mean over j of n |P e_j|^2 = (1 - 2 s^2 / d)^(-d/2), s the spread of scores",
    judged="mean over maps; spread from other seeds; the term of order 1/n by the delta method, 3 (E_2 - E_1) - 2 (E_3 - E_1) "
    "with "
    "E_k = (1 - 2 k s^2 / d)^(-d/2)",
    reads=("n_tokens", "dim", "spreads"),
    covers=GAUSSIAN,
)
def mean_column_weight(setting: MapSetting, lab: Lab) -> Verdict:
    """The mean column weight of a Gaussian map depends on the width of the head.

    Twins: e^(s^2) at the widest; a tenth more excess.
    """
    runs, parts = lab.simulate(hardness, setting), []
    for k, s in enumerate(setting.spreads):
        E = [0.0, *(sampling.mean_column_weight_exact_limit(i * s**2, setting.dim) for i in (1, 2, 3))]
        dropped = 3 * (E[2] - E[1]) - 2 * (E[3] - E[1])
        within = budget(replicas(MEAN_STD[s], runs.n), finite_size(setting.n_tokens, dropped, of="n"))
        rival = math.exp(s**2) if s == max(setting.spreads) else 1 + 1.1 * (E[1] - 1)
        verdict = agrees(
            runs["mean"][:, k], E[1], within=within, twin=Twin.of("e^(s^2) or a tenth more", predicted=rival)
        )
        parts.append(verdict.named(f"s = {s:g}"))
    return all_of(*parts)


@paper.claim(
    "row_sums_spread_by_length",
    source="closed form for Gaussian tokens, derived here",
    statements=[2],
    kind="extrapolation",
    setting=EXTREMES,
    parts=3,
    formula="row sum of the longest over that of the shortest query e^(b (|q|_max^2 - |q|_min^2) / 2)",
    judged="logarithm of the ratio over that for the map's own queries, mean over maps; spread from other seeds, half its square "
    "for the logarithm of a mean",
    reads=("spreads", "dim"),
    covers=GAUSSIAN | {"n_tokens": at_least(16 * 1024, why="spreads over maps are known there")},
)
def row_sums_spread_by_length(setting: MapSetting, lab: Lab) -> Verdict:
    """Row sums of Gaussian maps differ by the lengths of queries, and kappa with them. Twin: an exponent larger by a tenth."""
    runs, parts = lab.simulate(extreme_sums, setting), []
    for k, s in enumerate(setting.spreads):
        std = float(runs["rate"][0, k])
        law = np.log([theory.kappa_limit(*ends, std) for ends in runs["queries"][:, k]])
        within = budget(replicas(SUMS_STD[s], runs.n), relative(SUMS_STD[s] ** 2 / 2, 1.0, "logarithm of a mean"))
        twin = Twin.of("a tenth more", predicted=1.1 * law)
        parts.append(agrees(np.log(runs["sums"][:, k]), law, within=within, scale=1.0, twin=twin).named(f"s = {s:g}"))
    return all_of(*parts)


@paper.claim(
    "variance_of_a_sampled_row_sum",
    source="section 3.1; derived here",
    statements=[3],
    kind="extrapolation",
    setting=SAMPLES,
    formula="(n sum_j P_ij^2 - 1) / m",
    judged="variance over draws of the estimate over the sum, row 0; spread from other seeds",
    reads=("n_tokens", "dim", "spread", "n_samples", "data"),
    covers={"n_draws": that(lambda n: n >= 1000, ">= 1000", "the spread is known there")},
)
def variance_of_a_sampled_row_sum(setting: SampleSetting, lab: Lab) -> Verdict:
    """A row sum estimated from m uniform keys has an exact variance. Twin: keys drawn without replacement."""
    runs, of = lab.simulate(sums_and_products, setting), f"mean over replicas of {setting.n_draws} draws"
    A, n = sample_data(setting)[0], setting.n_tokens
    law = float(theory.row_sum_variance_exact(A[0] / A[0].sum(), setting.n_samples))
    return agrees(
        runs["row"],
        law,
        within=budget(replicas(ROW_STD * law, runs.n, of=of)),
        of=of,
        twin=Twin.of("without replacement", predicted=law * (n - setting.n_samples) / (n - 1)),
    )


@paper.claim(
    "error_of_a_sampled_product",
    source="section 3.2; derived here",
    statements=[4],
    kind="extrapolation",
    setting=SAMPLES,
    parts=2,
    formula="E|P S^T S V - P V|_F^2 = (sum_j |P e_j|^2 |v_j|^2 / pi_j - |P V|_F^2) / m",
    judged="mean squared error over draws, rows by squared length and uniform; spread from other seeds",
    reads=("n_tokens", "dim", "spread", "n_values", "n_samples", "data"),
    covers={"n_draws": that(lambda n: n >= 1000, ">= 1000", "the spread is known there"), "data": DECLARED},
)
def error_of_a_sampled_product(setting: SampleSetting, lab: Lab) -> Verdict:
    """Products over sampled rows of V have an exact mean squared error for any chances. Twins: each way's law for the other."""
    runs, of = lab.simulate(sums_and_products, setting), f"mean over replicas of {setting.n_draws} draws"
    A, V = sample_data(setting)
    P, size = A / A.sum(1, keepdims=True), np.square(V).sum(1)
    chances = {"by_norm": size / size.sum(), "uniform": np.full(len(V), 1 / len(V))}
    laws = {name: sampling.sampled_product_error_exact(P, V, setting.n_samples, pi) for name, pi in chances.items()}
    parts = []
    for name, other in (("by_norm", "uniform"), ("uniform", "by_norm")):
        within = budget(replicas(PRODUCT_STD[name] * laws[name], runs.n, of=of))
        twin = Twin.of(other, predicted=laws[other])
        parts.append(agrees(runs[name], laws[name], within=within, of=of, twin=twin).named(name))
    return all_of(*parts)


@paper.claim(
    "published_samples_suffice",
    source="theorem on the diagonal estimate, with constant 1",
    statements=[3],
    setting=FLAT,
    formula="m = kappa^7 alpha^2 eps^-6 ln n gives max_i |D_ii / D~_ii - 1| <= eps / 2, which bounds the spectral norm",
    judged="largest relative error of a row sum, mean over draws, at eps = 1/2, without a mask and without the cap",
    reads=("n_tokens", "dim", "spread", "data"),
    covers={"spread": that(lambda s: s <= 0.3, "<= 0.3", "beyond, the number asked for exceeds what can be drawn")},
)
def published_samples_suffice(setting: SampleSetting, lab: Lab) -> Verdict:
    """The published number of column samples is enough for row sums, with room to spare. Twin: errors of eps / 50."""
    A, _ = sample_data(setting)
    P, sums = A / A.sum(1, keepdims=True), A.sum(1)
    alpha, kappa = len(P) * np.square(P).sum(0).max(), sums.max() / sums.min()
    m = sampling.published_samples(float(alpha), float(kappa), EPSILON, len(P))
    runs = lab.simulate(sums_and_products, replace(setting, n_samples=m))
    return bounded(runs["diagonal"], EPSILON / 2, twin=Twin.of("eps / 50", bound=EPSILON / 50))


@paper.claim(
    "published_rows_suffice",
    source="lemma on sampled products as the sheet states it, with constant 1",
    statements=[4],
    kind="extrapolation",
    expected="REFUTED",
    setting=COPIES,
    formula="m = eps^-2 d srank(V) gives |P S^T S V - P V|_op <= eps |P|_op |V|_op for every P",
    judged="spectral error over |V|_op where attention copies tokens, P = I, n > d^2",
    note="An error of eps sqrt(n) / d is what the mean of the squared error gives there: see copies_need_more_rows. alpha is n "
    "then, and the "
    "paper's main theorem does not speak of such maps.",
    reads=("n_tokens", "n_values"),
    covers={"n_tokens": that(lambda n: n >= 256, ">= 256")},
)
def published_rows_suffice(setting: IdentitySetting, lab: Lab) -> Verdict:
    """That number of rows is enough for every map. Twin: errors of eps / 2."""
    m = sampling.published_rows(EPSILON, setting.n_values, setting.n_values)
    runs = lab.simulate(identity, replace(setting, n_samples=m))
    return bounded(runs["error"], EPSILON, twin=Twin.of("eps / 2", bound=EPSILON / 2))


@paper.claim(
    "copies_need_more_rows",
    source="corrects the lemma on sampled products; derived here",
    statements=[4],
    kind="extrapolation",
    setting=COPIES,
    formula="|S^T S V - V|_op >= |.|_F / sqrt(d), E|.|_F^2 = (n - 1) |V|_F^2 / m",
    judged="spectral error over |V|_op against 0.9 of the root mean square law; the mean of a root is below it by 1/8 of the "
    "relative "
    "variance of the square, itself below 2 / m for distinct rows",
    reads=("n_tokens", "n_values", "n_samples"),
    covers={"n_tokens": that(lambda n: n >= 256, ">= 256")},
)
def copies_need_more_rows(setting: IdentitySetting, lab: Lab) -> Verdict:
    """Where attention copies tokens, the error of m sampled rows is at least sqrt(n srank / (m d)) |V|_op. Twin: twice that."""
    runs = lab.simulate(identity, setting)
    law = np.sqrt((setting.n_tokens - 1) * runs["stable_rank"] / (setting.n_samples * setting.n_values))
    return bounded(runs["error"], 0.9 * law, side="below", twin=Twin.of("twice", bound=1.8 * law))


@paper.claim(
    "error_falls_like_a_root",
    source="section 3; rate of sampling",
    statements=[1],
    setting=ROOT,
    undecided_at_smoke="the slope needs 96 maps",
    formula="|Att - O~|_op ~ m^(-1/2) at fixed blocks",
    judged="slope over m = 64 to 2048, Gaussian tokens; spread from other seeds; the ratio's first correction 3 (e^(s^2) - 1) / "
    "m over the "
    "logarithm of the range",
    reads=("numbers", "spread"),
    covers={"data": one_of("diffuse"), "spread": one_of(1.0)},
)
def error_falls_like_a_root(setting: ErrorSetting, lab: Lab) -> Verdict:
    """With small alpha the spectral error falls like the inverse root of the number of samples. Twin: exponent -0.4."""
    runs, m = lab.simulate(errors, setting), np.array(setting.numbers, dtype=float)
    bend = 3 * math.expm1(setting.spread**2) / (2 * math.log(m[-1] / m[0]))
    u = np.log2(m) - np.log2(m).mean()
    within = budget(replicas(SLOPE_STD * math.sqrt(5 / float(u @ u)), runs.n), finite_size(float(m[0]), bend, of="m"))
    return exponent(m, runs["spectral"], -0.5, within=within, twin=-0.4)


@paper.claim(
    "missed_neighbours_keep_the_error",
    source="section 4; derived here",
    statements=[1, 2],
    kind="extrapolation",
    setting=PLANTED,
    parts=2,
    formula="slope of the error flatter than for diffuse data; row sums outside blocks spread more than all row sums",
    judged="difference of slopes over maps, planted neighbours with hashed blocks less diffuse tokens; paired kappa with and "
    "without mask",
    reads=("numbers",),
    covers={"data": one_of("planted"), "blocks": one_of("hashed")},
)
def missed_neighbours_keep_the_error(setting: ErrorSetting, lab: Lab) -> Verdict:
    """Blocks catch only some planted neighbours: then more samples help less, and the mask raises kappa instead of lowering it.

    Twins: no fall at all; kappa larger by 5.
    """
    planted, diffuse = lab.simulate(errors, setting, replace(setting, data="diffuse"))
    u = np.log(setting.numbers) - np.log(setting.numbers).mean()
    slopes = [np.log(runs["spectral"]) @ u / (u @ u) for runs in (diffuse, planted)]
    flatter = ordered(*slopes, twin=Twin.of("no fall", by=0.5))
    raised = ordered(planted["kappa"], planted["masked_kappa"], twin=Twin.of("by 5", by=5.0))
    return all_of(flatter.named("slope"), raised.named("kappa"))


@paper.claim(
    "blocks_catch_by_few_bits",
    source="section 3.3; derived here",
    statements=[6],
    kind="extrapolation",
    setting=PLANTED,
    parts=2,
    formula="(1 - theta/pi)^bits < P(own key in the block) < (1 - theta/pi)^(log2(n/b)), tan theta = noise / signal",
    judged="share of queries whose own key is in their block, mean over maps",
    reads=("n_tokens", "block", "bits", "signal", "noise"),
    covers={"data": one_of("planted"), "blocks": one_of("hashed")},
)
def blocks_catch_by_few_bits(setting: ErrorSetting, lab: Lab) -> Verdict:
    """Sorted blocks catch more neighbours than share all bits of the code, and fewer than share those that tell blocks apart.

    Twins: each bound as the other's.
    """
    runs, angle = lab.simulate(errors, setting), math.atan(setting.noise / setting.signal)
    most = sampling.caught_limit(angle, setting.n_tokens, setting.block)
    least = (1 - angle / math.pi) ** setting.bits
    above = bounded(runs["caught"], least, side="below", twin=Twin.of("as many as few bits", bound=most))
    below = bounded(runs["caught"], most, twin=Twin.of("as few as all bits", bound=least))
    return all_of(above.named("above"), below.named("below"))


@paper.claim(
    "hashes_catch_mass",
    source="section 3.3",
    statements=[6],
    setting=PLANTED,
    formula="attention mass inside hashed blocks > inside blocks in order",
    judged="difference over maps with planted neighbours",
    reads=("n_tokens", "block"),
    covers={"data": one_of("planted"), "blocks": one_of("hashed")},
)
def hashes_catch_mass(setting: ErrorSetting, lab: Lab) -> Verdict:
    """Blocks of sorted hashes hold more attention than blocks in the given order.

    Twin: more by the whole weight of planted keys.
    """
    hashed, given = lab.simulate(errors, setting, replace(setting, blocks="in order"))
    return ordered(
        given["mass"], hashed["mass"], twin=Twin.of("all planted weight", by=float(hashed["planted"].mean()))
    )


@paper.claim(
    "gray_codes_differ_by_one_bit",
    source="section 3.3",
    statements=[6],
    setting=SEARCHES,
    formula="codes in the order of prefix sums modulo 2: neighbours differ in one bit",
    judged="all codes of 1 to 10 bits",
    reads=("bits",),
)
def gray_codes_differ_by_one_bit(setting: SearchSetting, lab: Lab) -> Verdict:
    """Sorted as Gray codes, consecutive buckets differ by one hyperplane. Twin: sorted as binary numbers."""

    def neighbours(gray: bool) -> list[tuple[int, int]]:
        found = []
        for width in range(2, setting.bits + 1):
            codes = np.arange(2**width)
            bits = codes[:, None] >> np.arange(width - 1, -1, -1) & 1
            order = codes[np.argsort(sampling.gray_rank(bits))] if gray else codes
            found += [(int(a), int(b)) for a, b in itertools.pairwise(order)]
        return found

    def one_bit(pair: tuple[int, int]) -> bool:
        return (pair[0] ^ pair[1]).bit_count() == 1

    return exhaustive(neighbours(True), one_bit, unit="pair", twin=Twin.of("binary", cases=neighbours(False)))


@paper.claim(
    "causal_split",
    source="algorithm 4",
    statements=[7],
    kind="construction",
    setting=CAUSAL,
    parts=2,
    formula="two causal halves and the square of the second on the first, merged by log-normalisers; blocks and samples merged "
    "likewise",
    judged="outputs against dense causal attention and against the operator's matrix, within 64 n roundings",
)
def causal_split(setting: CausalSetting, lab: Lab) -> Verdict:
    """A causal map is two causal halves and an unmasked square, merged exactly; so are blocks and samples.

    Twins: without squares; dense.
    """
    runs = lab.simulate(recursion, setting)
    rounding = 64 * setting.n_tokens
    return all_of(
        identical(runs["split"], runs["dense"], rounding=rounding, twin=Twin.of("no squares", a=runs["halves"])).named(
            "causal"
        ),
        identical(runs["merged"], runs["operator"], rounding=rounding, twin=Twin.of("dense", b=runs["dense"])).named(
            "blocks and samples"
        ),
    )


@paper.claim(
    "cost_is_linear",
    source="section 3, total time",
    statements=[5],
    kind="identity",
    setting=SEARCHES,
    formula="multiply-adds n (2 r d + (b + m) (d + d_v)) at fixed block b, samples m and bits r",
    judged="the operator's cost model at n = 256 to 4096 against the formula, exactly",
    note="alpha and kappa say how large m has to be; the count is for a given m.",
    reads=("bits",),
)
def cost_is_linear(setting: SearchSetting, lab: Lab) -> Verdict:
    """At fixed block, samples and bits the products are linear in the length. Twin: the dense n^2 (d + d_v)."""
    lengths, d, b, m, r = np.array([256, 1024, 4096]), 32, 64, 64, setting.bits
    counted = np.array([theory.multiply_adds(Sizes(n=int(n), d=d, d_v=d), block=b, samples=m, bits=r) for n in lengths])
    return identical(counted, lengths * (2 * r * d + (b + m) * 2 * d), twin=Twin.of("dense", b=lengths**2 * 2 * d))
