"""The figure of the task matrix: predicted mark and measured share of every cell, and the table of what disagrees."""

from __future__ import annotations

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.operator_atlas.matrix import MatrixCell, columns, measured, scored, task_of
from attnlab.papers.operator_atlas.paper import MATRIX, paper
from attnlab.simulators.task_matrix.cells import MatrixSetting
from attnlab.theory.task_matrix.facts import FAILS, SUCCEEDS

MARKS = {SUCCEEDS: ("^", "predicted to succeed"), FAILS: ("v", "predicted to fail"), "open": ("o", "no prediction")}


@paper.figure(
    "fig3",
    caption="The task matrix. One column per task, one row per operator. The share of replicas that solve it (points) with its "
    "95 % Clopper-Pearson interval, over each column from 0 to 1; the mark is what the criterion predicts from declared facts: "
    "triangles up for success, down for failure, circles where it is silent. Filled red marks contradict their prediction. No "
    "mark: the operator has no form for the task. Shaded columns: the positive control did not solve the task, so that it is "
    "not scored",
    source="the atlas's task matrix",
    setting=MATRIX,
    claims=("criteria_agree", "predicted_failures_fail"),
)
def matrix(setting: MatrixSetting, lab: Lab) -> figures.Plate:
    cells = measured(setting, lab)
    names = list(dict.fromkeys(each.operator for each in cells))
    tasks, good = columns(setting), scored(cells)
    plate = figures.Plate(columns=len(tasks), width=9.6, height=0.9 + 0.24 * len(names), share_y=True, letters=False)
    panels = list(plate)
    for panel, task in zip(panels, tasks, strict=True):
        own = [each for each in cells if each.column == task]
        for says, (marker, label) in MARKS.items():
            shown = [each for each in own if each.prediction.says == says]
            _points(panel, shown, names, marker, label, task in good)
        if task not in good:
            panel.axes.set_facecolor("0.92")
        panel.axes.axvline(0.5, color="0.85", linewidth=0.5, zorder=0)
        panel.axes.set_yticks(np.arange(len(names)), names, size=6)
        panel.axes.set_ylim(len(names) - 0.4, -0.6)
        panel.axes.grid(axis="y", linewidth=0.3)
        panel.limits(x=(-0.12, 1.12))
        panel.axes.set_xticks([0, 1], ["0", "1"])
        panel.labels(x=f"share solved,\n{task.replace('_', ' ')}", y="")
    plate.legend("below")
    return plate


def _points(panel, cells: list[MatrixCell], names: list[str], marker: str, label: str, is_scored: bool) -> None:
    if not cells:
        return
    rows = np.array([names.index(each.operator) for each in cells], dtype=float)
    share = np.array([each.solved.mean() for each in cells])
    low, high = np.array([each.interval for each in cells]).T
    colour = panel.look(label).colour
    bars = panel.axes.errorbar(
        share, rows, xerr=(share - low, high - share), fmt=marker, markersize=4, linewidth=0.7, color=colour,
        markerfacecolor="white",
    )  # fmt: skip
    panel.entry(label, bars)
    panel.record(figures.Mark(panel.name, "measurement", label, share, rows, low, high))
    wrong = np.array([each.agrees is False and is_scored for each in cells])
    if wrong.any():
        panel.axes.plot(share[wrong], rows[wrong], marker, markersize=5, color="#c00000", zorder=5)


def listed(cells: list[MatrixCell]) -> str:
    """The matrix as a Markdown table, disagreements first: mark, share solved with interval, median score, rate, budget."""
    good = scored(cells)

    def order(each: MatrixCell) -> tuple[int, str, str]:
        disagrees = each.agrees is False and each.column in good
        return (0 if disagrees else 1 if each.agrees else 2, each.operator, each.column)

    lines = ["| operator | task | predicted | solved | interval | median score | rate | steps | |", "|" + "---|" * 9]
    for each in sorted(cells, key=order):
        low, high = each.interval
        said = {None: "no prediction", True: "", False: "DISAGREES"}[each.agrees]
        said = said if each.column in good else "not scored"
        steps = round(task_of(each.column).n_steps * each.budget)
        lines.append(
            f"| {each.operator} | {each.column} | {each.prediction.says} | {int(each.solved.sum())} of {len(each.score)} "
            f"| [{low:.2f}, {high:.2f}] | {np.nanmedian(each.score):.2f} | {each.rate:g} | {steps} | {said} |"
        )
    return "\n".join(lines)
