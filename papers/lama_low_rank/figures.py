"""Figures: parameters and operations counted, errors of truncation, selection by length, savings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.lama_low_rank.claims import ERRORS, SELECT
from attnlab.papers.lama_low_rank.paper import paper
from attnlab.simulators.low_rank.counts import CountSetting, count
from attnlab.simulators.low_rank.pooling import RankErrorSetting, SelectionSetting, rank_error, selection
from attnlab.theory.costs import linear_and_pooling as cost
from attnlab.theory.low_rank import pooling as theory


@paper.figure(
    "fig1",
    caption="Parameters of pooling layers and of self-attention against the number of heads, d = 512, hidden width 350 "
    "(lines: formulas; points: counted in modules)",
    source="comparison of parameters",
    setting=Scales(
        **{
            scale: CountSetting(pooling=tuple((512, m, 8, 350) for m in (1, 2, 4, 8, 16, 32)))
            for scale in ("smoke", "desk", "paper")
        }
    ),
    claims=("fewer_parameters",),
)
def parameters_by_heads(setting: CountSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(count, setting)
    return _counted(
        runs,
        setting,
        "parameters",
        1,
        "number of heads m",
        "parameters",
        lambda kind, d, m, T, a: cost.pooling_parameters(kind, d, m, hidden=a),
        ("compact", "additive", "bilinear", "transformer"),
    )


@paper.figure(
    "fig2",
    caption="Multiply-accumulates against the number of states, d = 256, m = 8, hidden width 64 (lines: formulas; "
    "points: counted in running modules)",
    source="comparison of operations",
    setting=Scales(
        **{
            scale: CountSetting(pooling=tuple((256, 8, T, 64) for T in (8, 16, 32, 64, 128, 256, 512, 1024)))
            for scale in ("smoke", "desk", "paper")
        }
    ),
    claims=("fewer_operations",),
)
def operations_by_length(setting: CountSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(count, setting)
    return _counted(
        runs,
        setting,
        "macs",
        2,
        "number of states T",
        "multiply-accumulates",
        lambda kind, d, m, T, a: cost.pooling_macs(kind, T, d, m, hidden=a),
        ("compact", "additive", "transformer"),
    )


def _counted(runs, setting, what, column, x, y, law, kinds):
    plate = figures.Plate()
    panel, names = (
        plate[0, 0],
        {
            "compact": "compact pooling",
            "additive": "additive pooling",
            "bilinear": "bilinear pooling",
            "transformer": "self-attention",
        },
    )
    at = [cell[column] for cell in setting.pooling]
    for kind in kinds:
        figures.prediction(panel, at, [float(law(kind, *cell)) for cell in setting.pooling], names[kind])
        figures.measurement(panel, at, runs[f"{kind}_{what}"].astype(float), names[kind])
    panel.scale(x="log", y="log")
    panel.labels(x=x, y=y)
    plate.legend("below")
    return plate


@paper.figure(
    "fig3",
    caption="Share of a Gaussian bilinear form that its best rank-k approximation misses; line: quarter-circle law",
    source="quarter-circle law",
    setting=ERRORS,
    claims=("rank_error",),
)
def error_by_rank(setting: RankErrorSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(rank_error, setting)
    plate = figures.Plate()
    panel, ratio, some = plate[0, 0], np.linspace(0, 1, 101), np.arange(0, setting.dim + 1, max(1, setting.dim // 16))
    figures.prediction(panel, ratio, theory.gaussian_rank_error_limit(ratio), "quarter-circle law", series="rank k")
    figures.measurement(
        panel, some / setting.dim, runs["error"][:, some], f"Gaussian, d = {setting.dim}", series="rank k"
    )
    panel.labels(x="rank over width k / d", y="relative squared error")
    plate.legend("below")
    return plate


LENGTHS = (5, 10, 20, 50, 100, 200)
CURVE = Scales(
    smoke=replace(SELECT, n_steps=300, n_replicas=8),
    desk=replace(SELECT, n_steps=1_500, n_replicas=8),
    paper=replace(SELECT, n_steps=20_000),
)


@paper.figure(
    "fig4",
    caption="Reading one marked state out of T. Left: largest weight of a trained head with bounded scores and the "
    "bound. Right: exact accuracy of trained pooling and the bound for one head; two heads with normalised scores are "
    "not under it",
    source="consequence of bounded scores",
    setting=CURVE,
    claims=("flat_weights", "one_head_cannot_select"),
)
def selection_by_length(setting: SelectionSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    kinds = {
        "one head, bounded scores": (1, "tanh"),
        "two heads, bounded and normalised": (2, "l2"),
        "one head, free scores": (1, "none"),
    }
    runs = lab.simulate(
        selection, *(replace(setting, n_tokens=T, n_heads=m, bound=b) for m, b in kinds.values() for T in LENGTHS)
    )
    fine = np.geomspace(LENGTHS[0], LENGTHS[-1], 80)
    for panel, name, law, label in (
        (plate[0, 0], "largest_weight", theory.largest_weight_bound, "largest weight"),
        (plate[0, 1], "accuracy", theory.selection_accuracy_bound, "accuracy"),
    ):
        figures.prediction(
            panel, fine, law(fine), "bound for one head with bounded scores", series="one head, bounded scores"
        )
        for number, kind in enumerate(kinds):
            found = np.stack([each[name] for each in runs[number * len(LENGTHS) : (number + 1) * len(LENGTHS)]], axis=1)
            figures.estimate(
                panel,
                np.array(LENGTHS) * 1.06 ** (number - 1),
                np.median(found, 0),
                found.min(0),
                found.max(0),
                kind,
                interval="median and range over replicas",
            )
        panel.scale(x="log")
        panel.ticks(x=LENGTHS)
        panel.labels(x="number of states T", y=label)
    plate.legend("below")
    return plate


@paper.figure(
    "fig5",
    caption="Ratio of the multiply-accumulates of self-attention to those of compact pooling against the number of "
    "states, counted in running modules; line: (2 d + T) / m",
    source="comparison of operations",
    setting=Scales(
        **{
            scale: CountSetting(pooling=tuple((256, m, T, 64) for m in (4, 16) for T in (8, 32, 128, 512, 1024)))
            for scale in ("smoke", "desk", "paper")
        }
    ),
)
def savings_by_length(setting: CountSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(count, setting)
    plate = figures.Plate()
    panel, table = plate[0, 0], np.array(setting.pooling)
    for m in np.unique(table[:, 1]):
        rows, label = table[:, 1] == m, f"m = {m}"
        T = table[rows, 2]
        figures.prediction(panel, T, (2 * table[rows, 0] + T) / m, label)
        figures.measurement(panel, T, runs["transformer_macs"][:, rows] / runs["compact_macs"][:, rows], label)
    panel.scale(x="log", y="log")
    panel.labels(x="number of states T", y="saving in multiply-accumulates")
    plate.legend("below")
    return plate
