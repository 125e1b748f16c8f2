"""Claims on outputs of subsets, their ensembles and normalisers, on unequal chances, and on blocks and paths."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, identical, relative, replicas
from attnlab.papers.information_pathways.paper import BLOCKS, COSTS, ENSEMBLES, LISTED, LOCAL, PEAK, ROWS, WIDE, paper
from attnlab.papers.lab.conditions import DECLARED, at_most, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.subsampling.blocks import BlockSetting, CostSetting, counts, reach
from attnlab.simulators.subsampling.subsets import (
    ListedSetting,
    LocalSetting,
    SubsetSetting,
    drawn,
    listed,
    local,
    local_row,
    row,
)
from attnlab.theory.subsampling import paths, ratios

REDUCTIONS = (2, 4, 8)
SPREADS = (0.5, 1.0)
MODERATE = {"spread": at_most(1.0, "the expansion is in (c - 1) e^(s^2) / n"), "data": DECLARED}
READS = ("n_keys", "n_values", "data")


def of_draws(n_draws: int) -> str:
    """What claims on drawn subsets speak of."""
    return f"mean over replicas of {n_draws} draws"


def kept(setting: SubsetSetting) -> int:
    """Keys of one subset."""
    return -(-setting.n_keys // setting.reduction)


def covariance(setting: SubsetSetting) -> np.ndarray:
    """Covariance between channels of one subset's output, first order."""
    p, v = row(setting)
    gap = p[:, None] * (v - p @ v)
    return ratios.subset_factors(len(p), kept(setting))[0] * len(p) * gap.T @ gap


@paper.claim(
    "variance_of_a_subset",
    source="section 3; derived here, first order",
    statements=[2],
    kind="extrapolation",
    setting=ROWS,
    parts=6,
    formula="Var = n (n - m) / ((n - 1) m) sum_j p_j^2 (v_j - o)^2",
    judged="variance over draws summed over channels, for c = 2, 4, 8 at spreads 1/2 and 1; its spread is that of normal outputs "
    "with the known covariance; the second order is a piece of the margin",
    reads=READS,
    covers=MODERATE,
)
def variance_of_a_subset(setting: SubsetSetting, lab: Lab) -> Verdict:
    """Outputs of uniform subsets scatter by the law of a ratio of sums over m of n keys. Twin: keys drawn with replacement."""
    parts, of = [], of_draws(setting.n_draws)
    cells = [replace(setting, reduction=c, spread=s) for s in SPREADS for c in REDUCTIONS]
    for at, runs in zip(cells, lab.simulate(drawn, *cells), strict=True):
        p, v = row(at)
        first, second = (ratios.output_moments_approx(p, v, kept(at), order)[1].sum() for order in (1, 2))
        std = math.sqrt(2 * float(np.square(covariance(at)).sum()) / at.n_draws)
        within = budget(
            replicas(std, runs.n, of=of),
            relative(abs(second / first - 1), first, "second order"),
            relative(ratios.third_order_bound(p, v, kept(at))[1], first, "third"),
        )
        again = at.n_keys / kept(at) * (p**2) @ np.square(v - p @ v).sum(1)
        verdict = agrees(
            runs["variance"].sum(1), first, within=within, of=of, twin=Twin.of("with replacement", predicted=again)
        )
        parts.append(verdict.named(f"s = {at.spread:g}, c = {at.reduction}"))
    return all_of(*parts)


@paper.claim(
    "second_order",
    source="derived here",
    statements=[2, 5],
    kind="extrapolation",
    setting=LISTED,
    parts=4,
    formula="bias = -E A e + E A e^2 - E A e^3, Var = E A^2 - 2 E A^2 e + 3 E A^2 e^2 - (E A e)^2, moments of means of m of n "
    "numbers",
    judged="all subsets of each data set, for c = 2 and 3: bias along b = sum_j p_j^2 (v_j - o), in units of |b|, and variance "
    "summed over channels, in units of sum_j p_j^2 |v_j - o|^2; what is left is bounded by products of lower moments",
    reads=("n_keys", "reduction"),
    covers={"spread": at_most(0.2, "what is left is below half of the second order there")},
)
def second_order(setting: ListedSetting, lab: Lab) -> Verdict:
    """Bias and variance of the output of a subset are known to second order, listed over all subsets. Twin: first order."""
    parts = []
    both = [replace(setting, reduction=c) for c in (2, 3)]
    for at, runs in zip(both, lab.simulate(listed, *both), strict=True):
        m, bias, variance, left = at.n_keys // at.reduction, [], [], np.zeros(2)
        for k in range(runs.n):
            p, v = runs["weights"][k], runs["values"][k]
            first, second = (ratios.output_moments_approx(p, v, m, order) for order in (1, 2))
            apart = v - p @ v
            b, spread = p**2 @ apart, (p**2 @ apart**2).sum()
            bias.append([x @ b / (b @ b) for x in (runs["bias"][k], second[0], first[0])])
            variance.append([x.sum() / spread for x in (runs["variance"][k], second[1], first[1])])
            left = np.maximum(left, ratios.third_order_bound(p, v, m))
        for name, triples, size in (("bias", bias, left[0]), ("variance", variance, left[1])):
            measured, law, rival = np.array(triples).T
            verdict = agrees(
                measured,
                law,
                within=budget(relative(float(size), float(np.abs(law).min()), "third order")),
                of="every replica",
                unit="data set",
                twin=Twin.of("first order", predicted=rival),
            )
            parts.append(verdict.named(f"{name}, c = {at.reduction}"))
    return all_of(*parts)


@paper.claim(
    "ensembles_keep_the_bias",
    source="section 3.4; derived here",
    statements=[5],
    kind="extrapolation",
    setting=ENSEMBLES,
    parts=4,
    formula="E|mean of R - o|^2 = |bias|^2 + tr Var / R",
    judged="mean squared distance from the dense output for averages of 1, 4, 256, 1024 subsets; spread of a squared normal "
    "vector",
    reads=(*READS, "reduction", "ensembles"),
    covers={**MODERATE, "reduction": that(lambda c: c >= 8, ">= 8", "the bias shows there")},
)
def ensembles_keep_the_bias(setting: SubsetSetting, lab: Lab) -> Verdict:
    """Averages over subsets converge to a flatter attention and not to the dense output: the bias stays.

    Twins: keys with replacement for up to 4 subsets; without the bias from 256 on.
    """
    runs, (p, v), of, parts = lab.simulate(drawn, setting), row(setting), of_draws(setting.n_draws), []
    bias, variance = ratios.output_moments_approx(p, v, kept(setting))
    C, left = covariance(setting), ratios.third_order_bound(p, v, kept(setting))[1]
    for k, R in enumerate(setting.ensembles):
        law = ratios.ensemble_error_approx(p, v, kept(setting), R)
        rival = law * setting.n_keys / (setting.n_keys - kept(setting)) if R <= 4 else variance.sum() / R
        std = math.sqrt((2 * np.square(C / R).sum() + 4 * bias @ (C / R) @ bias) / (setting.n_draws // R))
        within = budget(replicas(std, runs.n, of=of), relative(left, law, "third order"))
        label = "with replacement" if R <= 4 else "no bias"
        verdict = agrees(runs["error"][:, k], law, within=within, of=of, twin=Twin.of(label, predicted=rival))
        parts.append(verdict.named(f"R = {R}"))
    return all_of(*parts)


@paper.claim(
    "a_peak_is_lost",
    source="section 3; derived here",
    statements=[2],
    kind="extrapolation",
    setting=PEAK,
    parts=2,
    formula="P(the key of largest weight is in the subset) = m/n = 1/c",
    judged="share of draws that hold it, for c = 2 and 4; binomial spread",
    reads=("n_keys",),
)
def a_peak_is_lost(setting: SubsetSetting, lab: Lab) -> Verdict:
    """A subset keeps the key that a peaked head needs with chance 1/c, whatever its weight. Twin: 1 - (1 - 1/n)^m."""
    parts, of, cells = [], of_draws(setting.n_draws), [replace(setting, reduction=c) for c in (2, 4)]
    for at, runs in zip(cells, lab.simulate(drawn, *cells), strict=True):
        law, n = kept(at) / at.n_keys, at.n_keys
        within = budget(replicas(math.sqrt(law * (1 - law) / at.n_draws), runs.n, of=of))
        twin = Twin.of("with replacement", predicted=1 - (1 - 1 / n) ** kept(at))
        parts.append(agrees(runs["kept"], law, within=within, of=of, twin=twin).named(f"c = {at.reduction}"))
    return all_of(*parts)


@paper.claim(
    "dense_rows_have_a_larger_normaliser",
    source="section 3.3; derived here",
    statements=[4],
    kind="extrapolation",
    setting=WIDE,
    parts=2,
    formula="E(ln Z - ln Z_J) = ln c + V/2 - S/3 + 3 V^2 / 4, V and S second and third moments of Z_J / E Z_J",
    judged="mean difference for c = 8 and 16; spread sqrt(V) of the logarithm; left out is 5 V^3 / 2",
    reads=("n_keys", "data"),
    covers=MODERATE,
)
def dense_rows_have_a_larger_normaliser(setting: SubsetSetting, lab: Lab) -> Verdict:
    """A model trained on subsets sees, with all keys, a log-normaliser larger by ln c and half its variance. Twin: ln c alone."""
    parts, of, cells = [], of_draws(setting.n_draws), [replace(setting, reduction=c) for c in (8, 16)]
    for at, runs in zip(cells, lab.simulate(drawn, *cells), strict=True):
        p, _ = row(at)
        V = ratios.normaliser_variance_exact(p, kept(at))
        within = budget(replicas(math.sqrt(V / at.n_draws), runs.n, of=of), relative(2.5 * V**3, 1.0, "sixth moments"))
        verdict = agrees(
            runs["shift"],
            ratios.log_normaliser_shift_approx(p, kept(at)),
            within=within,
            of=of,
            twin=Twin.of("ln c", predicted=math.log(at.n_keys / kept(at))),
        )
        parts.append(verdict.named(f"c = {at.reduction}"))
    return all_of(*parts)


@paper.claim(
    "near_keys_change_the_target",
    source="section 3.2, locally biased scheme; derived here",
    statements=[3],
    kind="extrapolation",
    setting=LOCAL,
    parts=2,
    formula="o -> sum p pi v / sum p pi; with -ln pi added to the scores it is the dense output, plus a bias of first order",
    judged="mean output over draws, chances that fall with the distance; spread from the first-order variance, left out is 5 % "
    "of the bias",
    reads=("n_keys", "decay", "floor", "spread", "data"),
    covers={"spread": at_most(1.0), "data": DECLARED},
)
def near_keys_change_the_target(setting: LocalSetting, lab: Lab) -> Verdict:
    """Unequal chances change what attention tends to, and -ln pi undoes that. Twins: the dense output; no bias of first order."""
    runs, (p, v, pi), of, parts = lab.simulate(local, setting), local_row(setting), of_draws(setting.n_draws), []
    for name in ("plain", "corrected"):
        target = float(ratios.unequal_target_exact(p, v, pi, name == "corrected")[0])
        bias, variance = (float(x[0]) for x in ratios.unequal_moments_approx(p, v, pi, name == "corrected"))
        within = budget(
            replicas(math.sqrt(variance / setting.n_draws), runs.n, of=of), relative(0.05, bias, "second order")
        )
        rival = float((p @ v)[0]) if name == "plain" else target
        twin = Twin.of("dense" if name == "plain" else "no bias", predicted=rival)
        parts.append(agrees(runs[name], target + bias, within=within, of=of, twin=twin).named(name))
    return all_of(*parts)


@paper.claim(
    "cost_falls_by_c",
    source="section 3.1",
    statements=[2, 3],
    setting=COSTS,
    parts=2,
    formula="n^2 (d + d_v) / c multiply-adds of products in c equal blocks; output that of softmax masked to the blocks",
    judged="products counted by torch, equal in every cell; outputs within 1e-12",
    reads=("cells",),
)
def cost_falls_by_c(setting: CostSetting, lab: Lab) -> Verdict:
    """Permuted tokens in c equal blocks need 1/c of the products of dense attention.

    Twins: the dense number; a difference of 1e-10.
    """
    runs = lab.simulate(counts, setting)
    law = np.array([[paths.block_multiply_adds(*cell) for cell in setting.cells]] * runs.n)
    dense = np.array([[paths.block_multiply_adds(*cell[:3], 1) for cell in setting.cells]] * runs.n)
    same = agrees(
        runs["difference"].ravel(),
        0.0,
        within=1e-12,
        of="every replica",
        unit="cell",
        twin=Twin.of("1e-10", predicted=1e-10),
    )
    return all_of(
        identical(runs["multiply_adds"], law, twin=Twin.of("dense", b=dense)).named("products"), same.named("output")
    )


@paper.claim(
    "one_layer_shares_blocks",
    source="section 3.2",
    statements=[3],
    kind="extrapolation",
    setting=BLOCKS,
    parts=2,
    formula="pairs of tokens in one block (w - 1)/(n - 1); with one permutation for all layers the reach stays 1/c",
    judged="shares of pairs, without randomness, within 1000 roundings",
    reads=("n_tokens", "n_blocks"),
)
def one_layer_shares_blocks(setting: BlockSetting, lab: Lab) -> Verdict:
    """Two tokens share a block with chance (w - 1)/(n - 1), and layers with one permutation connect nothing more.

    Twins: 1/c; two draws.
    """
    runs = lab.simulate(reach, setting)
    law = np.full(runs.n, paths.shared_block_exact(setting.n_tokens, setting.n_blocks))
    stays = np.full(runs.n, 1 / setting.n_blocks)
    return all_of(
        identical(runs["shared"], law, rounding=1000, twin=Twin.of("1/c", b=stays)).named("one layer"),
        identical(runs["same"], stays, rounding=1000, twin=Twin.of("two permutations", b=runs["reach"][:, 1])).named(
            "one permutation"
        ),
    )


@paper.claim(
    "two_layers_reach",
    source="corrects 1 - (1 - 1/c)^w; derived here",
    statements=[1, 3],
    kind="extrapolation",
    setting=BLOCKS,
    formula="1 - C(n - w, w) / C(n, w)",
    judged="share of pairs connected by two layers; its spread is that of c^2 pairs of blocks that meet or not, taken as "
    "independent",
    reads=("n_tokens", "n_blocks"),
)
def two_layers_reach(setting: BlockSetting, lab: Lab) -> Verdict:
    """Two layers of random blocks connect a share of pairs known exactly. Twin: the form that takes tokens as independent."""
    runs, of, sizes = lab.simulate(reach, setting), of_draws(setting.n_draws), (setting.n_tokens, setting.n_blocks)
    law = paths.two_layer_reach_exact(*sizes)
    std = math.sqrt(law * (1 - law)) / setting.n_blocks / math.sqrt(setting.n_draws)
    return agrees(
        runs["reach"][:, 1],
        law,
        within=budget(replicas(std, runs.n, of=of)),
        of=of,
        twin=Twin.of("independent tokens", predicted=paths.two_layer_reach_approx(*sizes)),
    )


@paper.claim(
    "paths_are_counted",
    source="section 2; derived here",
    statements=[1],
    kind="extrapolation",
    setting=BLOCKS,
    parts=2,
    formula="paths of l edges per pair w^l / n = n^(l-1) c^(-l); to oneself (w^l + (n - 1)(1 - q)^l) / n, q = (w - 1)/(n - 1)",
    judged="paths through all layers: per pair without randomness, within 1000 roundings; to oneself by the mean over draws, "
    "whose spread "
    "is that of the number of tokens met again, taken as Poisson",
    reads=("n_tokens", "n_blocks", "n_layers"),
    covers={"n_layers": that(lambda x: x == 3, "3", "the spread is that of two changes of blocks")},
)
def paths_are_counted(setting: BlockSetting, lab: Lab) -> Verdict:
    """Random blocks keep a share c^(-l) of the n^(l-1) paths between two tokens, and more of those back to oneself. Twins:
    c^(1-l); as many back as to another token."""
    runs, of = lab.simulate(reach, setting), of_draws(setting.n_draws)
    sizes = setting.n_tokens, setting.n_blocks, setting.n_layers
    per_pair, oneself = paths.paths_exact(*sizes), paths.paths_to_oneself_exact(*sizes)
    pairs = identical(
        runs["paths"],
        np.full(runs.n, per_pair),
        rounding=1000,
        twin=Twin.of("c^(1 - l)", b=np.full(runs.n, per_pair * setting.n_blocks)),
    )
    std = math.sqrt(oneself * setting.n_tokens) / setting.n_tokens / math.sqrt(setting.n_draws)
    closed = agrees(
        runs["closed"],
        oneself,
        within=budget(replicas(std, runs.n, of=of)),
        of=of,
        twin=Twin.of("as to others", predicted=per_pair),
    )
    return all_of(pairs.named("per pair"), closed.named("to oneself"))
