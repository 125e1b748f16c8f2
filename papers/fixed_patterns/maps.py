"""Claims on weights at random: what norms tell, what windows pass, what a cell remembers, how regions count, how maps forget."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, finite_size, identical, replicas
from attnlab.papers.fixed_patterns.paper import CELLS, ENERGIES, NORMS, REGIONS, SHARED, paper
from attnlab.papers.fixed_patterns.patterns import rows
from attnlab.papers.lab.conditions import at_least, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.fixed_patterns.maps import (
    EnergySetting,
    NormSetting,
    RegionSetting,
    SharedMapSetting,
    energies,
    norms,
    regions,
    shared_maps,
)
from attnlab.simulators.fixed_patterns.stacks import CellSetting, cells
from attnlab.theory.base_scores import dot_product
from attnlab.theory.fixed_patterns import combiner, hilo, layout_attention, lsg, window_recurrence


@paper.claim(
    "norms_tell_little",
    source="section 3 of Condevaux and Harispe (norm selection); the law is derived",
    statements=[5],
    setting=NORMS,
    kind="extrapolation",
    reads=("factor", "score_std", "dim", "block"),
    formula="kept mass P(chi'^2_d(s^2) > chi^2_{d, 1 - 1/f}), about Phi(s^2/sqrt(2d) - t)",
    judged="mean over replicas; the bias of a ratio of n weights is below e^{s^2} (g_2/g + 1)/n of it, g_2 the law at 2 s; a "
    "draw's share g scatters by sqrt(e^{s^2} (g_2 (1 - g)^2 + (1 - g_2) g^2)/n)",
)
def norms_tell_little(setting: NormSetting, lab: Lab) -> Verdict:
    """The keys of largest norm, an f-th of all, keep little more than an f-th of the mass: norm and score hardly correlate.

    Twin: norms that correlate with scores at s/sqrt(d), sqrt 2 more.
    """
    runs, f, s, d, n = lab.simulate(norms, setting), setting.factor, setting.score_std, setting.dim, setting.block
    g, double = (lsg.kept_by_norm_limit(f, x, d) for x in (s, 2 * s))
    weight = math.exp(s * s)
    of = f"mean over replicas of {setting.n_draws} draws"
    within = budget(
        finite_size(n, weight * (double + g), of="n"),
        replicas(
            math.sqrt(weight * (double * (1 - g) ** 2 + (1 - double) * g**2) / n / setting.n_draws), runs.n, of=of
        ),
    )
    rival = lsg.kept_by_norm(f, 2**0.25 * s, d)
    return agrees(runs["kept"], g, within=within, of=of, twin=Twin.of("correlation s/sqrt(d)", predicted=rival))


@paper.claim(
    "windows_pass_little",
    source="section 3 of Pan et al. (high frequencies); the energy is derived",
    statements=[8],
    setting=ENERGIES,
    kind="extrapolation",
    reads=("score_std", "cells"),
    formula="E (output - window mean)^2 = E sum p_j^2 - 1/m for independent values of variance 1",
    judged="mean over replicas; a square of one number scatters by at most 3 times its mean for these weights",
)
def windows_pass_little(setting: EnergySetting, lab: Lab) -> Verdict:
    """What the windowed branch passes beside the window's mean is the excess of its participation over equal weights.

    Twin: that energy less the share 1/m, as for the mean of the outputs.
    """
    runs, m = lab.simulate(energies, setting), setting.cells
    law = hilo.energy_off_the_mean(dot_product.participation_exact(setting.score_std, m), m)
    of = f"mean over replicas of {setting.n_draws} draws"
    within = budget(replicas(3 * law / math.sqrt(setting.n_draws), runs.n, of=of))
    return agrees(
        runs["energy"], law, within=within, of=of, twin=Twin.of("off the outputs", predicted=law * (1 - 1 / m))
    )


@paper.claim(
    "cells_pass_width_minus_two",
    source="section 3 of Li et al. (memory review); the rank is derived",
    statements=[9],
    setting=CELLS,
    parts=4,
    kind="extrapolation",
    reads=("width",),
    covers={"window": at_least(4, "a window of fewer numbers than the cell bounds the rank itself")},
    formula="rank of the Jacobian of a later window with respect to an earlier one = D - 2, with and without review",
    judged="singular values above 10^-9 of the largest, exactly in every replica",
)
def cells_pass_width_minus_two(setting: CellSetting, lab: Lab) -> Verdict:
    """Of all numbers of a window D - 2 reach any later window, and the review of all cells does not raise that.

    Twin: D - 1, as if only the mean were removed.
    """
    D = setting.width
    every = [replace(setting, width=width, review=review) for width in (D, D + 4) for review in (False, True)]
    parts = []
    for cell, runs in zip(every, lab.simulate(cells, *every), strict=True):
        law = float(window_recurrence.memory_rank_bound(cell.width))
        parts.append(
            identical(
                runs["across"].astype(float), np.full(runs.n, law), rounding=1,
                twin=Twin.of("the mean alone", b=np.full(runs.n, law + 1)),
            ).named(f"D = {cell.width}, {'with' if cell.review else 'no'} review")
        )  # fmt: skip
    return all_of(*parts)


@paper.claim(
    "regions_count_as_one",
    source="section 4.1 of Ren et al.; the mass is derived",
    statements=[10],
    setting=REGIONS,
    parts=2,
    kind="construction",
    reads=("span", "n_regions"),
    covers={"n_regions": at_least(3, "with two regions the twin is near")},
    formula="equal keys: mass of the own span s/(s + n/s - 1) for maxima and means, s/n with ln|R| in the region's logit; "
    "blocks off the own span have rank 1",
    judged="the operator's maps, equal within 1000 roundings; ranks exactly",
)
def regions_count_as_one(setting: RegionSetting, lab: Lab) -> Verdict:
    """A region of equal keys weighs like one token, so the abstraction is not exact there, unless ln|R| is added.

    Twins: s/n for all summaries; rank 2.
    """
    runs, s = lab.simulate(regions, setting), setting.span
    n = s * setting.n_regions
    one, all_of_them = combiner.own_span_mass(n, s), combiner.own_span_mass(n, s, counted=True)
    return all_of(
        identical(
            runs["own_mass"], rows([one, one, all_of_them], runs.n), rounding=1000, scale=1.0,
            twin=Twin.of("every token counts", b=rows([all_of_them] * 3, runs.n)),
        ).named("own mass"),
        identical(
            runs["rank"].astype(float), np.ones(runs.n), rounding=1, twin=Twin.of("rank 2", b=np.full(runs.n, 2.0))
        ).named("rank"),
    )  # fmt: skip


@paper.claim(
    "maxima_shift_regions",
    source="section 4.1 of Ren et al. (max-pooling); the shift is derived",
    statements=[10],
    setting=REGIONS,
    kind="extrapolation",
    reads=("span", "n_regions", "dim"),
    covers={"span": at_least(3, "the twin is a span of one token less")},
    formula="shift of the region logits of a query = m_s sum_c q_c/sqrt(d), m_s the mean of the largest of s normals",
    judged="slope over the queries of a replica, mean over replicas; per channel the mean over R - 1 regions scatters by "
    "tau/sqrt(R - 1), tau^2 = var max - 1/s, and d channels and n queries average it",
)
def maxima_shift_regions(setting: RegionSetting, lab: Lab) -> Verdict:
    """Max-pooled keys shift all regions of a query by m_s sum_c q_c/sqrt(d): the sign of a sum decides for or against far tokens.

    Twin: spans of one token less.
    """
    runs, s, R = lab.simulate(regions, setting), setting.span, setting.n_regions
    mean, variance = combiner.largest_normal(s)
    rival = combiner.largest_normal(s - 1)[0]
    spread = math.sqrt((variance - 1 / s) / (R - 1) * (1 / setting.dim + 1 / (s * R)))
    of = f"mean over replicas of {setting.dim} draws"
    return agrees(
        runs["slope"],
        combiner.region_shift_std(mean, 1.0),
        within=budget(replicas(spread, runs.n, of=of)),
        of=of,
        twin=Twin.of("a token less", predicted=rival),
    )


@paper.claim(
    "shared_maps_forget",
    source="section 3 of Nguyen et al.; the rate is derived",
    statements=[11],
    setting=SHARED,
    kind="extrapolation",
    reads=("n_tokens", "score_std"),
    covers={
        "score_std": that(
            lambda s: s <= 0.8, "at most .8", "heavier weights have eigenvalues off the circle at these n"
        )
    },
    formula="|lambda_2| = sqrt((e^{s^2} - 1)/n)",
    judged="median over replicas; the edge of a random matrix of n rows lies off its circle by order n^{-1/2}",
)
def shared_maps_forget(setting: SharedMapSetting, lab: Lab) -> Verdict:
    """A stack that uses one random map again loses what is not the mean at the rate |lambda_2| per layer.

    Twin: weights linear in the scores, s/sqrt(n).
    """
    runs, n, s = lab.simulate(shared_maps, setting), setting.n_tokens, setting.score_std
    law = layout_attention.second_eigenvalue_limit(s, n)
    return agrees(
        runs["second"],
        law,
        within=budget(finite_size(n, law, power=0.5, of="n")),
        of="median over replicas",
        twin=Twin.of("linear weights", predicted=s / math.sqrt(n)),
    )


@paper.claim(
    "layout_maps_superpose",
    source="equation 1 of Nguyen et al.",
    statements=[11],
    setting=SHARED,
    kind="construction",
    formula="y(a + 2 b) = y(a) + 2 y(b) for texts a, b on one layout",
    judged="the operator's outputs, equal within 1000 roundings of the largest",
)
def layout_maps_superpose(setting: SharedMapSetting, lab: Lab) -> Verdict:
    """A map made from the layout is linear in the text.

    Twin: the second text counted once more in a hundred.
    """
    runs = lab.simulate(shared_maps, setting)
    size = float(np.abs(runs["parts"]).max())
    return identical(
        runs["superposed"],
        runs["parts"],
        rounding=1000,
        scale=size,
        twin=Twin.of("one per cent", b=1.01 * runs["parts"]),
    )
