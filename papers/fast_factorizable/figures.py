"""Figures: sharpness against the spread of scores, errors of rows against the order, cost against the length."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.kernels.operators.operator import Sizes
from attnlab.papers.fast_factorizable.paper import COSTS, HARD, ROWS, hard, paper
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.polynomial_attention.fast import CostSetting, counts
from attnlab.simulators.polynomial_attention.series_rows import BoundedRowSetting, RowSetting, bounded_rows, rows
from attnlab.theory.polynomial_attention import fast as theory
from attnlab.theory.polynomial_attention import series_weights as weights
from attnlab.theory.score_maps import random_rows as laws

SPREADS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)


@paper.figure(
    "fig1",
    caption="(a) Nats that a row of normal scores takes off ln n: series of orders 1 (negative weights cut), 2 and 4, and "
    "softmax. (b) "
    "n sum P^2 at order 2, with its supremum 3. Lines: limits of many keys; points: means and 95 % intervals over replicas. "
    "Softmax "
    "leaves its limit s^2/2 where e^(s^2) nears the number of keys",
    source="panel (a) of the sheet's figure",
    setting=ROWS,
    claims=("entropy_that_orders_take", "order_two_is_never_sharper_than_three"),
)
def sharpness(setting: RowSetting, lab: Lab) -> figures.Plate:
    plate, fine = figures.Plate(columns=2, width="double"), np.linspace(0.2, 3.0, 40)
    cells = [replace(setting, score_std=s, n_rows=8, n_replicas=16) for s in SPREADS]
    every = lab.simulate(rows, *cells)
    panel, beside = plate[0, 0], plate[0, 1]
    for k, p in enumerate(setting.orders):
        law = [laws.entropy_deficit_law(f"series {p}", laws.gaussian_scores(s), setting.n_keys).limit for s in fine]
        figures.prediction(panel, fine, np.array(law), f"order {p}")
        figures.measurement(panel, SPREADS, np.stack([each["deficit"][:, k] for each in every], 1), f"order {p}")
    figures.prediction(panel, fine, fine**2 / 2, "softmax")
    figures.measurement(panel, SPREADS, np.stack([each["softmax_deficit"] for each in every], 1), "softmax")
    panel.labels(x="spread s of the scores", y="ln n − H  [nats]")
    figures.prediction(beside, fine, np.array([theory.participation(s) for s in fine]), "order 2")
    order = setting.orders.index(2)
    found = np.stack([each["participation"][:, order] for each in every], 1)
    figures.measurement(beside, SPREADS, found, "order 2")
    figures.reference(beside, "supremum 3", y=theory.participation_bound())
    beside.labels(x="spread s of the scores", y="n Σ P²")
    plate.legend("below", columns=3)
    return plate


@paper.figure(
    "fig2",
    caption="Largest sum |P - softmax| of a row with scores up to B: sharp bound (lines), rows of two kinds of keys that "
    "attain it, and "
    "the largest of rows of 2000 uniform scores (points: means and 95 % intervals over replicas)",
    source="panel (b) of the sheet's figure",
    setting=HARD,
    claims=("row_error", "row_error_is_attained"),
)
def errors_against_order(setting: BoundedRowSetting, lab: Lab) -> figures.Plate:
    plate, orders = figures.Plate(), (2, 4, 6, 8)
    for B in (1.0, 1.96):
        found = lab.simulate(bounded_rows, *(hard(B, p, n_replicas=8) for p in orders))
        label = f"bound, B = {B:g}"
        figures.prediction(plate[0, 0], orders, np.array([weights.row_error_bound(p, B) for p in orders]), label)
        two = np.stack([runs["two_kinds"] for runs in found], 1)
        figures.measurement(plate[0, 0], orders, two, f"two kinds, B = {B:g}", series=label)
        drawn = np.stack([runs["largest"] for runs in found], 1)
        figures.measurement(plate[0, 0], orders, drawn, f"uniform scores, B = {B:g}")
    steps = [weights.published_row_error_bound(p, 1.0) for p in orders]
    figures.prediction(plate[0, 0], orders, np.array(steps), "bound by steps, B = 1")
    plate[0, 0].scale(y="log")
    plate[0, 0].ticks(x=orders)
    plate[0, 0].labels(x="order p", y="sum of |P − softmax|")
    plate.legend("below", columns=2)
    return plate


@paper.figure(
    "fig3",
    caption="Multiply-adds of one head against the length, d = d_v = 16 and 32: order 2 and softmax attention (lines: counts "
    "of theory; "
    "points: counted by torch on the running operator, one run, no spread)",
    source="panel (c) of the sheet's figure, with operations in place of time",
    setting=COSTS,
    claims=("cost_is_linear_in_the_length",),
)
def cost(setting: CostSetting, lab: Lab) -> figures.Plate:
    plate, lengths = figures.Plate(), (64, 256, 1024, 4096)
    fine = np.geomspace(lengths[0], lengths[-1], 40)
    for d in (16, 32):
        runs = lab.simulate(counts, CostSetting(cells=tuple((n, d, d, 2) for n in lengths)))
        slope = theory.multiply_adds(Sizes(n=1, d=d, d_v=d), order=2)
        figures.prediction(plate[0, 0], fine, slope * fine, f"order 2, d = {d}")
        figures.measurement(plate[0, 0], lengths, runs["features"].astype(float), f"order 2, d = {d}")
        figures.prediction(plate[0, 0], fine, 2 * d * fine**2, f"softmax, d = {d}")
        figures.measurement(plate[0, 0], lengths, runs["softmax"].astype(float), f"softmax, d = {d}")
    plate[0, 0].scale(x="log", y="log")
    plate[0, 0].labels(x="length n", y="multiply-adds")
    plate.legend("below", columns=2)
    return plate
