"""Figures: temperatures that retrieval needs, flatness of rectified rows, growth of a global query, what a bottleneck loses."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.linear_family_2.paper import BOTTLENECKS, GLOBALS, PARABOLAS, RECTIFIED, paper
from attnlab.simulators.linear_variants.gates import GlobalSetting, global_queries
from attnlab.simulators.linear_variants.maps import (
    BottleneckSetting,
    ParabolaSetting,
    RectifiedSetting,
    bottlenecks,
    parabolas,
    rectified,
)
from attnlab.theory.linear_variants import additive_global_query, relu_linear, taylor_shift
from attnlab.theory.low_rank import perceiver

SIZES, WIDTHS, LENGTHS = (16, 64, 256, 1024), (16, 32, 64, 128), (16, 64, 256, 1024)


@paper.figure(
    "fig1",
    caption="Temperature at which one key of cosine 1 holds half of the mass among n - 1 keys of cosine 0 (points: the "
    "operator, by "
    "bisection; lines: TaylorShift's law, and softmax's ln(n - 1))",
    source="TaylorShift",
    setting=PARABOLAS,
    claims=("retrieval_needs_root_n",),
)
def temperature(setting: ParabolaSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel, fine = plate[0, 0], np.geomspace(SIZES[0], SIZES[-1], 60)
    law = [taylor_shift.half_mass_temperature(n) for n in fine.astype(int)]
    figures.prediction(panel, fine.astype(int), law, "Taylor softmax")
    runs = lab.simulate(parabolas, replace(setting, n_keys=SIZES))
    figures.measurement(panel, SIZES, runs["temperature"], "Taylor softmax")
    figures.prediction(panel, fine, [math.log(n - 1) for n in fine], "softmax, ln(n - 1)")
    panel.scale(x="log", y="log")
    panel.labels(x="number of keys n", y="temperature needed")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="(a) Flatness n E P^2 - 1 of rectified linear rows against the width of the head. (b) Length of SwiftFormer's global "
    "query against the number of tokens, D = 8. Points: means and 95 % intervals over replicas; lines: the limits",
    source="L2ViT; SwiftFormer",
    setting=RECTIFIED,
    claims=("rectified_rows_are_flat", "global_queries_iterate_once"),
)
def flatness(setting: RectifiedSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    panel, beside = plate[0, 0], plate[0, 1]
    figures.prediction(panel, WIDTHS, [relu_linear.excess_participation(d) for d in WIDTHS], r"$\pi(\pi - 1)/d$")
    runs = lab.simulate(rectified, *(replace(setting, width=d, n_draws=10) for d in WIDTHS))
    figures.measurement(panel, WIDTHS, np.stack([each["excess"] for each in runs], 1), r"$\pi(\pi - 1)/d$")
    figures.prediction(panel, WIDTHS, np.full(len(WIDTHS), math.e - 1), "softmax, unit scores")
    D = GLOBALS.desk.width
    law = [additive_global_query.isotropic_size_limit(n, D) for n in LENGTHS]
    figures.prediction(beside, LENGTHS, law, r"$\sqrt{n/D}$")
    cells = (GlobalSetting(n, D, setting.n_replicas) for n in LENGTHS)
    runs = lab.simulate(global_queries, *cells)
    figures.measurement(beside, LENGTHS, np.stack([each["size"] for each in runs], 1), r"$\sqrt{n/D}$")
    panel.scale(x="log", y="log")
    panel.labels(x="width of the head d", y=r"$n\,E P^2 - 1$")
    beside.scale(x="log", y="log")
    beside.labels(x="number of tokens n", y="length of the global query")
    plate.legend("below", columns=3)
    return plate


@paper.figure(
    "fig3",
    caption="Share of independent values that no linear read-out of the latents explains, against the number of latents "
    "over that "
    "of tokens (points: by the rank of the operator's maps; lines: the counts), one read and three, kept apart or added",
    source="Perceiver",
    setting=BOTTLENECKS,
    claims=("bottlenecks_lose_by_count",),
)
def lost(setting: BottleneckSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel, n = plate[0, 0], setting.n_tokens
    latents = np.arange(2, n + 1, 2)
    for reads in (1, setting.n_reads):
        runs = lab.simulate(bottlenecks, *(replace(setting, n_latents=int(M), n_reads=reads) for M in latents))
        label = f"{reads} read" + ("s, apart" if reads > 1 else "")
        law = [perceiver.unexplained_share(n, int(M), reads) for M in latents]
        figures.prediction(panel, latents / n, law, label)
        figures.measurement(panel, latents / n, np.stack([each["apart"] for each in runs], 1), label)
    label, sizes = f"{reads} reads, added", (setting.n_reads, setting.width, setting.value_width)
    law = [perceiver.unexplained_share_of_sums(n, int(M), *sizes) for M in latents]
    figures.prediction(panel, latents / n, law, label)
    figures.measurement(panel, latents / n, np.stack([each["summed"] for each in runs], 1), label)
    panel.labels(x="latents over tokens M/n", y="unexplained share")
    plate.legend("below")
    return plate
