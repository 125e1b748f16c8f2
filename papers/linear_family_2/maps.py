"""Claims on the maps of linear variants: how sharp, of what rank, how much they keep, how flat they are."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, finite_size, identical, replicas
from attnlab.papers.lab.conditions import at_least, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.linear_family_2.paper import BOTTLENECKS, LATENTS, MEDIATORS, PARABOLAS, RECTIFIED, ROWS, paper
from attnlab.simulators.linear_variants.maps import (
    BottleneckSetting,
    LatentSetting,
    MediatorSetting,
    ParabolaSetting,
    RectifiedSetting,
    RowSetting,
    bottlenecks,
    latents,
    learned,
    mediators,
    parabolas,
    rectified,
)
from attnlab.theory.linear_variants import latent_mixture, mediator_tokens, relu_linear, taylor_shift
from attnlab.theory.low_rank import perceiver
from attnlab.theory.score_maps import learned_rows

#: Widths beside the setting's; spread of keys beside it; factor on tokens that makes softmax sharp.
WIDTHS, LONG, SHARP = (2, 8), 3.0, 8.0
ENOUGH = {"n_tokens": at_least(48, "fewer tokens bound the rank at these widths")}


@paper.claim(
    "two_forms_one_rank",
    source="equations 1 and 3 of Nauen et al.; the rank is derived",
    statements=[1],
    setting=PARABOLAS,
    parts=4,
    kind="extrapolation",
    reads=("width",),
    covers=ENOUGH,
    formula="map times values = linear form; rank (d+1)(d+2)/2 with keys as drawn, one less with keys of unit length",
    judged="outputs equal within 10^5 roundings; singular values above 10^-9 of the largest, exactly in every replica",
)
def two_forms_one_rank(setting: ParabolaSetting, lab: Lab) -> Verdict:
    """The squares of a unit key sum to the constant feature, so the operator's map has rank (d+1)(d+2)/2 - 1: 5, 14, 44.

    Twins: values one per cent larger; the published d^2 + d + 1 features (at d = 8 more than there are tokens).
    """
    cells = [setting, *(replace(setting, width=d) for d in WIDTHS)]
    every, parts = lab.simulate(parabolas, *cells), []
    for cell, runs in zip(cells, every, strict=True):
        d, n = cell.width, cell.n_tokens
        law = [taylor_shift.rank(d, n, unit) for unit in (True, False)]
        rows = [np.tile(np.array(x, float), (runs.n, 1)) for x in (law, [min(n, d * d + d + 1)] * 2)]
        parts.append(
            identical(runs["rank"].astype(float), rows[0], rounding=0, twin=Twin.of("published", b=rows[1])).named(
                f"d = {d}"
            )
        )
    direct = every[0]["direct"]
    return all_of(
        identical(every[0]["linear"], direct, rounding=1e5, twin=Twin.of("one per cent", b=1.01 * direct)).named(
            "forms"
        ),
        *parts,
    )


@paper.claim(
    "parabolas_are_blunt",
    source="equation 1 of Nauen et al. (Taylor softmax); the bound is derived",
    statements=[2],
    setting=PARABOLAS,
    kind="extrapolation",
    formula="max_s w(s)/w(-s) = (1 + sqrt 2)^2 = 5.83, at s = sqrt 2",
    judged="largest ratio over temperatures 0 to 8 in every replica; the grid's step .02 leaves less than 10^-3 of it",
)
def parabolas_are_blunt(setting: ParabolaSetting, lab: Lab) -> Verdict:
    """However large the temperature, an aligned key weighs at most 5.83 times an opposite one.

    Twin: one per cent less.
    """
    runs, bound = lab.simulate(parabolas, setting), taylor_shift.largest_ratio_bound()
    return bounded(
        runs["ratio"], bound, of="every replica", within=1e-9, twin=Twin.of("one per cent less", bound=0.99 * bound)
    )


@paper.claim(
    "retrieval_needs_root_n",
    source="section 3.2 of Nauen et al. (temperature); the law is derived",
    statements=[3],
    setting=PARABOLAS,
    kind="extrapolation",
    reads=("n_keys",),
    formula="tau = -1 + sqrt(1 + 2 (n - 2))",
    judged="temperatures by bisection on the operator's map, equal within 10^4 roundings of the largest",
)
def retrieval_needs_root_n(setting: ParabolaSetting, lab: Lab) -> Verdict:
    """To hold half of the mass against n - 1 keys of cosine 0 the temperature grows like sqrt(2 n), not like ln n.

    Twin: its limit sqrt(2 n).
    """
    runs = lab.simulate(parabolas, setting)
    law, limit = (
        np.tile([f(n) for n in setting.n_keys], (runs.n, 1))
        for f in (taylor_shift.half_mass_temperature, lambda n: math.sqrt(2 * n))
    )
    return identical(runs["temperature"], law, rounding=1e4, twin=Twin.of("sqrt(2 n)", b=limit))


@paper.claim(
    "mediators_average_twice",
    source="equations 5 and 6 of Han et al.; the bounds are derived",
    statements=[4],
    setting=MEDIATORS,
    parts=3,
    kind="extrapolation",
    reads=("n_tokens", "n_mediators"),
    covers={"n_mediators": that(lambda m: 1 < m < 30, "1 < m < 30", "fewer than the tokens")},
    formula="|1 - P|_F^2 >= n - m; max P <= max P_1; delta(P) <= delta(P_2) delta(P_1)",
    judged="the operator's map and factors, in every replica; weights and coefficients on tokens eight times as long, at "
    "which both softmaxes are sharp",
)
def mediators_average_twice(setting: MediatorSetting, lab: Lab) -> Verdict:
    """Through m mediators the identity stays far, collecting sets the sharpness, and differences shrink twice.

    Twins: n, as if rank did not count; 19/20 of both factors' largest weights multiplied; nine tenths of the product with
    collecting counted twice.
    """
    near, runs = lab.simulate(mediators, setting, replace(setting, size=SHARP * setting.size))
    n, m = setting.n_tokens, setting.n_mediators
    least = mediator_tokens.distance_from_identity_bound(n, m)
    largest = np.array([mediator_tokens.largest_weight_bound(c) for c in runs["collect"]])
    both = largest * runs["give"].max((1, 2)) * 0.95
    shrunk = [[mediator_tokens.dobrushin(x) for x in runs[name]] for name in ("collect", "give")]
    collect, give = (np.array(x) for x in shrunk)
    return all_of(
        bounded(near["distance"], least, side="below", of="every replica", twin=Twin.of("n", bound=float(n))).named(
            "distance to the identity"
        ),
        bounded(
            runs["largest"], largest, of="every replica", within=1e-12, twin=Twin.of("both factors", bound=both)
        ).named("largest weight"),
        bounded(
            runs["apart"],
            give * collect,
            of="every replica",
            within=1e-12,
            twin=Twin.of("squared", bound=0.9 * give * collect**2),
        ).named("Dobrushin"),
    )


@paper.claim(
    "latents_have_no_recency",
    source="equation 13 of Dolga et al.; the facts are derived",
    statements=[5],
    setting=LATENTS,
    parts=4,
    kind="extrapolation",
    reads=("n_tokens", "n_latents"),
    covers={"n_tokens": that(lambda t: t <= 20, "at most 20", "the twin is a token more")},
    formula="E[weight of the newest of t] = 1/t for every spread; rank of blocks below the diagonal L, of the whole map n",
    judged="means over replicas at two spreads of keys; a weight in [0, 1] of mean p scatters by at most sqrt(p (1 - p)) "
    "per draw, "
    "divided by sqrt(L) for latents that are independent at random queries: the bound is used; ranks exactly",
)
def latents_have_no_recency(setting: LatentSetting, lab: Lab) -> Verdict:
    """Causal latents weigh the newest of exchangeable tokens by 1/t, whatever the spread of keys, and forget below rank L.

    Twins: 1/(t + 1), as with the token before the first; blocks of rank L + 1; a whole map of rank L.
    """
    cells, t, L = [setting, replace(setting, key_std=LONG)], setting.n_tokens, setting.n_latents
    of, parts = f"mean over replicas of {setting.n_draws} draws", []
    every = lab.simulate(latents, *cells)
    p, rival = latent_mixture.newest_weight(t), latent_mixture.newest_weight(t + 1)
    for cell, runs in zip(cells, every, strict=True):
        within = budget(replicas(math.sqrt(p * (1 - p) / cell.n_draws), runs.n, of=of))
        parts.append(
            agrees(runs["newest"], p, within=within, of=of, twin=Twin.of("1/(t + 1)", predicted=rival)).named(
                f"keys of spread {cell.key_std:g}"
            )
        )
    runs = every[0]
    rank = float(latent_mixture.block_rank(3 * L, 3 * L, L))
    for name, law, wrong in (("below", rank, rank + 1), ("whole", 6.0 * L, rank)):
        parts.append(
            identical(
                runs[name].astype(float),
                np.full(runs.n, law),
                rounding=0,
                twin=Twin.of("rival", b=np.full(runs.n, wrong)),
            ).named(f"rank {name}")
        )
    return all_of(*parts)


@paper.claim(
    "bottlenecks_lose_by_count",
    source="section 3.1 of Jaegle et al.; corrects 1 - min(1, R M/n) of the sheet, which needs the reads kept apart",
    statements=[6],
    setting=BOTTLENECKS,
    parts=2,
    kind="extrapolation",
    reads=("n_tokens", "n_latents", "n_reads", "value_width", "width"),
    covers={"n_reads": that(lambda R: 1 < R <= 5, "2 to 5", "with one read the twin is the law")},
    formula="apart: 1 - min(1, R M/n); summed into M latents of width D: 1 - min(1, R M/n, M D/(n d_v))",
    judged="ranks of the maps by singular values, exactly in every replica",
)
def bottlenecks_lose_by_count(setting: BottleneckSetting, lab: Lab) -> Verdict:
    """What M latents keep of n values is a count: R M maps if reads stay apart, and never more than their own M D numbers.

    Twins: one read; reads that add up without a bound.
    """
    runs = lab.simulate(bottlenecks, setting)
    n, M, R = setting.n_tokens, setting.n_latents, setting.n_reads
    apart = perceiver.unexplained_share(n, M, R)
    summed = perceiver.unexplained_share_of_sums(n, M, R, setting.width, setting.value_width)
    one = perceiver.unexplained_share(n, M)
    return all_of(
        *(
            identical(
                runs[name], np.full(runs.n, law), rounding=10, twin=Twin.of("rival", b=np.full(runs.n, rival))
            ).named(name)
            for name, law, rival in (("apart", apart, one), ("summed", summed, apart))
        )
    )


@paper.claim(
    "rectified_rows_are_flat",
    source="equation 5 of Zheng et al.; the law is derived",
    statements=[7],
    setting=RECTIFIED,
    parts=2,
    kind="extrapolation",
    reads=("width",),
    covers={"width": at_least(16, "the law is for wide heads"), "n_keys": at_least(250, "and many keys")},
    formula="n E P^2 - 1 = pi (pi - 1)/d",
    judged="means over replicas at two widths; biases .42/d of the law by expanding the ratio, 2/n for the row sum; spreads "
    "sqrt(1.57/d) per row over n rows, and sqrt(2/n) for keys that rows share",
)
def rectified_rows_are_flat(setting: RectifiedSetting, lab: Lab) -> Verdict:
    """The rows of rectified linear attention flatten as heads widen, whatever the size of queries and keys.

    Twin: weights without their mean taken off, pi^2/d.
    """
    cells, parts = [setting, replace(setting, width=2 * setting.width)], []
    for cell, runs in zip(cells, lab.simulate(rectified, *cells), strict=True):
        d, n = cell.width, cell.n_keys
        law = relu_linear.excess_participation(d)
        of = f"mean over replicas of {n} draws"
        spread = law * (math.sqrt(1.57 / d / n) + math.sqrt(2 / n))
        within = budget(
            finite_size(d, 0.42 * law, of="d"), finite_size(n, 2.0, of="n"), replicas(spread, runs.n, of=of)
        )
        rival = Twin.of("second moments", predicted=math.pi**2 / d)
        parts.append(agrees(runs["excess"], law, within=within, of=of, twin=rival).named(f"d = {d}"))
    return all_of(*parts)


@paper.claim(
    "clamps_shrink_short_texts",
    source="equation 5 of Zheng et al. (the maximum with 100); the row sum is derived",
    statements=[8],
    setting=RECTIFIED,
    kind="extrapolation",
    reads=("width", "n_few"),
    covers={"width": that(lambda d: d <= 200, "at most 200", "wider heads leave the clamp at so few tokens")},
    assumptions=("the normaliser stays below 100: n is half of 628/d",),
    formula="mean row sum over tau = n d/(200 pi)",
    judged="mean over replicas; a row sum scatters by at most sqrt((pi - 1)/d + 1/n) of its mean over independent draws",
)
def clamps_shrink_short_texts(setting: RectifiedSetting, lab: Lab) -> Verdict:
    """While the clamp acts rows sum to tau n d/(200 pi): sequences shorter than 628/d are scaled down.

    Twin: a token fewer.
    """
    runs, d, n = lab.simulate(rectified, setting), setting.width, setting.n_few
    law, rival = (relu_linear.clamped_row_sum(m, d) for m in (n, n - 1))
    of = f"mean over replicas of {setting.n_draws} draws"
    spread = law * math.sqrt((math.pi - 1) / d + 1 / n) / math.sqrt(setting.n_draws)
    return agrees(
        runs["row_sum"],
        law,
        within=budget(replicas(spread, runs.n, of=of)),
        of=of,
        twin=Twin.of("n - 1", predicted=rival),
    )


@paper.claim(
    "the_module_reaches_its_square",
    source="equation 7 of Zheng et al.",
    statements=[9],
    setting=RECTIFIED,
    kind="construction",
    formula="cells that influence one output of the module: (2 k - 1)^2 = 169 for k = 7",
    judged="cells whose gradient is not zero, exactly in every replica",
)
def the_module_reaches_its_square(setting: RectifiedSetting, lab: Lab) -> Verdict:
    """Two kernels of 7 cells, one after the other, reach 13 x 13 cells.

    Twin: one kernel, 49 cells.
    """
    runs = lab.simulate(rectified, setting)
    law = np.full(runs.n, float(relu_linear.receptive_field()))
    return identical(runs["field"].astype(float), law, rounding=0, twin=Twin.of("one kernel", b=np.full(runs.n, 49.0)))


@paper.claim(
    "learned_rows_are_of_low_rank",
    source="section 3 of Maity et al. (Fourier units, low rank); rank and error are derived",
    statements=[16],
    setting=ROWS,
    parts=2,
    kind="extrapolation",
    reads=("n_tokens", "n_units", "n_frequencies"),
    covers={"n_frequencies": that(lambda G: max(G) <= 100, "at most 100", "the quadrature has 400 points")},
    formula="rank r; relative squared error of e^x on a whole period = 2 sum_{m > G} (1 + m^2)^-1 / (pi coth pi), about .634/G",
    judged="rank exactly; errors of least squares on 400 Gauss points, equal within 10^-10",
)
def learned_rows_are_of_low_rank(setting: RowSetting, lab: Lab) -> Verdict:
    """Rows of r units have rank r, and waves on a whole period fit e^x by a slow law, since it jumps where the period closes.

    Twins: a unit more; the limit .634/G.
    """
    runs = lab.simulate(learned, setting)
    law, limit = (
        np.tile([f(G) for G in setting.n_frequencies], (runs.n, 1))
        for f in (learned_rows.exponential_error, learned_rows.exponential_error_limit)
    )
    rank = learned_rows.rank(setting.n_tokens, setting.n_units)
    return all_of(
        identical(
            runs["rank"].astype(float), np.full(runs.n, float(rank)), rounding=0,
            twin=Twin.of("a unit more", b=np.full(runs.n, rank + 1.0)),
        ).named("rank"),
        identical(runs["whole"], law, rounding=1e-10 / np.finfo(float).eps, scale=1.0, twin=Twin.of("limit", b=limit)).named(
            "error"
        ),
    )  # fmt: skip
