"""Figures: what a band of channels explains, and the entries of large kernels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.mixers_and_channels.paper import BANDS, SUPPORTS, paper
from attnlab.simulators.mixers_and_channels.grids import BandSetting, SupportSetting, bands, supports
from attnlab.theory.mixers_and_channels import channel_band, large_kernel

SIZES, KERNELS = (1, 3, 5, 7, 9, 11), (1, 3, 7, 11, 15, 21, 27)


@paper.figure(
    "fig1",
    caption="(a) Share of a gate's logits that a fitted band of channels explains against its number of taps, nine taps planted "
    "(points: means and 95 % intervals over replicas; lines: the laws), channels in order and shuffled. (b) Entries of the "
    "map of a "
    "large kernel that are not zero, against its width on 14 x 14 cells (points: the operator; line: the law)",
    source="efficient channel attention; large kernels",
    setting=Scales(*(replace(each, n_replicas=16) for each in (BANDS.smoke, BANDS.desk, BANDS.paper))),
    claims=("bands_need_an_order", "large_kernels_are_one_map"),
)
def explained(setting: BandSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    panel, beside, taps = plate[0, 0], plate[0, 1], np.array(setting.taps)
    runs = lab.simulate(bands, replace(setting, sizes=SIZES))
    figures.prediction(panel, SIZES, [channel_band.explained_by_band(taps, k) for k in SIZES], "in order")
    figures.measurement(panel, SIZES, runs["ordered"], "in order")
    figures.prediction(panel, SIZES, [channel_band.explained_after_shuffle(taps)] * len(SIZES), "shuffled")
    figures.measurement(panel, SIZES, runs["shuffled"], "shuffled")
    panel.labels(x="taps of the band k", y="explained share of the logits")
    side = SUPPORTS.desk.side
    fine = np.arange(1, 2 * side)
    figures.prediction(beside, fine, [large_kernel.visible_share(side, int(k) // 2) for k in fine], "entries")
    (found,) = [lab.simulate(supports, SupportSetting(side=side, sizes=KERNELS))]
    figures.measurement(beside, KERNELS, found["share"], "entries")
    beside.labels(x="cells of the kernel", y="share of entries that are not zero")
    plate.legend("below", columns=3)
    return plate
