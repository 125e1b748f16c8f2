"""Claims on random rows: kept mass, dilution, routing, clusters, needles, predictors and heads; and how operators start."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, finite_size, identical, replicas
from attnlab.papers.lab.conditions import at_least, one_of, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.sparse_selection.paper import (
    CLUSTERS,
    DILUTIONS,
    HITS,
    MASKINGS,
    MASSES,
    NEEDLES,
    PREDICTORS,
    THRESHOLDS,
    TILTS,
    UNIONS,
    paper,
)
from attnlab.simulators.sparse_selection.operators import (
    MaskingSetting,
    ThresholdSetting,
    TiltSetting,
    maskings,
    thresholds,
    tilts,
)
from attnlab.simulators.sparse_selection.rows import (
    ClusterSetting,
    DilutionSetting,
    HitSetting,
    MassSetting,
    NeedleSetting,
    PredictorSetting,
    UnionSetting,
    clusters,
    dilutions,
    hits,
    masses,
    needles,
    predictors,
    unions,
)
from attnlab.theory.sparse_selection import (
    groups,
    hip,
    long_heads,
    moba,
    native_sparse,
    retained_mass,
    routing,
    routing_hits,
    selective,
    sparsifiner,
    threshold_relative,
)

CORRELATIONS = (1.0, 0.7, 0.3)


def as_often_as(values: np.ndarray, p: float, rival: float, draws: int, of_rival: str, *more: object) -> Verdict:
    """A share of independent draws against p: it scatters by sqrt(p (1 - p)/draws)."""
    of = f"mean over replicas of {draws} draws"
    within = budget(*more, replicas(math.sqrt(p * (1 - p) / draws), len(values), of=of))
    return agrees(values, p, within=within, of=of, twin=Twin.of(of_rival, predicted=rival))


def spread_of_mass(score_std: float, kept: float, kept_twice: float, n: int) -> float:
    """Spread of a kept share of n weights by the delta method; ``kept_twice`` is the share that weights squared keep."""
    return math.sqrt(math.exp(score_std**2) * (kept_twice * (1 - kept) ** 2 + (1 - kept_twice) * kept**2) / n)


@paper.claim(
    "kept_mass",
    source="shared by the family; derived",
    statements=[2],
    setting=MASSES,
    parts=4,
    kind="extrapolation",
    reads=("n_keys", "score_std", "share", "mass"),
    covers={
        "score_std": that(lambda s: s <= 2, "at most 2", "above, rows of these n freeze"),
        "correlation": one_of(1.0),
    },
    formula="g = Phi(rho s - t), t = Phi^-1(1 - f); the share that holds g is Phi(Phi^-1(g) - s)",
    judged="means over replicas; spreads by the delta method of a ratio, its bias e^{s^2}/n",
)
def kept_mass(setting: MassSetting, lab: Lab) -> Verdict:
    """What a choice keeps depends on its correlation with the scores alone, and a mass needs a fixed share of the keys.

    Twins: rho^2 for rho (1: .95); a spread smaller by a twentieth.
    """
    every = lab.simulate(masses, *(replace(setting, correlation=rho) for rho in CORRELATIONS))
    s, f, n, parts = setting.score_std, setting.share, setting.n_keys, []
    of = f"mean over replicas of {setting.n_rows} draws"
    bias = math.exp(s * s)
    for rho, runs in zip(CORRELATIONS, every, strict=True):
        g, twice = (retained_mass.proxy_mass_limit(x, f, rho) for x in (s, 2 * s))
        spread = spread_of_mass(s, g, twice, n) / math.sqrt(setting.n_rows)
        rival = retained_mass.proxy_mass_limit(s, f, rho**2 if rho < 1 else 0.95)
        within = budget(finite_size(n, bias, of="n"), replicas(spread, runs.n, of=of))
        parts.append(
            agrees(runs["kept"], g, within=within, of=of, twin=Twin.of("rho^2", predicted=rival)).named(f"rho = {rho}")
        )
    m, runs = setting.mass, every[0]
    needed, rival = (retained_mass.needed_share_limit(x, m) for x in (s, 0.95 * s))
    per_share = math.exp(s * quantile(1 - needed) - s * s / 2)  # dg/df at the cut
    spread = spread_of_mass(s, m, retained_mass.oracle_mass_limit(2 * s, needed), n) / per_share
    within = budget(
        finite_size(n, bias / per_share, of="n"), replicas(spread / math.sqrt(setting.n_rows), runs.n, of=of)
    )
    last = agrees(runs["needed"], needed, within=within, of=of, twin=Twin.of("a smaller spread", predicted=rival))
    return all_of(*parts, last.named(f"share for {m}"))


def quantile(p: float) -> float:
    """Quantile of the standard normal law."""
    return NormalDist().inv_cdf(p)


@paper.claim(
    "dilution",
    source="shared by the family; derived",
    statements=[3],
    setting=DILUTIONS,
    parts=3,
    kind="extrapolation",
    reads=("score", "n_keys", "score_std"),
    covers={"score_std": that(lambda s: s <= 1.5, "at most 1.5", "above, the normaliser of these n is not its mean")},
    formula="weight of a key of score A among n: 1/(1 + e^{ln n + s^2/2 - A})",
    judged="means over replicas; the normaliser scatters by sqrt((e^{s^2} - 1)/n) =: c, its square biases a weight p by "
    "p (1 - p) c^2",
)
def dilution(setting: DilutionSetting, lab: Lab) -> Verdict:
    """A key keeps half of the weight up to ln n + s^2/2.

    Twin: ln n, as if the others had their mean score.
    """
    cells = [replace(setting, score=setting.score + shift) for shift in (-1.0, 0.0, 1.0)]
    n, s, parts = setting.n_keys, setting.score_std, []
    c2 = math.expm1(s * s) / n
    for cell, runs in zip(cells, lab.simulate(dilutions, *cells), strict=True):
        p, rival = (
            1 / (1 + math.exp(half - cell.score)) for half in (retained_mass.half_weight_score(s, n), math.log(n))
        )
        of = f"mean over replicas of {cell.n_rows} draws"
        slope = p * (1 - p)
        within = budget(
            finite_size(n, slope * c2 * n, of="n"), replicas(slope * math.sqrt(c2 / cell.n_rows), runs.n, of=of)
        )
        parts.append(
            agrees(runs["weight"], p, within=within, of=of, twin=Twin.of("ln n", predicted=rival)).named(
                f"A = {cell.score:g}"
            )
        )
    return all_of(*parts)


@paper.claim(
    "routing_hits",
    source="section 2.2 of Lu et al. 2025; the probabilities are derived",
    statements=[4],
    setting=HITS,
    parts=5,
    kind="extrapolation",
    undecided_at_smoke="few replicas do not tell a score larger by a tenth",
    reads=("score", "block", "n_blocks", "keep"),
    covers={"n_blocks": that(lambda m: m <= 128, "at most 128", "the quadrature is that of these sizes")},
    formula="P(hit) = E BinomCDF(k - 1; n_b - 1, P(noise block > x)), x the planted block's statistic",
    judged="the operator's choices, means over replicas; a share p of m draws scatters by sqrt(p (1 - p)/m)",
)
def routing_hits_claim(setting: HitSetting, lab: Lab) -> Verdict:
    """Routing by means misses a key that full attention would give half of the weight; the largest score or a sharp sum finds it.

    Twins: a key of a score larger by a tenth (means, maxima); the mean of the whole block for the sharp sum.
    """
    low = routing_hits.blind_zone(1.0, setting.block, setting.n_blocks)[0]
    cells = [setting, replace(setting, score=8.0, block=16, n_blocks=128, keep=4), replace(setting, score=low)]
    cells.append(replace(setting, score=4.0))
    every = lab.simulate(hits, *cells)
    parts = []
    for cell, runs in zip(cells[:3], every, strict=False):
        at = (1.0, cell.block, cell.n_blocks, cell.keep)
        p, rival = (moba.hit_exact(x * cell.score, *at) for x in (1.0, 1.1))
        parts.append(
            as_often_as(runs["mean"], p, rival, cell.n_draws, "a larger score").named(f"means, A = {cell.score:.3g}")
        )
    at, runs = (1.0, setting.block, setting.n_blocks, setting.keep), every[3]
    p, rival = (routing_hits.max_hit_exact(x * 4.0, *at) for x in (1.0, 1.1))
    parts.append(
        as_often_as(runs["largest"], p, rival, setting.n_draws, "a larger score").named("largest score, A = 4")
    )
    p = native_sparse.sharpest_hit_exact(setting.score, 1.0, setting.block // 2, 2, setting.n_blocks, setting.keep)
    rival = moba.hit_exact(setting.score, *at)
    step = finite_size(1000, math.log(2) * math.sqrt(setting.block), of="the factor on the scores")
    parts.append(
        as_often_as(every[0]["sharp"], p, rival, setting.n_draws, "one mean", step).named("sharp sums of halves")
    )
    return all_of(*parts)


@paper.claim(
    "routing_ignores_the_query_scale",
    source="equation 6 of Lu et al. 2025",
    statements=[4],
    setting=HITS,
    kind="construction",
    formula="the blocks taken for q and for 16 q are the same",
    judged="the operator's hits, equal in every replica",
)
def routing_ignores_the_query_scale(setting: HitSetting, lab: Lab) -> Verdict:
    """No temperature mends routing by means: statistic and noise scale alike.

    Twin: the hits of sharp sums, which do depend on the scale.
    """
    runs = lab.simulate(hits, setting)
    return identical(runs["scaled"], runs["mean"], rounding=1, scale=1.0, twin=Twin.of("sharp sums", b=runs["sharp"]))


@paper.claim(
    "neighbours_share_a_cluster",
    source="section 4.1 of Roy et al.; the probability is derived",
    statements=[5],
    setting=CLUSTERS,
    parts=2,
    kind="extrapolation",
    reads=("clusters", "cosine"),
    formula="P = C iint phi_2(x, y; rho) Phi_2(x, y; rho)^{C - 1} dx dy",
    judged="means over replicas; a share p of m draws scatters by sqrt(p (1 - p)/m)",
)
def neighbours_share_a_cluster(setting: ClusterSetting, lab: Lab) -> Verdict:
    """A neighbour at cosine .9 shares one of 32 clusters with probability .55 only.

    Twin: the power law of the exponent alone, C^{-(1 - rho)/(1 + rho)}.
    """
    cells = [setting, replace(setting, clusters=8, cosine=0.6)]
    return all_of(
        *(
            as_often_as(
                runs["together"], routing.same_cluster_exact(cell.clusters, cell.cosine),
                routing.power_law(cell.clusters, cell.cosine), cell.n_draws, "the power law",
            ).named(f"C = {cell.clusters}, cosine {cell.cosine}")
            for cell, runs in zip(cells, lab.simulate(clusters, *cells), strict=True)
        )
    )  # fmt: skip


@paper.claim(
    "centres_tilt_weights",
    source="section 4 of Liang et al. (error bound); the sharp form is derived",
    statements=[6],
    setting=TILTS,
    parts=2,
    kind="extrapolation",
    reads=("radius", "dim", "n_keys"),
    covers={"radius": that(lambda r: r <= 0.5, "at most .5", "the mean of larger exponentials needs more keys")},
    formula="rms of ln(true/grouped weight) = r |q|/sqrt(d); mass of the group too small by e^{-r^2 |q|^2/(2 d)}",
    judged="means over replicas; spreads of a standard deviation, r/sqrt(2 n), and of a mean of exponentials",
)
def centres_tilt_weights(setting: TiltSetting, lab: Lab) -> Verdict:
    """Within a Gaussian group weights tilt by r |q|/sqrt(d), far below the bound, and the group's mass is too small.

    Twins: a radius smaller by a twentieth; a mass that is right to first order, 1 - r^2 |q|^2/d.
    """
    runs, r, d, n = lab.simulate(tilts, setting), setting.radius, setting.dim, setting.n_keys
    norm = math.sqrt(d)
    rms, deficit = groups.log_ratio_rms(r, norm, d), groups.mass_deficit(r, norm, d)
    of = f"mean over replicas of {n} draws"
    mass = deficit * math.sqrt(math.expm1(rms**2) / n)
    return all_of(
        agrees(
            runs["rms"], rms, within=budget(replicas(rms / math.sqrt(2 * n), runs.n, of=of)), of=of,
            twin=Twin.of("a smaller radius", predicted=groups.log_ratio_rms(0.95 * r, norm, d)),
        ).named("tilt"),
        agrees(
            runs["deficit"], deficit, within=budget(replicas(mass, runs.n, of=of), finite_size(n, math.expm1(rms**2), of="n")),
            of=of, twin=Twin.of("twice the deficit", predicted=1 - rms**2),
        ).named("mass"),
    )  # fmt: skip


@paper.claim(
    "pruning_overlooks_needles",
    source="section 3 of Lee et al.; the recall is derived",
    statements=[7],
    setting=NEEDLES,
    kind="extrapolation",
    reads=("n_keys", "keep"),
    covers={"n_keys": that(lambda n: n & (n - 1) == 0, "powers of 2", "chunks must halve to one key")},
    formula="recall of an isolated needle = 4 k/n - (2 k/n)^2",
    judged="the operator's search, mean over replicas of n places",
)
def pruning_overlooks_needles(setting: NeedleSetting, lab: Lab) -> Verdict:
    """An isolated needle is found four times as often as by chance, and no more.

    Twin: without the square, 4 k/n.
    """
    runs, n, k = lab.simulate(needles, setting), setting.n_keys, setting.keep
    return as_often_as(runs["recall"], hip.needle_recall(n, k), 4 * k / n, n, "4 k/n")


@paper.claim(
    "predictors_keep_by_correlation",
    source="section 3 of Wei et al.; the law is derived",
    statements=[8],
    setting=PREDICTORS,
    kind="extrapolation",
    reads=("rank", "dim", "n_keys", "score_std", "share"),
    covers={"dim": at_least(16, "scores are near Gaussian as sums of many directions")},
    formula="g = Phi(rho s - t), rho^2 = share of the variance in the first r directions",
    judged="mean over replicas; spread by the delta method, bias e^{s^2}/n",
)
def predictors_keep_by_correlation(setting: PredictorSetting, lab: Lab) -> Verdict:
    """A low-rank prediction keeps mass by the share of variance that its directions hold.

    Twin: that share for the correlation, rho^2.
    """
    runs, s, f, n = lab.simulate(predictors, setting), setting.score_std, setting.share, setting.n_keys
    spectrum = 1 / np.arange(1, setting.dim + 1)
    rho = sparsifiner.correlation(spectrum, setting.rank)
    g, twice = (sparsifiner.retained_mass_limit(spectrum, setting.rank, x, f) for x in (s, 2 * s))
    of = f"mean over replicas of {setting.n_rows} draws"
    spread = spread_of_mass(s, g, twice, n) / math.sqrt(setting.n_rows)
    within = budget(finite_size(n, math.exp(s * s), of="n"), replicas(spread, runs.n, of=of))
    rival = retained_mass.proxy_mass_limit(s, f, rho**2)
    return agrees(runs["kept"], g, within=within, of=of, twin=Twin.of("rho^2", predicted=rival))


@paper.claim(
    "heads_cover_together",
    source="section 3 of Lu et al. 2024; the union is derived",
    statements=[13],
    setting=UNIONS,
    parts=2,
    kind="extrapolation",
    reads=("n_chunks", "keep", "n_heads", "correlation"),
    covers={
        "n_chunks": at_least(256, "exactly k of few chunks differ from a threshold by 1.7/m: .5 of 19.4 at m = 64")
    },
    formula="union = m (1 - E_z Phi((t - sqrt(rho) z)/sqrt(1 - rho))^H)",
    judged="means over replicas; a chunk is covered or not, so a union of expectation u scatters by less than sqrt(u)",
)
def heads_cover_together(setting: UnionSetting, lab: Lab) -> Verdict:
    """How much of the context H heads cover is decided by the correlation of their scores.

    Twin: a correlation smaller by .05.
    """
    cells, parts = [setting, replace(setting, correlation=0.9)], []
    for cell, runs in zip(cells, lab.simulate(unions, *cells), strict=True):
        at = (cell.n_chunks, cell.keep, cell.n_heads)
        u, rival = (long_heads.union_of_heads_limit(*at, cell.correlation - x) for x in (0.0, 0.05))
        spread = math.sqrt(u * (1 - u / cell.n_chunks))
        within = budget(finite_size(cell.n_chunks, 1.7 * u, of="m"), replicas(spread, runs.n))
        parts.append(
            agrees(runs["union"], u, within=within, twin=Twin.of("less correlation", predicted=rival)).named(
                f"rho = {cell.correlation}"
            )
        )
    return all_of(*parts)


@paper.claim(
    "selection_starts_short",
    source="section 3 of Leviathan et al.; the rate is derived",
    statements=[14],
    setting=MASKINGS,
    parts=2,
    kind="extrapolation",
    reads=("score_std", "n_tokens"),
    formula="mean factor per step 1/2 + e^{s^2/2} Phi(-s); F grows by s/sqrt(2 pi) per step",
    judged="the operator's masking, means over replicas of (n - 2)(n - 3)/2 or more steps, each factor within [0, 1]",
)
def selection_starts_short(setting: MaskingSetting, lab: Lab) -> Verdict:
    """With random scores selective attention starts as a window of a few tokens.

    Twins: the factor of the mean growth, e^{-s/sqrt(2 pi)}; the growth at a spread smaller by a twentieth.
    """
    runs, s = lab.simulate(maskings, setting), setting.score_std
    factor, growth = selective.decay_exact(s), selective.masking_per_step(s)
    steps = int(runs["pairs"].min())
    of = f"mean over replicas of {steps} draws"
    second = 0.5 + math.exp(2 * s * s) * below(-2 * s)  # E e^{-2 relu}
    spreads = (math.sqrt(second - factor**2), math.sqrt(s * s / 2 - growth**2))
    rivals = (math.exp(-growth), 0.95 * growth)
    return all_of(
        *(
            agrees(
                runs[name], law, within=budget(replicas(spread / math.sqrt(steps), runs.n, of=of)), of=of,
                twin=Twin.of("of the mean" if name == "factor" else "a smaller spread", predicted=rival),
            ).named(name)
            for name, law, spread, rival in zip(("factor", "growth"), (factor, growth), spreads, rivals, strict=True)
        )
    )  # fmt: skip


def below(x: float) -> float:
    """Standard normal distribution function."""
    return NormalDist().cdf(x)


@paper.claim(
    "thresholds_have_a_horizon",
    source="section 3 of Opper et al.; the probability is derived",
    statements=[15],
    setting=THRESHOLDS,
    parts=2,
    kind="extrapolation",
    reads=("margin", "n_keys"),
    formula="no false survivor among n keys: (1 - Phi(-m))^n; keys below the threshold change nothing",
    judged="mean over replicas; outputs with and without inserted keys equal within 1000 roundings",
)
def thresholds_have_a_horizon(setting: ThresholdSetting, lab: Lab) -> Verdict:
    """Keys below the threshold change nothing, and none survives by chance up to about 1/Phi(-m) keys.

    Twins: a margin smaller by a twentieth; softmax, which is diluted.
    """
    runs, m, n = lab.simulate(thresholds, setting), setting.margin, setting.n_keys
    p, rival = (threshold_relative.no_false_survivor_exact(x, n) for x in (m, 0.95 * m))
    size = float(np.abs(runs["short"]).max())
    return all_of(
        as_often_as(runs["clean"], p, rival, setting.n_draws, "a smaller margin").named("survivors"),
        identical(
            runs["longer"], runs["short"], rounding=1000, scale=size, twin=Twin.of("softmax", b=runs["softmax"])
        ).named("inserted keys"),
    )
