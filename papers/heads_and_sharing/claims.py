"""Claims on pools, borrowed maps, absorbed projections and mixtures of heads."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, finite_size, identical, replicas
from attnlab.papers.heads_and_sharing.paper import BASES, BORROWS, KEYS, MIXTURES, POOLS, paper
from attnlab.papers.lab.conditions import DECLARED, at_least, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.heads_and_sharing.sharing import (
    BasisSetting,
    BorrowSetting,
    KeySetting,
    MixtureSetting,
    PoolSetting,
    bases,
    borrowed,
    mixtures,
    pooled_keys,
    pools,
    positions,
)
from attnlab.theory.heads_and_sharing import (
    absorbed_projections,
    head_mixture,
    shared_maps,
    super_attention,
    weighted_groups,
)

#: Amplitudes beside the setting's; groups and correlations beside the setting's.
AMPLITUDES, GROUPS = ((1.0, 0.5, 0.25, 0.125), (2.0, 1.0, 0.0, 0.0)), ((2, 0.0), (8, 0.2))

#: What averaging over queries and heads leaves of the spread of one query's correlation.
AVERAGED = 1 / 8


def _share(p: float, numbers: int) -> float:
    """Spread of the share p of a sum of that many squares: at most 2 p (1 - p)/sqrt(N), as for a share of one direction."""
    return 2 * p * (1 - p) / math.sqrt(numbers)


@paper.claim(
    "the_mean_loses_what_signs_cancel",
    source="equations 3 and 4 of Chinnakonduru and Mohapatra; the loss is derived",
    statements=[1],
    setting=POOLS,
    parts=3,
    kind="extrapolation",
    reads=("amplitudes", "noise_std"),
    covers={
        "amplitudes": DECLARED,
        "noise_std": that(lambda e: 0.2 <= e <= 0.5, ".2 to .5", "the twin drops the noise"),
    },
    formula="1 - ((sum c)^2/H + e^2)/(sum c^2 + H e^2)",
    judged="mean over replicas; a share of the energy of N numbers per head scatters by at most 2 p (1 - p)/sqrt(N), its "
    "bias is 1/N",
)
def the_mean_loses_what_signs_cancel(setting: PoolSetting, lab: Lab) -> Verdict:
    """The mean of heads keeps their common part and an H-th of the noise: one head of opposite sign costs three quarters.

    Twin: a mean without noise.
    """
    cells, parts = [setting, *(replace(setting, amplitudes=c) for c in AMPLITUDES)], []
    for cell, runs in zip(cells, lab.simulate(pools, *cells), strict=True):
        c, e = np.array(cell.amplitudes), cell.noise_std
        N, of = int(runs["numbers"][0]), f"mean over replicas of {int(runs['numbers'][0])} draws"
        p = weighted_groups.lost_by_the_mean(c, e)
        silent = 1 - c.sum() ** 2 / len(c) / ((c**2).sum() + len(c) * e * e)
        within = budget(finite_size(N, 1.0, of="N"), replicas(_share(p, N), runs.n, of=of))
        rival = Twin.of("a silent mean", predicted=silent)
        parts.append(agrees(runs["lost"], p, within=within, of=of, twin=rival).named(f"c = {cell.amplitudes}"))
    return all_of(*parts)


@paper.claim(
    "weights_are_for_signs",
    source="equations 3 and 4 of Chinnakonduru and Mohapatra (learned weights); the shares are derived",
    statements=[2],
    setting=POOLS,
    parts=6,
    kind="extrapolation",
    reads=("amplitudes", "noise_std"),
    covers={
        "amplitudes": DECLARED,
        "noise_std": that(lambda e: 0.2 <= e <= 0.5, ".2 to .5", "the twin drops the noise"),
    },
    formula="best pool (sum c^2 + e^2)/(sum c^2 + H e^2); mean with a fitted output sum_h (c_h C + e^2)^2 / ((C^2 + H "
    "e^2)(sum c^2 "
    "+ H e^2)), C = sum c",
    judged="means over replicas; spread at most 2 p (1 - p)/sqrt(N) and H e^2/N more for directions that are fitted",
)
def weights_are_for_signs(setting: PoolSetting, lab: Lab) -> Verdict:
    """Once the output may adapt, weights gain little over the mean unless signs of heads differ.

    Twins: pools that capture no noise.
    """
    cells, parts = [setting, *(replace(setting, amplitudes=c) for c in AMPLITUDES)], []
    for cell, runs in zip(cells, lab.simulate(pools, *cells), strict=True):
        c, e2 = np.array(cell.amplitudes), cell.noise_std**2
        N, of = int(runs["numbers"][0]), f"mean over replicas of {int(runs['numbers'][0])} draws"
        whole, C = (c**2).sum() + len(c) * e2, c.sum()
        for name, p, silent in (
            ("best", weighted_groups.captured_by_the_best_pool(c, cell.noise_std), (c**2).sum() / whole),
            (
                "mean",
                weighted_groups.captured_by_the_mean(c, cell.noise_std),
                (c**2).sum() * C**2 / (C**2 + len(c) * e2) / whole,
            ),
        ):
            within = budget(finite_size(N, len(c), of="N"), replicas(_share(p, N), runs.n, of=of))
            parts.append(
                agrees(runs[name], p, within=within, of=of, twin=Twin.of("silent", predicted=float(silent))).named(
                    f"{name}, c = {cell.amplitudes}"
                )
            )
    return all_of(*parts)


@paper.claim(
    "pooled_keys_blur_scores",
    source="equation 3 of Chinnakonduru and Mohapatra; the correlation is derived",
    statements=[3],
    setting=KEYS,
    parts=3,
    kind="extrapolation",
    reads=("per_group", "correlation"),
    covers={"correlation": that(lambda r: r <= 0.7, "at most .7", "the twin is near for heads that are alike")},
    formula="sqrt((1 + (m - 1) r)/m)",
    judged="mean over replicas of correlations over keys; one query's, of D and n numbers, scatters by (1 - rho^2)(1/sqrt(D) + "
    "1/sqrt(n)), biased by rho (1 - rho^2)/2 (1/D + 1/n); queries and heads leave an eighth of it (64 runs at another seed: "
    ".05 to .11)",
)
def pooled_keys_blur_scores(setting: KeySetting, lab: Lab) -> Verdict:
    """Scores by the mean of m heads' keys correlate with a head's own as the root of what the heads share.

    Twin: its square.
    """
    cells, parts = [setting, *(replace(setting, per_group=m, correlation=r) for m, r in GROUPS)], []
    for cell, runs in zip(cells, lab.simulate(pooled_keys, *cells), strict=True):
        m, r = cell.per_group, cell.correlation
        rho, D, n = weighted_groups.pooled_score_correlation(m, r), m * cell.width, cell.n_keys
        off = 1 - rho**2
        within = budget(
            finite_size(1 / (1 / D + 1 / n), rho * off / 2, of="(D, n)"),
            replicas(AVERAGED * off * (D**-0.5 + n**-0.5), runs.n),
        )
        parts.append(
            agrees(runs["correlation"], rho, within=within, twin=Twin.of("its square", predicted=rho**2)).named(
                f"m = {m}, r = {r:g}"
            )
        )
    return all_of(*parts)


@paper.claim(
    "spans_use_the_first_map",
    source="section 3 of Liao and Vargas",
    statements=[4],
    setting=BASES,
    kind="construction",
    formula="x_2 = x_1 + sum_h A_h(x_0) x_1 W^V W^O",
    judged="the operator's outputs beside two layers by hand, equal within 10^4 roundings",
)
def spans_use_the_first_map(setting: BasisSetting, lab: Lab) -> Verdict:
    """The second layer of a span mixes its own values by the map of the first.

    Twin: a map of its own.
    """
    runs = lab.simulate(bases, setting)
    return identical(runs["span"], runs["first"], rounding=1e4, twin=Twin.of("its own map", b=runs["own"]))


@paper.claim(
    "borrowed_maps_err_by_their_age",
    source="section 3 of Liao and Vargas (similar maps); the error is derived",
    statements=[5],
    setting=BORROWS,
    parts=6,
    kind="extrapolation",
    reads=("correlation", "score_std", "distances"),
    covers={
        "score_std": that(
            lambda s: 0.7 <= s <= 1.1, ".7 to 1.1", "heavier weights scatter more, lighter ones have the twin near"
        ),
        "distances": DECLARED,
    },
    formula="error 2 (1 - e^{-(1 - r^k) s^2}), cosine e^{-(1 - r^k) s^2}",
    judged="means over replicas; sums of e^{2a} over n keys and rows scatter by sqrt((e^{4 s^2} - 1)/(n rows)); normalisers "
    "of n keys "
    "bias the error by at most 2 e^{2 s^2}/n of itself, the cosine by that of what it lacks of 1",
)
def borrowed_maps_err_by_their_age(setting: BorrowSetting, lab: Lab) -> Verdict:
    """A map that is borrowed over k layers errs by their scores' correlation r^k and by the spread of scores, not by r^k alone.

    Twins: 2 (1 - r^k) s^2, as if weights were linear in scores; the correlation itself for the cosine.
    """
    runs, parts = lab.simulate(borrowed, setting), []
    r, s, n = setting.correlation, setting.score_std, setting.n_keys
    of = f"mean over replicas of {setting.n_rows} draws"
    spread, bias = math.sqrt(math.expm1(4 * s * s) / (n * setting.n_rows)), 2 * math.exp(2 * s * s)
    for i, k in enumerate(setting.distances):
        error, cosine = shared_maps.output_error(r, s, k), shared_maps.map_cosine(r**k, s)
        for name, law, size, rival in (
            ("error", error, error, 2 * (1 - r**k) * s**2),
            ("cosine", cosine, 1 - cosine, r**k),
        ):
            within = budget(finite_size(n, size * bias, of="n"), replicas(size * spread, runs.n, of=of))
            parts.append(
                agrees(
                    runs[name][:, i], law, within=within, of=of, twin=Twin.of("by r^k alone", predicted=rival)
                ).named(f"{name} at {k}")
            )
    return all_of(*parts)


@paper.claim(
    "bases_absorb_values",
    source="section 3 of Hosseini and Hosseini; the change of basis is derived",
    statements=[6],
    setting=BASES,
    parts=2,
    kind="extrapolation",
    formula="optimised(x W^V; W_V^-1 W^Q, W_V^-1 W^K) = multi-head(x); one head: W^Q W^K^T and W^V W^O merged",
    judged="outputs equal within 1000 roundings times the condition of W^V squared",
)
def bases_absorb_values(setting: BasisSetting, lab: Lab) -> Verdict:
    """A layer without value projections is multi-head attention in another basis; one head needs no key projections either.

    Twins: no change of basis; one head with values that are one per cent larger.
    """
    runs = lab.simulate(bases, setting)
    worst = float(runs["condition"].max())
    return all_of(
        identical(
            runs["turned"],
            runs["multi"],
            rounding=1000 * worst**2,
            twin=Twin.of("no change", a=runs["plain"], b=runs["multi"]),
        ).named("optimised"),
        identical(
            runs["efficient"], runs["single"], rounding=1e5, twin=Twin.of("one per cent", b=1.01 * runs["single"])
        ).named("one efficient head"),
    )


@paper.claim(
    "positions_mix_and_leak_unless_triangular",
    source="equation 11 of Hosseini and Hosseini; the facts are derived",
    statements=[8],
    setting=BASES,
    parts=3,
    kind="extrapolation",
    reads=("n_tokens", "n_heads"),
    formula="row sums A r, r = W_A 1; d y_1/d x_t = 0 for t > 1 with a lower triangle; 4, 3, 2 D^2 and 2 D^2 + n^2 numbers",
    judged="sums equal within 10^4 roundings, Jacobians and counts exactly",
)
def positions_mix_and_leak_unless_triangular(setting: BasisSetting, lab: Lab) -> Verdict:
    """Super attention's rows have any sum, its causal form shows nothing of later tokens, and its matrix counts n^2 numbers.

    Twins: rows that sum to one; a Jacobian of 10^-9; a triangle of n (n + 1)/2 numbers.
    """
    runs, n, D = lab.simulate(positions, setting), setting.n_tokens, 4 * setting.n_heads
    forms = [absorbed_projections.n_parameters(form, D) for form in ("multi-head", "optimised", "efficient")]
    law, triangle = (
        np.tile(np.array([*forms, last], float), (runs.n, 1))
        for last in (super_attention.n_parameters(n, D), 2 * D * D + n * (n + 1) // 2)
    )
    none = np.zeros_like(runs["future"])
    return all_of(
        identical(
            runs["row_sum"], runs["predicted"], rounding=1e4, twin=Twin.of("one", b=np.ones_like(runs["predicted"]))
        ).named("row sums"),
        identical(runs["future"], none, rounding=0, twin=Twin.of("a leak", b=none + 1e-9)).named("later tokens"),
        identical(runs["numbers"].astype(float), law, rounding=0, twin=Twin.of("triangle", b=triangle)).named(
            "numbers"
        ),
    )


@paper.claim(
    "gates_average_one",
    source="equations 4 to 7 of Jin et al.",
    statements=[9],
    setting=MIXTURES,
    parts=2,
    kind="construction",
    reads=("n_routed", "n_active"),
    covers={"n_active": that(lambda K: K > 1, "more than one", "the twin is a head fewer")},
    formula="mean gate of shared heads + mean gate of active ones = 2; H_s + K heads have a gradient",
    judged="sums within 1000 roundings for every token; heads counted exactly for the first",
)
def gates_average_one(setting: MixtureSetting, lab: Lab) -> Verdict:
    """However the router decides, gates of shared and of active heads average 2 together, and no other head learns from a token.

    Twins: gates that sum to 1; all routed heads.
    """
    runs, H, K = lab.simulate(mixtures, setting), setting.n_routed, setting.n_active
    two, moved = np.full_like(runs["sum"], 2.0), np.full(runs.n, float(H + K))
    share = head_mixture.published_share(H, K, 2 * H)
    return all_of(
        identical(runs["sum"], two, rounding=1000, twin=Twin.of("one", b=two / 2)).named("gates"),
        identical(
            runs["moved"] / (2 * H), np.full(runs.n, share), rounding=10, twin=Twin.of("all", b=moved / moved)
        ).named("heads that learn"),
    )


@paper.claim(
    "loud_heads_suffice",
    source="section 1 of Jin et al. (half of the heads suffice); the law is derived",
    statements=[10],
    setting=MIXTURES,
    parts=2,
    kind="extrapolation",
    reads=("n_routed", "n_active", "log_norm_std"),
    covers={
        "log_norm_std": that(lambda s: 0.2 <= s <= 0.6, ".2 to .6", "the law is that of many heads"),
        "n_norms": at_least(500),
    },
    formula="Phi(2 s_g - t), t = Phi^-1(1 - K/H_r)",
    judged="means over replicas at two spreads; spread by the delta method of a ratio of n weights, its bias e^{4 s^2}/n",
)
def loud_heads_suffice(setting: MixtureSetting, lab: Lab) -> Verdict:
    """A share of the heads suffices as far as norms differ: at s_g = .5 three eighths keep three quarters of the energy.

    Twin: norms instead of energies, Phi(s_g - t).
    """
    share, n = setting.n_active / setting.n_routed, setting.n_norms
    of, parts = f"mean over replicas of {setting.n_tokens} draws", []
    cells = [setting, replace(setting, log_norm_std=setting.log_norm_std / 2)]
    for cell, runs in zip(cells, lab.simulate(mixtures, *cells), strict=True):
        s = cell.log_norm_std
        p, twice, rival = (head_mixture.kept_energy(share, x) for x in (s, 2 * s, s / 2))
        weight = math.exp(4 * s * s)
        spread = math.sqrt(weight * (twice * (1 - p) ** 2 + (1 - twice) * p * p) / n / cell.n_tokens)
        within = budget(finite_size(n, weight * (twice + p), of="n"), replicas(spread, runs.n, of=of))
        parts.append(
            agrees(runs["kept"], p, within=within, of=of, twin=Twin.of("norms", predicted=rival)).named(f"s_g = {s:g}")
        )
    return all_of(*parts)


@paper.claim(
    "caches_are_read_by_count",
    source="section 3 of Jin et al. (top-K router); corrects 1 - (1 - K/H_r)^m of the sheet",
    statements=[11],
    setting=MIXTURES,
    kind="extrapolation",
    reads=("n_routed", "n_active", "queries_per_key"),
    covers={"n_routed": that(lambda H: H <= 20, "at most 20", "the twin is the limit of many heads")},
    formula="1 - C(H_r - m, K)/C(H_r, K)",
    judged="mean over replicas; every token has a router of its own, and its H_r/m groups exclude one another: at most "
    "sqrt(p (1 - p) m/H_r) per token",
)
def caches_are_read_by_count(setting: MixtureSetting, lab: Lab) -> Verdict:
    """A router that uses exactly K of H_r heads needs more of the cache than heads used independently would.

    Twin: independent heads, 1 - (1 - K/H_r)^m.
    """
    runs, H, K, m = lab.simulate(mixtures, setting), setting.n_routed, setting.n_active, setting.queries_per_key
    p, rival = head_mixture.cache_needed_exact(K, H, m), head_mixture.cache_needed(K / H, m)
    of = f"mean over replicas of {setting.n_tokens} draws"
    within = budget(replicas(math.sqrt(p * (1 - p) * m / H / setting.n_tokens), runs.n, of=of))
    return agrees(runs["needed"], p, within=within, of=of, twin=Twin.of("independent heads", predicted=rival))
