"""Figures: the graph of exact limits with what was measured at each, and recall against the state that a decoder keeps."""

from __future__ import annotations

import textwrap
from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.analysis.statistics.intervals import mean_interval
from attnlab.kernels.operators.listing import members
from attnlab.kernels.operators.operator import Sizes
from attnlab.papers.lab.commands.atlas_text import record_of
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.operator_atlas.paper import LIMITS, PAIRS, paper
from attnlab.simulators.operator_atlas.limits import LimitsSetting, declared, limits, target
from attnlab.simulators.operator_atlas.stored_pairs import PairsSetting, readers, stored_pairs
from attnlab.theory.operator_atlas import recall


@paper.figure(
    "fig1",
    caption="The graph of exact limits. Left: every operator that declares one, with where it holds, and the operator that it is "
    "there. Right: largest difference of the two outputs in units in the last place of the largest number (the mean and the "
    "range over replicas; equal bits stand at 0.1)",
    source="the operators' papers",
    setting=LIMITS,
    claims=("limits_are_exact",),
)
def graph(setting: LimitsSetting, lab: Lab) -> figures.Plate:
    edges = declared()
    order = sorted(range(len(edges)), key=lambda i: (target(edges[i][1]), edges[i][0], edges[i][1].when))
    rows = np.arange(len(edges), dtype=float)
    plate = figures.Plate(columns=2, width=9.0, height=9.6, share_y=True, width_ratios=(1.0, 0.5), letters=False)
    links, found = plate
    found.scale(x="log")  # before the ticks of y, which a scale resets
    targets = sorted({target(limit) for _, limit in edges})
    at = {
        name: np.mean([row for row, i in zip(rows, order, strict=True) if target(edges[i][1]) == name])
        for name in targets
    }
    for row, i in zip(rows, order, strict=True):
        name = target(edges[i][1])
        look = links.look(name)
        links.axes.plot([0, 1], [row, at[name]], color=look.colour, linewidth=0.7, zorder=2)
    links.record(
        figures.Mark(links.name, "edge", "exact limits", np.array([at[target(edges[i][1])] for i in order]), rows)
    )
    for name, y in at.items():
        links.axes.plot([1], [y], marker="o", color=links.look(name).colour, markersize=4, zorder=3)
        links.axes.annotate(
            name.partition("/")[2], (1, y), xytext=(4, 0), textcoords="offset points", va="center", size=6,
            family="STIXGeneral",
            color=links.look(name).colour,
        )  # fmt: skip
    links.axes.set_xlim(-0.02, 1.4)
    links.axes.set_xticks([0, 1], ["operator", "is there"])
    said = [f"{edges[i][0].partition('/')[2]}: {edges[i][1].when}" for i in order]
    links.axes.set_yticks(rows, ["\n".join(textwrap.wrap(each, 58)) for each in said], size=5)
    links.axes.set_ylim(len(edges) - 0.3, -0.7)
    links.labels(x="exact limit", y="")
    error = np.maximum(lab.simulate(limits, setting)["error"][:, order], 0.1)
    mean, low, high = error.mean(0), error.min(0), error.max(0)
    found.axes.errorbar(
        mean, rows, xerr=(mean - low, high - mean), fmt="o", markersize=2.5, linewidth=0.8, color="black"
    )
    found.record(figures.Mark(found.name, "measurement", "difference", mean, rows, low, high))
    found.axes.axvline(1e4, color="0.5", linestyle="--", linewidth=0.8)
    found.axes.text(1e4, -0.2, " allowed", size=6, color="0.3", va="top", family="STIXGeneral")
    found.limits(x=(0.05, 2e5))
    found.labels(x="difference (units in the last place)", y="")
    return plate


def state_of(name: str, n: int, width: int) -> int | None:
    """Numbers per head that a decoder keeps after n tokens."""
    found = record_of((name, members()[name]), Sizes(n=n, d=width, d_v=width, shape=(1, n)))["state"]
    return None if found is None else int(found)


@paper.figure(
    "fig2",
    caption="Recall without training against the state that a decoder keeps. Every operator with queries, keys, values and a "
    "causal form, at its default numbers (blocks and windows of two to four) and its parameters at the start, reads back one "
    "of m pairs of a random key and one of 16 values. Left: numbers per head after m tokens, filled where they do not grow with "
    "m. Right: share read right at the best of four query scales (points: means and 95 % intervals over replicas), the share "
    "that a linear memory with as many numbers reads (line), and guessing",
    source="Zoology; Based",
    setting=PAIRS,
    claims=("recall_of_a_linear_memory",),
)
def recalled(setting: PairsSetting, lab: Lab) -> figures.Plate:
    d, n = setting.width, setting.width * setting.per_code
    states = {name: state_of(name, n, d) for name in readers()}
    known = sorted((name for name in states if states[name] is not None), key=lambda name: (states[name], name))
    runs = lab.simulate(stored_pairs, *(replace(setting, operator=name) for name in known))
    rows = np.arange(len(known), dtype=float)
    plate = figures.Plate(columns=2, width=8.0, height=8.2, share_y=True, letters=False)
    left, right = plate
    left.scale(x="log")
    state = np.array([states[name] for name in known], dtype=float)
    fixed = np.array([state_of(name, 4 * n, d) == states[name] for name in known])
    for kind, chosen, face in (("fixed state", fixed, None), ("state grows with m", ~fixed, "white")):
        (points,) = left.axes.plot(
            state[chosen], rows[chosen], "s", color=left.look("state").colour, markerfacecolor=face, markersize=4
        )
        left.entry(kind, points)
        left.record(figures.Mark(left.name, "state", kind, state[chosen], rows[chosen]))
    left.axes.set_yticks(rows, [name.partition("/")[2] for name in known], size=6)
    left.axes.set_ylim(len(known) - 0.3, -0.7)
    left.axes.grid(axis="y", linewidth=0.3)
    left.labels(x="decode state (numbers per head)", y="")
    law = np.array([recall.memory_recall_limit(S, n, d) for S in state])
    (line,) = right.axes.plot(law, rows, color=right.look("law").colour, zorder=2)
    right.entry("linear memory of this state", line)
    right.record(figures.Mark(right.name, "prediction", "linear memory of this state", law, rows))
    shares = [mean_interval(each["right"], 0.95) for each in runs]
    mean = np.array([each["right"].mean() for each in runs])
    low, high = (np.clip([interval[k] for interval in shares], 0, 1) for k in (0, 1))
    bars = right.axes.errorbar(
        mean,
        rows,
        xerr=(mean - low, high - mean),
        fmt="o",
        markersize=3,
        linewidth=0.8,
        color=right.look("read").colour,
    )
    right.entry("operator, untrained", bars)
    right.record(figures.Mark(right.name, "measurement", "operator, untrained", mean, rows, low, high))
    right.axes.axvline(1 / d, color="0.5", linestyle=":", linewidth=0.9)
    right.axes.text(1 / d, -0.35, " guessing", size=6, color="0.3", va="center", family="STIXGeneral")
    right.axes.grid(axis="y", linewidth=0.3)
    right.limits(x=(-0.03, 1.03))
    right.labels(x="share of pairs read right", y="")
    plate.legend("below")
    return plate
