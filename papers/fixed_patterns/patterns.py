"""Claims on patterns alone: paths, influence, scales, halos, strides, waves and power laws, all to rounding."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, all_of, identical
from attnlab.papers.fixed_patterns.paper import COMBS, DECAYS, HALOS, SCALES, STRIDES, WAVES, paper
from attnlab.papers.lab.conditions import at_least, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.fixed_patterns.masks import (
    DecaySetting,
    HaloSetting,
    StrideSetting,
    WaveSetting,
    decays,
    halos,
    strides,
    waves,
)
from attnlab.simulators.fixed_patterns.stacks import CombSetting, ScaleSetting, combs, scales
from attnlab.theory.fixed_patterns import (
    dilated_neighbourhood,
    halo,
    hilo,
    lsg,
    multi_scale_windows,
    neighbourhood,
    reach,
    retained,
)

#: Window and steps of stacks beside the setting's: alternating, with holes, growing by the window.
STACKS = ((7, (1, 7, 1, 7)), (3, (1, 4)), (3, tuple(dilated_neighbourhood.widest_schedule(3, 3))))


def paths(size: int, dilations: tuple[int, ...], half: int) -> np.ndarray:
    """Path counts of a stack on offsets -half to half."""
    low, counts = reach.paths_exact([reach.comb(size, step) for step in dilations])
    found = np.zeros(2 * half + 1)
    found[half + low : half + low + len(counts)] = counts.astype(float)
    return found


def rows(values: np.ndarray, n: int) -> np.ndarray:
    """One row per replica."""
    return np.tile(np.asarray(values, dtype=float), (n, 1))


@paper.claim(
    "paths_of_stacks",
    source="section 3 of Hassani and Shi; the count is derived",
    statements=[1, 2],
    setting=COMBS,
    parts=4,
    kind="construction",
    reads=("size", "dilations"),
    covers={"dilations": that(lambda steps: len(steps) > 1, "of two layers or more", "the twin has one layer fewer")},
    formula="influence at offset o of a stack with equal scores = coefficient of z^o in prod_l sum_z z^(delta_l z), over k^L",
    judged="the operators' maps multiplied through the layers, times k^L, equal within 1000 roundings of k^L",
)
def paths_of_stacks(setting: CombSetting, lab: Lab) -> Verdict:
    """Influence counts paths: schedules 1, 4 of windows of 3 leave two holes, 1, 3, 9 reach 27 offsets by one path each.

    Twin: the stack without its last layer.
    """
    cells = [setting, *(replace(setting, size=size, dilations=steps) for size, steps in STACKS)]
    parts = []
    for cell, runs in zip(cells, lab.simulate(combs, *cells), strict=True):
        size, steps = cell.size, cell.dilations
        half, total = size // 2 * sum(steps), float(size ** len(steps))
        fewer = paths(size, steps[:-1], half) * size
        parts.append(
            identical(
                runs["influence"] * total,
                rows(paths(size, steps, half), runs.n),
                rounding=1000,
                scale=total,
                twin=Twin.of("a layer fewer", b=rows(fewer, runs.n)),
            ).named(f"windows of {size}, steps {steps}")
        )
    return all_of(*parts)


@paper.claim(
    "influence_is_narrow",
    source="section 3 of Hassani et al. (receptive field); the spread is derived",
    statements=[2],
    setting=COMBS,
    kind="extrapolation",
    reads=("size", "dilations"),
    covers={"dilations": that(lambda steps: set(steps) == {1}, "all 1", "the formula is that of undilated windows")},
    formula="standard deviation of the influence = sqrt(L (k^2 - 1)/12), where the receptive field is 1 + L (k - 1)",
    judged="from the operators' maps, equal within 10^4 roundings",
)
def influence_is_narrow(setting: CombSetting, lab: Lab) -> Verdict:
    """Four neighbourhoods of 7 reach 12 cells to each side, but their influence has a standard deviation of 4.

    Twin: windows without cells, sqrt(L k^2/12).
    """
    runs, L = lab.simulate(combs, setting), len(setting.dilations)
    law = np.full(runs.n, neighbourhood.influence_std(setting.size, L))
    return identical(
        runs["std"], law, rounding=1e4, twin=Twin.of("no cells", b=np.full(runs.n, setting.size * math.sqrt(L / 12)))
    )


@paper.claim(
    "scales_reach_far_and_look_near",
    source="section 3 of Xu et al. (windows, cost); the moments are derived",
    statements=[6],
    setting=SCALES,
    parts=4,
    kind="extrapolation",
    reads=("window", "n_layers"),
    covers={"window": that(lambda w: w % 16 == 0, "multiples of 16", "windows of w/16 keys must be whole")},
    formula="mean window (15/16)^2 w; reach sum_l (2 w_l - 1); mean and spread of the influence = moments of a sum of steps",
    judged="from the operators' maps, equal within 10^5 roundings",
)
def scales_reach_far_and_look_near(setting: ScaleSetting, lab: Lab) -> Verdict:
    """Windows of four scales reach nearly twice as far at .879 of the cost, with a nearer mean and twice the spread of influence.

    Twins: equal windows of the base size; for the cost, one of the two groupings, 15/16.
    """
    runs, w, L = lab.simulate(scales, setting), setting.window, setting.n_layers
    mean, std = multi_scale_windows.influence_moments(w, L)
    law = {
        "mean_window": (w * multi_scale_windows.mean_window_share(), w * 15 / 16),
        "reach": (multi_scale_windows.reach(w, L), L * (w - 1)),
        "mean": (mean, L * (w - 1) / 2),
        "std": (std, neighbourhood.influence_std(w, L)),
    }
    return all_of(
        *(
            identical(
                runs[name].astype(float), np.full(runs.n, float(predicted)), rounding=1e5,
                twin=Twin.of("equal windows", b=np.full(runs.n, float(rival))),
            ).named(name.replace("_", " "))
            for name, (predicted, rival) in law.items()
        )
    )  # fmt: skip


@paper.claim(
    "halos_break_translation",
    source="section 2.2 of Vaswani et al. 2021; the shares are derived",
    statements=[7],
    setting=HALOS,
    parts=3,
    kind="construction",
    reads=("block", "halo", "n_layers"),
    covers={"halo": that(lambda h: h >= 1, "at least 1", "without a halo nothing is seen outside")},
    formula="share of queries that see offset r: min(1, (b + h - r)/b); keys (1 + 2h/b) per axis; left edge h + (L - 1) b",
    judged="the operator's maps on a line, equal within 100 roundings",
)
def halos_break_translation(setting: HaloSetting, lab: Lab) -> Verdict:
    """Which offsets a query sees depends on its place in the block; averaged over places the share falls linearly beyond h.

    Twins: a window of 2 h + 1 cells; a layer that adds h to the field.
    """
    runs = lab.simulate(halos, setting)
    b, h, L = setting.block, setting.halo, setting.n_layers
    offsets, layers = range(b + h + 1), range(1, L + 1)
    share = [halo.visible_share(r, b, h) for r in offsets]
    keys = np.full(runs.n, math.sqrt(halo.overhead(b, h)))
    return all_of(
        identical(
            runs["share"], rows(share, runs.n), rounding=100, scale=1.0,
            twin=Twin.of("a window of 2 h + 1", b=rows([float(r <= h) for r in offsets], runs.n)),
        ).named("share of offsets"),
        identical(
            runs["keys"], keys, rounding=100, twin=Twin.of("half a halo", b=np.full(runs.n, 1 + h / b))
        ).named("keys per query"),
        identical(
            runs["left"].astype(float), rows([halo.left_edge(layer, b, h) for layer in layers], runs.n), rounding=100,
            twin=Twin.of("a halo per layer", b=rows([h * layer for layer in layers], runs.n)),
        ).named("left edge"),
    )  # fmt: skip


@paper.claim(
    "strides_see_one_in_f",
    source="section 3 of Condevaux and Harispe; the share is derived",
    statements=[4],
    setting=STRIDES,
    parts=2,
    kind="construction",
    reads=("factors", "block", "n_heads"),
    formula="share of far keys seen by H heads of different offsets: min(1, H/f); keys per query 5 b + 1",
    judged="the operator's maps, equal within 10 roundings",
)
def strides_see_one_in_f(setting: StrideSetting, lab: Lab) -> Verdict:
    """Beyond the local blocks a key is seen with probability H/f, at 5 b + 1 keys per query.

    Twins: one head's share; 5 b keys.
    """
    runs = lab.simulate(strides, setting)
    seen = [lsg.seen_by_stride(factor, setting.n_heads) for factor in setting.factors]
    keys = rows([lsg.keys_per_query(setting.block)] * len(setting.factors), runs.n)
    return all_of(
        identical(
            runs["seen"], rows(seen, runs.n), rounding=10, scale=1.0,
            twin=Twin.of("one head", b=rows([lsg.seen_by_stride(factor) for factor in setting.factors], runs.n)),
        ).named("far keys"),
        identical(
            runs["keys"].astype(float), keys, rounding=10, twin=Twin.of("no global key", b=keys - 1)
        ).named("keys per query"),
    )  # fmt: skip


@paper.claim(
    "pools_are_box_filters",
    source="section 3 of Pan et al.; the filter is derived",
    statements=[8],
    setting=WAVES,
    parts=2,
    kind="construction",
    reads=("frequencies", "window"),
    covers={"window": that(lambda s: s % 2 == 0, "even ones", "an odd window passes some of the Nyquist frequency")},
    formula="gain |sin(w s/2)/(s sin(w/2))| of the pooled branch, 0 at the Nyquist frequency",
    judged="waves along a line, equal within 1000 roundings; the alternating wave moves the low branch by no more than that",
)
def pools_are_box_filters(setting: WaveSetting, lab: Lab) -> Verdict:
    """The pooled branch sees waves through a box filter and is blind at the Nyquist frequency; the windowed one is not.

    Twins: a window without cells, |sin(w s/2)/(w s/2)|; the windowed branch.
    """
    runs = lab.simulate(waves, setting)
    half = np.array(setting.frequencies) * setting.window / 2
    gain = [hilo.box_filter(w, setting.window) for w in setting.frequencies]
    low, high = runs["nyquist"].T
    return all_of(
        identical(
            runs["gain"], rows(gain, runs.n), rounding=1000, scale=1.0,
            twin=Twin.of("no cells", b=rows(np.abs(np.sin(half) / half), runs.n)),
        ).named("gain"),
        identical(
            low, np.full(runs.n, hilo.box_filter(math.pi, setting.window)), rounding=1000, scale=1.0,
            twin=Twin.of("the windowed branch", b=high),
        ).named("Nyquist frequency"),
    )  # fmt: skip


@paper.claim(
    "windows_of_power_laws",
    source="derived for sliding windows",
    statements=[3],
    setting=DECAYS,
    kind="construction",
    reads=("windows", "n_keys", "decay"),
    covers={"n_keys": at_least(16, "the twin is an integral")},
    formula="mass of the w nearest of n keys at weights (1 + r)^-b: H_w(b)/H_n(b)",
    judged="softmax with that bias, equal within n roundings",
)
def windows_of_power_laws(setting: DecaySetting, lab: Lab) -> Verdict:
    """A window keeps the ratio of two generalised harmonic numbers.

    Twin: the ratio of the integrals.
    """
    runs, n, b = lab.simulate(decays, setting), setting.n_keys, setting.decay
    law = [retained.window_mass(w, n, b) for w in setting.windows]

    def integral(x: float) -> float:
        return math.log1p(x) if b == 1 else ((1 + x) ** (1 - b) - 1) / (1 - b)

    rival = [integral(w) / integral(n) for w in setting.windows]
    return identical(
        runs["mass"], rows(law, runs.n), rounding=n, scale=1.0, twin=Twin.of("integrals", b=rows(rival, runs.n))
    )
