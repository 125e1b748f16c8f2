"""Claims on the task matrix: controls succeed, predicted failures fail, and how often predictions and trainings agree."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, budget, relative, share
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.operator_atlas.matrix import MatrixCell, agrees_with, control_of, decided, measured, predicted
from attnlab.papers.operator_atlas.paper import MATRIX, paper
from attnlab.simulators.task_matrix.cells import MatrixSetting
from attnlab.theory.task_matrix.facts import FAILS, SUCCEEDS

SOFTMAX = "base_scores/dot_product"


@paper.claim(
    "positive_controls_succeed",
    source="the atlas's task matrix; the statement is ours",
    statements=[3],
    setting=MATRIX,
    kind="extrapolation",
    formula="share of replicas that solve the task > 3/4",
    judged="replicas of the positive controls of all tasks together, Clopper-Pearson",
    undecided_at_smoke="three tasks are 24 replicas, too few for a share",
)
def positive_controls_succeed(setting: MatrixSetting, lab: Lab) -> Verdict:
    """On the tasks of the matrix the positive control solves the task in more than three quarters of the replicas.

    Twin: an operator that mixes nothing.
    """
    cells = measured(setting, lab)
    controls = [each for each in cells if each.operator == control_of(each.column)]
    nothing = [each for each in cells if each.operator == "controls/one_token"]
    twin = Twin.of("a model that mixes nothing", successes=_replicas(nothing))
    return _as_it_is(share(_replicas(controls), at_least=0.75, twin=twin))


@paper.claim(
    "predicted_failures_fail",
    source="the atlas's task matrix; criteria of theory/task_matrix",
    statements=[3],
    setting=MATRIX,
    kind="extrapolation",
    formula="share of cells without a solved replica, where the criterion predicts failure, > 4/5",
    judged="cells of scored columns; one replica that solves the task contradicts a cell",
    undecided_at_smoke="a dozen cells decide no share",
)
def predicted_failures_fail(setting: MatrixSetting, lab: Lab) -> Verdict:
    """Where the declared facts of an operator forbid a task, no replica of eight solves it in more than four fifths of the cells.

    Twin: the cells where they do not.
    """
    cells = decided(measured(setting, lab))
    none = [_fails(each, cells) for each in (FAILS, SUCCEEDS)]
    twin = Twin.of("cells of predicted successes", successes=none[1])
    return _as_it_is(share(none[0], at_least=0.8, unit="cell", twin=twin))


@paper.claim(
    "criteria_agree",
    source="the atlas's task matrix; criteria of theory/task_matrix",
    statements=[3],
    setting=MATRIX,
    kind="extrapolation",
    formula="share of cells with a prediction in which it is not contradicted > .85",
    judged="cells of scored columns; a success is contradicted by at most a quarter of solved replicas, a failure by one",
    undecided_at_smoke="a dozen cells decide no share",
)
def criteria_agree(setting: MatrixSetting, lab: Lab) -> Verdict:
    """Success and failure on the tasks follow from declared facts in more than 85 % of the cells.

    Twin: every operator does what softmax is predicted to do.
    """
    cells = decided(measured(setting, lab))
    alike = [agrees_with(predicted(SOFTMAX, each.column), each.solved) for each in cells]
    return _as_it_is(
        share(
            np.array([bool(each.agrees) for each in cells]),
            at_least=0.85,
            unit="cell",
            twin=Twin.of("all as softmax", successes=np.array(alike, dtype=bool)),
        )
    )


@paper.claim(
    "fixed_row_sums_cannot_count",
    source="the atlas's task matrix; criteria of theory/task_matrix",
    statements=[3],
    setting=MATRIX,
    kind="extrapolation",
    formula="loss on counting 1 ... 8 copies of one token = ln 8",
    judged="mean over operators of the loss at the end of training, whose bound a constant answer reaches; the margin is "
    "what training may leave above it",
)
def fixed_row_sums_cannot_count(setting: MatrixSetting, lab: Lab) -> Verdict:
    """An operator whose rows have a fixed sum tells no number of copies from another: its loss is that of guessing among eight.

    Twin: one of the eight is told apart.
    """
    cells = [c for c in measured(setting, lab) if c.column == "count" and c.prediction.says == FAILS]
    return agrees(
        np.array([np.nanmean(each.loss) for each in cells]),
        math.log(8),
        within=budget(relative(0.01, math.log(8), "training")),
        of="mean over operators",
        unit="operator",
        twin=Twin.of("one of eight told apart", predicted=7 / 8 * math.log(7)),
    )


def _as_it_is(verdict: Verdict) -> Verdict:
    """The verdict, for which no more replicas are asked: eight per cell are the protocol, and cells are what is counted."""
    return replace(verdict, wants="")


def _replicas(cells: list[MatrixCell]) -> np.ndarray:
    return np.concatenate([each.solved for each in cells])


def _fails(says: str, cells: list[MatrixCell]) -> np.ndarray:
    return np.array([not each.solved.any() for each in cells if each.prediction.says == says])
