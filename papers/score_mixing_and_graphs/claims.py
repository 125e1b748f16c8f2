"""Claims on kernels of scores, edge scores and copies."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, finite_size, identical, replicas, sampling
from attnlab.papers.lab.conditions import at_least, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.score_mixing_and_graphs.paper import BLOCKS, CLASSES, COPIES, KERNELS, paper
from attnlab.simulators.score_mixing.mixing import (
    BlockSetting,
    ClassSetting,
    CopySetting,
    KernelSetting,
    blocks,
    classes,
    copies,
    kernels,
)
from attnlab.theory.score_mixing import edge_scores, graph_isomorphic, multi_token

#: Distances and widths of classes beside the setting's; draws of the law of matches.
CELLS, DRAWS = ((2.0, 8), (2.0, 32)), 400_000


@paper.claim(
    "kernels_multiply_ranks",
    source="equation 5 of Golovneva et al.; the rank is derived",
    statements=[1],
    setting=KERNELS,
    parts=2,
    kind="extrapolation",
    reads=("width", "ranks"),
    covers={"n_tokens": at_least(50, "the kernels' borders must leave more tokens than the ranks")},
    formula="rank(kappa * S) = min(n, d rank(kappa)); kappa = u v^T: (conv_u Q)(conv_v K)^T",
    judged="singular values above 10^-9 of the largest, exactly; products equal within 10^4 roundings of the largest",
)
def kernels_multiply_ranks(setting: KernelSetting, lab: Lab) -> Verdict:
    """A kernel of rank r on scores is a head of r d channels of short convolutions: rank 1 is localized filtering.

    Twins: d + rank - 1; scores without a kernel.
    """
    runs, n, d = lab.simulate(kernels, setting), setting.n_tokens - 12, setting.width
    law = np.array([[multi_token.mixed_rank(n, d, kappa) for kappa in each] for each in runs["kernel"]], float)
    added = np.tile([float(d + r - 1) for r in setting.ranks], (runs.n, 1))
    return all_of(
        identical(runs["rank"].astype(float), law, rounding=0, twin=Twin.of("added", b=added)).named("ranks"),
        identical(runs["mixed"], runs["prepared"], rounding=1e4, twin=Twin.of("no kernel", b=runs["plain"])).named(
            "rank one"
        ),
    )


@paper.claim(
    "kernels_heat_scores",
    source="equation 5 of Golovneva et al.; the variance is derived",
    statements=[2],
    setting=KERNELS,
    kind="extrapolation",
    formula="variance after over before = |kappa|_F^2",
    judged="mean over replicas of the logarithm of the ratio, each against its own kernel's; mean squares of N correlated "
    "scores, relative spread .0067 in 32 runs at another seed",
)
def kernels_heat_scores(setting: KernelSetting, lab: Lab) -> Verdict:
    """A kernel changes the temperature by its norm: scores grow by |kappa|_F^2 in variance.

    Twin: the sum of absolute values squared over its 66 entries, as if all were alike.
    """
    runs = lab.simulate(kernels, setting)
    last = runs["kernel"][:, -1]
    law = np.array([multi_token.variance_gain(kappa) for kappa in last])
    alike = np.array([np.abs(kappa).sum() ** 2 / kappa.size for kappa in last])
    within = budget(replicas(0.0067, runs.n))
    twin = Twin.of("alike", predicted=np.log(alike))
    return agrees(np.log(runs["gain"]), np.log(law), within=within, scale=1.0, twin=twin)


@paper.claim(
    "kernels_find_conjunctions",
    source="section 3 of Golovneva et al. (toy task); the share is derived, and corrects E[2/N] of the sheet",
    statements=[3],
    setting=BLOCKS,
    parts=2,
    kind="extrapolation",
    reads=("n_blocks", "block"),
    covers={"n_blocks": at_least(10, "the twin is near for few blocks")},
    formula="kernel of ones: right in every draw; matches: E[2/(2 + M)], M binomial over the other blocks, given that none "
    "holds both",
    judged="share of draws exactly; means over replicas of shares that scatter as in the law, with its own sampling error",
)
def kernels_find_conjunctions(setting: BlockSetting, lab: Lab) -> Verdict:
    """Two rows of ones find the one block that holds both letters; attention to single matches spreads over all of them.

    Twins: one draw in a hundred missed; the mean number of matches of blocks that may hold both.
    """
    runs, N, B = lab.simulate(blocks, setting), setting.n_blocks, setting.block
    draws = multi_token.tied_accuracy_exact(N, B, 26, DRAWS, 1)
    law, rival = float(draws.mean()), 2 / (2 + (N - 1) * 2 * B / 26)
    of = f"mean over replicas of {setting.n_draws} draws"
    within = budget(
        sampling(float(draws.std()), DRAWS), replicas(float(draws.std()) / math.sqrt(setting.n_draws), runs.n, of=of)
    )
    one = np.ones(runs.n)
    return all_of(
        identical(runs["kernel"], one, rounding=0, twin=Twin.of("one in a hundred", b=0.99 * one)).named("kernel"),
        agrees(runs["tied"], law, within=within, of=of, twin=Twin.of("may hold both", predicted=rival)).named(
            "matches"
        ),
    )


@paper.claim(
    "additive_scores_know_no_classes",
    source="equations 4 to 6 of Kim and Oh (GO, MX); the AUC is derived",
    statements=[4],
    setting=CLASSES,
    parts=2,
    kind="extrapolation",
    covers={"n_nodes": at_least(200, "the spread is that of so many nodes")},
    formula="AUC 1/2 for same class, balanced classes",
    judged="means over replicas; the additive score's spread 2/n, as classes are balanced in both halves; the mixed one's "
    "8/n (32 runs "
    "at another seed: .002 and .008 at n = 400); shared nodes bias by 1/n",
)
def additive_scores_know_no_classes(setting: ClassSetting, lab: Lab) -> Verdict:
    """Scores f(i) + g(j) say nothing on whether two nodes are of one class, and random weights leave the mixed score as blind.

    Twin: a hundredth and a half above one half.
    """
    runs, n = lab.simulate(classes, setting), setting.n_nodes
    half, parts = edge_scores.additive_auc(), []
    for name, spread in (("additive", 2 / n), ("mixed", 8 / n)):
        within = budget(finite_size(n, 1.0, of="n"), replicas(spread, runs.n))
        rival = Twin.of("known a little", predicted=half + 0.045 if name == "mixed" else half + 0.015)
        parts.append(agrees(runs[name], half, within=within, twin=rival, scale=0.5).named(name))
    return all_of(*parts)


@paper.claim(
    "products_know_classes",
    source="equations 4 to 6 of Kim and Oh (DP); corrects the Gaussian law of the sheet",
    statements=[5],
    setting=CLASSES,
    parts=3,
    kind="extrapolation",
    reads=("mean_norm", "dim"),
    covers={"mean_norm": that(lambda m: 0.8 <= m <= 2.5, ".8 to 2.5", "the twin is near for others")},
    formula="AUC = P(chi'^2_{2d}(4 m^2) > chi^2_{2d})",
    judged="means over replicas; spread .4/sqrt(n), above that of 32 runs at another seed (.016, .009, .011 at n = 400); "
    "shared nodes "
    "bias by 1/n",
)
def products_know_classes(setting: ClassSetting, lab: Lab) -> Verdict:
    """The product of features tells classes by an exact law, of which the Gaussian one is near.

    Twin: the variance of scores without their means, Phi(2 m^2/sqrt(2 d)).
    """
    cells, parts = [setting, *(replace(setting, mean_norm=m, dim=d) for m, d in CELLS)], []
    for cell, runs in zip(cells, lab.simulate(classes, *cells), strict=True):
        m, d, n = cell.mean_norm, cell.dim, cell.n_nodes
        p = edge_scores.product_auc_exact(m, d)
        rival = 0.5 * math.erfc(-2 * m * m / math.sqrt(2 * d) / math.sqrt(2))
        of = f"mean over replicas of {n} draws"
        within = budget(finite_size(n, 1.0, of="n"), replicas(0.4 / math.sqrt(n), runs.n, of=of))
        parts.append(
            agrees(runs["product"], p, within=within, of=of, twin=Twin.of("means left out", predicted=rival)).named(
                f"m = {m:g}, d = {d}"
            )
        )
    return all_of(*parts)


@paper.claim(
    "sums_count_and_norms_forget",
    source="section 2 of Buehler; the facts are derived",
    statements=[6],
    setting=COPIES,
    parts=3,
    kind="extrapolation",
    reads=("copies",),
    covers={"copies": that(lambda m: min(m) > 1, "above 1", "one copy is what it is compared with")},
    formula="softmax gathers 1, sum gathers m times what it does from one copy; after a norm without self weight the change is 0",
    judged="equal within 1000 roundings (10^5 after the norm)",
)
def sums_count_and_norms_forget(setting: CopySetting, lab: Lab) -> Verdict:
    """A mean cannot count copies; a sum counts them, and the norm behind it forgets the count unless the token itself
    stands beside it.

    Twins: the sum's growth; the mean's; the change with a self weight of one half.
    """
    runs = lab.simulate(copies, setting)
    law = {
        name: np.tile([graph_isomorphic.growth_under_copies(name, m) for m in setting.copies], (runs.n, 1))
        for name in ("softmax", "sigmoid")
    }
    none = np.zeros_like(runs["blind"])
    return all_of(
        *(
            identical(runs[name], law[name], rounding=1000, twin=Twin.of(other, b=law[other])).named(name)
            for name, other in (("softmax", "sigmoid"), ("sigmoid", "softmax"))
        ),
        identical(
            runs["blind"], none, rounding=1e5, scale=1.0, twin=Twin.of("self weight", a=runs["seen"], b=none)
        ).named("after the norm"),
    )
