"""Claims on differences of maps, reversed attention, transport plans and bell gates."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy import special

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, finite_size, identical, relative, replicas
from attnlab.papers.lab.conditions import at_least, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.normaliser_family_2.paper import BELLS, NOISES, PLANS, TREES, paper
from attnlab.simulators.score_maps.plans_and_trees import (
    BellSetting,
    NoiseSetting,
    PlanSetting,
    TreeSetting,
    bells,
    noises,
    plans,
    trees,
)
from attnlab.theory.score_maps import difference, gaussian_gate, reversed, sinkhorn

#: Ratios and correlations, epsilons, spreads and widths beside the settings'.
RATIOS, EPSILONS, SPREADS, WIDTHS = ((10.0, 0.9), (0.7, 0.2)), (0.3,), (0.5,), (0.5, 2.0)


@paper.claim(
    "amplifiers_are_differences",
    source="equations 4 to 6 of Wu et al.",
    statements=[1],
    setting=NOISES,
    parts=2,
    kind="construction",
    reads=("ratio",),
    formula="M = (K + 1/2) M_+ - (K - 1/2) M_-, rows of sum 1",
    judged="the operator's map beside its two maps by hand, equal within 10^4 roundings",
)
def amplifiers_are_differences(setting: NoiseSetting, lab: Lab) -> Verdict:
    """The amplifier is differential attention with a fixed lambda = (K - 1/2)/(K + 1/2), and its rows sum to 1.

    Twins: gains K and K, which reject the common part whole; sums of K + 1/2.
    """
    runs, K = lab.simulate(noises, setting), setting.ratio
    sums = runs["operator"].sum(-1)
    return all_of(
        identical(runs["operator"], runs["by_hand"], rounding=1e4, twin=Twin.of("K and K", b=runs["no_half"])).named(
            "map"
        ),
        identical(sums, np.ones_like(sums), rounding=1e4, twin=Twin.of("K + 1/2", b=np.full_like(sums, K + 0.5))).named(
            "rows"
        ),
    )


@paper.claim(
    "rejection_pays_if_noise_is_common",
    source="section 3 of Wu et al. (common-mode rejection); the gain is derived",
    statements=[2],
    setting=NOISES,
    parts=3,
    kind="extrapolation",
    reads=("ratio", "correlation"),
    covers={
        "ratio": that(lambda K: 0.6 <= K <= 12, ".6 to 12", "the twin is near for larger ones, the law for K = 1/2")
    },
    formula="G = (K + 1/2)^2/(2 K^2 (1 - rho) + (1 + rho)/2)",
    judged="means over replicas of ratios of mean squares of N weights: spread at most 2/sqrt(N) of G, bias 4/N",
)
def rejection_pays_if_noise_is_common(setting: NoiseSetting, lab: Lab) -> Verdict:
    """Amplifying the difference helps as far as both maps share their noise; with little in common it hurts.

    Twin: a signal of gain K, without the half that the common part has.
    """
    cells, parts = [setting, *(replace(setting, ratio=K, correlation=rho) for K, rho in RATIOS)], []
    for cell, runs in zip(cells, lab.simulate(noises, *cells), strict=True):
        K, rho, N = cell.ratio, cell.correlation, cell.n_weights
        G, of = difference.noise_gain(K, rho), f"mean over replicas of {cell.n_weights} draws"
        within = budget(finite_size(N, 4 * G, of="N"), replicas(2 * G / math.sqrt(N), runs.n, of=of))
        rival = Twin.of("gain K", predicted=G * (K / (K + 0.5)) ** 2)
        parts.append(agrees(runs["gain"], G, within=within, of=of, twin=rival).named(f"K = {K:g}, rho = {rho:g}"))
    return all_of(*parts)


@paper.claim(
    "the_best_ratio_is_a_regression",
    source="section 3 of Wu et al. (gains); the optimum is derived",
    statements=[3],
    setting=NOISES,
    parts=4,
    kind="extrapolation",
    reads=("correlation",),
    covers={"correlation": that(lambda rho: 0.3 <= rho <= 0.95, ".3 to .95", "the twins are near for weaker ones")},
    formula="lambda of the best K, (K - 1/2)/(K + 1/2), K = (1 + rho)/(2 (1 - rho)); gain 1/(1 - rho^2)",
    judged="least-squares shares of N weights, spread sqrt((1 - rho^2)/N); the ratio of variances scatters by at most 2/sqrt(N)",
)
def the_best_ratio_is_a_regression(setting: NoiseSetting, lab: Lab) -> Verdict:
    """The best amplifier takes off the second map what regression would: more than that amplifies noise.

    Twins: K without the half of the common part, K = rho/(1 - rho); the gain 1/(1 - rho).
    """
    cells, parts = [setting, replace(setting, correlation=0.9)], []
    for cell, runs in zip(cells, lab.simulate(noises, *cells), strict=True):
        rho, N, of = cell.correlation, cell.n_weights, f"mean over replicas of {cell.n_weights} draws"
        K, G = difference.best_ratio(rho), difference.best_gain(rho)
        law, wrong = ((x - 0.5) / (x + 0.5) for x in (K, rho / (1 - rho)))
        within = budget(replicas(math.sqrt((1 - rho**2) / N), runs.n, of=of))
        more = budget(finite_size(N, 4 * G, of="N"), replicas(2 * G / math.sqrt(N), runs.n, of=of))
        parts += [
            agrees(runs["share"], law, within=within, of=of, twin=Twin.of("no half", predicted=wrong)).named(
                f"lambda at {rho:g}"
            ),
            agrees(runs["best"], G, within=more, of=of, twin=Twin.of("1/(1 - rho)", predicted=1 / (1 - rho))).named(
                f"gain at {rho:g}"
            ),
        ]
    return all_of(*parts)


@paper.claim(
    "reversed_maps_conserve_totals",
    source="section 3 of Ding et al., as re-implemented",
    statements=[4],
    setting=TREES,
    kind="construction",
    formula="sum_j y_j = sum_i p_i m_i v_i",
    judged="sums over tokens per head and channel, equal within 1000 roundings of the largest",
)
def reversed_maps_conserve_totals(setting: TreeSetting, lab: Lab) -> Verdict:
    """What is sent arrives: columns sum to one, so the total of the values is kept where softmax keeps constants.

    Twin: the map whose rows sum to one.
    """
    runs = lab.simulate(trees, setting)
    return identical(
        runs["total"], runs["sent"], rounding=1000, twin=Twin.of("row sums", a=runs["kept"], b=runs["sent"])
    )


@paper.claim(
    "received_mass_scatters",
    source="section 3 of Ding et al. (sent mass); the variance is derived",
    statements=[5],
    setting=TREES,
    parts=2,
    kind="extrapolation",
    reads=("score_std", "n_tokens"),
    covers={
        "score_std": that(
            lambda s: 0.4 <= s <= 1.2, ".4 to 1.2", "weaker logits have the twin near, heavier ones few tokens"
        )
    },
    formula="(e^{s^2} - 1)/n",
    judged="means over replicas; the limit drops e^{s^2} (2 (e^{2 s^2} - 1) - 3 (e^{s^2} - 1))/n^2, by expanding the ratio; "
    "squares of n sums scatter by sqrt((2 + e^{4 s^2}/n)/n) of their mean",
)
def received_mass_scatters(setting: TreeSetting, lab: Lab) -> Verdict:
    """Without a tree tokens receive mass 1 with a variance that falls like 1/n.

    Twin: linear weights, s^2/n.
    """
    cells, n, parts = [setting, *(replace(setting, score_std=s) for s in SPREADS)], setting.n_tokens, []
    of = f"mean over replicas of {n * setting.n_draws} draws"
    for cell, runs in zip(cells, lab.simulate(trees, *cells), strict=True):
        s = cell.score_std
        law = reversed.received_variance(s, n)
        dropped = math.exp(s * s) * (2 * math.expm1(2 * s * s) - 3 * math.expm1(s * s))
        spread = law * math.sqrt((2 + math.exp(4 * s * s) / n) / n / cell.n_draws)
        within = budget(finite_size(n, dropped, power=2, of="n"), replicas(spread, runs.n, of=of))
        parts.append(
            agrees(runs["variance"], law, within=within, of=of, twin=Twin.of("linear", predicted=s * s / n)).named(
                f"s = {s:g}"
            )
        )
    return all_of(*parts)


@paper.claim(
    "parents_receive_by_their_children",
    source="section 3 of Ding et al. (dependency tree); mass and recovery are derived",
    statements=[6, 7],
    setting=TREES,
    parts=2,
    kind="extrapolation",
    reads=("n_tokens", "margin", "noise_std"),
    covers={"noise_std": that(lambda s: s >= 1.5, "at least 1.5", "with less noise every parent is found")},
    formula="mass (c e^D + n - c)/(e^D + n - 1); recovery E_z Phi(D/s + z)^{n-1}",
    judged="masses in every replica within 10^4 roundings; recovery as a mean over replicas, sqrt(p (1 - p)/draws)",
)
def parents_receive_by_their_children(setting: TreeSetting, lab: Lab) -> Verdict:
    """A parent receives by the number of its children, and noisy logits hide it by an exact law.

    Twins: the children alone, c; leads over the others that are independent.
    """
    runs, n, D, s = lab.simulate(trees, setting), setting.n_tokens, setting.margin, setting.noise_std
    law = np.array([[reversed.received_mass(int(c), n, D) for c in row] for row in runs["children"]])
    p = reversed.parent_recovery(n, D, s)
    draws = n * setting.n_draws
    of, alone = f"mean over replicas of {draws} draws", float(special.ndtr(D / (s * math.sqrt(2)))) ** (n - 1)
    within = budget(replicas(math.sqrt(p * (1 - p) / draws), runs.n, of=of))
    return all_of(
        identical(
            runs["received"], law, rounding=1e4, twin=Twin.of("children alone", b=runs["children"].astype(float))
        ).named("mass"),
        agrees(runs["recovered"], p, within=within, of=of, twin=Twin.of("independent leads", predicted=alone)).named(
            "recovery"
        ),
    )


@paper.claim(
    "plans_contract_by_a_singular_value",
    source="equations 7 to 9 of Kim et al. (Sinkhorn iterations); the rate is derived",
    statements=[8],
    setting=PLANS,
    parts=3,
    kind="extrapolation",
    reads=("n_queries", "n_keys"),
    covers={
        "epsilon": that(lambda e: 0.08 <= e <= 0.5, ".08 to .5", "smaller ones need more iterations than are followed")
    },
    formula="factor per full iteration sigma_2^2 of D_mu^-1/2 T D_nu^-1/2 at the end; column sums n_q/n",
    judged="median over replicas of the last factor above the tolerance 10^-11, less its own prediction; the next mode has "
    "died to a "
    "hundredth by then in most replicas; columns within 10^-9",
)
def plans_contract_by_a_singular_value(setting: PlanSetting, lab: Lab) -> Verdict:
    """Near its end a plan gains sigma_2^2 per iteration, and no key is ignored: each gets its share of the mass.

    Twins: sigma_2, a factor per half iteration; softmax's columns.
    """
    cells, parts = [setting, *(replace(setting, epsilon=e) for e in EPSILONS)], []
    every = lab.simulate(plans, *cells)
    for cell, runs in zip(cells, every, strict=True):
        law = np.array([sinkhorn.contraction(T) for T in runs["plan"]])
        within = budget(relative(0.01, float(np.median(law)), "the next mode"))
        parts.append(
            agrees(
                runs["rate"],
                law,
                within=within,
                of="median over replicas",
                twin=Twin.of("sigma_2", predicted=np.sqrt(law)),
            ).named(f"epsilon = {cell.epsilon:g}")
        )
    runs = every[0]
    share = np.full_like(runs["columns"], setting.n_queries / setting.n_keys)
    digits = 1e-9 / np.finfo(float).eps
    return all_of(
        *parts,
        identical(
            runs["columns"],
            share,
            rounding=digits,
            scale=1.0,
            twin=Twin.of("softmax", a=runs["softmax_columns"], b=share),
        ).named("mass of keys"),
    )


@paper.claim(
    "products_are_one_bell",
    source="equations 1 to 5 of Ioannides et al.; the identity is derived",
    statements=[9],
    setting=BELLS,
    kind="extrapolation",
    formula="gate = softmax_t of -(x - mu - Delta)^2/(2 C^2 s^2), 1/C^2 = sum 1/c_i^2, Delta = C^2 sum delta_i/c_i^2",
    judged="the operator's gate of three bells, equal within 10^-7: the operator adds 10^-8 to the variance",
)
def products_are_one_bell(setting: BellSetting, lab: Lab) -> Verdict:
    """Three bells multiplied gate like one: more Gaussians in a head fit nothing that one does not.

    Twin: the bell of mean width and mean centre.
    """
    runs, law, rival = lab.simulate(bells, setting), [], []
    for x, centres, widths in zip(runs["tokens"], runs["centres"], runs["widths"], strict=True):
        mean = float(centres.mean()), float(widths.mean())
        for found, (centre, width) in ((law, gaussian_gate.one_bell(centres, widths)), (rival, mean)):
            logits = -((x - x.mean() - centre) ** 2) / (2 * width**2 * x.var(ddof=1))
            found.append(np.exp(logits - special.logsumexp(logits)))
    return identical(
        runs["product"],
        np.array(law),
        rounding=1e-7 / np.finfo(float).eps,
        scale=1.0,
        twin=Twin.of("mean bell", b=np.array(rival)),
    )


@paper.claim(
    "bells_are_nearly_flat",
    source="equations 1 to 5 of Ioannides et al.; the participation is derived",
    statements=[10],
    setting=BELLS,
    parts=5,
    kind="extrapolation",
    reads=("width",),
    covers={"n_tokens": at_least(500, "the limit is that of many tokens")},
    formula="n sum g^2 = (1 + C^-2)/sqrt(1 + 2 C^-2); g(x + b) = g(x); g(2 x) = g(x) iff the centre is 0",
    judged="means over replicas of m channels; spread at most sqrt((1 + C^-2)/n) of it, since g^2 is at most (1 + C^-2)/n; "
    "bias twice "
    "its square; gates within 10^-7, for the 10^-8 that is added to the variance",
)
def bells_are_nearly_flat(setting: BellSetting, lab: Lab) -> Verdict:
    """A bell of one standard deviation spreads its gate over six sevenths of the tokens; scaling matters only off the mean.

    Twins: the square of a bell as wide as the bell, sqrt(1 + C^-2); a bell off the mean, scaled.
    """
    cells, parts = [setting, *(replace(setting, width=C) for C in WIDTHS)], []
    every, n = lab.simulate(bells, *cells), setting.n_tokens
    of = f"mean over replicas of {setting.n_channels} draws"
    for cell, runs in zip(cells, every, strict=True):
        C = cell.width
        law, most = gaussian_gate.participation(C), 1 + C**-2
        spread = law * math.sqrt(most / n / cell.n_channels)
        within = budget(finite_size(n, 2 * law * most, of="n"), replicas(spread, runs.n, of=of))
        rival = Twin.of("as wide", predicted=math.sqrt(1 + C**-2))
        parts.append(agrees(runs["participation"], law, within=within, of=of, twin=rival).named(f"C = {C:g}"))
    runs, digits = every[0], 1e-7 / np.finfo(float).eps
    moved = Twin.of("off the mean", a=runs["off_centre_scaled"], b=runs["off_centre"])
    return all_of(
        *parts,
        *(
            identical(runs[name], runs["gate"], rounding=digits, scale=1.0, twin=moved).named(name)
            for name in ("shifted", "scaled")
        ),
    )
