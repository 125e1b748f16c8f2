"""The task matrix: what the criteria say of every operator, and what was trained, cell by cell.

The predictions are made from declared facts before anything trains. A predicted success is contradicted by at most 2 solved
replicas of 8, after one longer training; a predicted failure by one solved replica.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from attnlab.analysis.statistics.intervals import clopper_pearson
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.task_matrix.cells import (
    LONG,
    CellSetting,
    MatrixSetting,
    RatesSetting,
    cell,
    inapplicable,
    operators,
    rates,
    undeclared,
)
from attnlab.simulators.task_matrix.model import HEADS, LAYERS, WIDTH, MatrixModel
from attnlab.simulators.task_matrix.tasks import TASKS
from attnlab.theory.task_matrix.criteria import CRITERIA
from attnlab.theory.task_matrix.facts import FAILS, SUCCEEDS, ModelSizes, OperatorFacts, Prediction

SOFTMAX = "base_scores/dot_product"
POSITIVE = {
    "grid": "mixers_and_channels/large_kernel",
    "count": "controls/sigmoid_sum",
    "group": "controls/gated_recurrence",
}  # softmax for the others
ONLY = ("controls/sigmoid_sum", "controls/gated_recurrence")  # trained where they are the positive control
LONGER = "match_long"  # a second score of the training on match, among 128 keys


@dataclass(frozen=True)
class MatrixCell:
    """One operator on one column: what was predicted, the score and who solved it, (replica,), the rate, the budget."""

    operator: str
    column: str
    prediction: Prediction
    score: np.ndarray
    loss: np.ndarray
    rate: float
    budget: float

    @property
    def solved(self) -> np.ndarray:
        """Which replicas solved the task."""
        return self.score > task_of(self.column).solved_above

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper-Pearson interval of the share solved, 95 %."""
        return clopper_pearson(int(self.solved.sum()), len(self.score), 0.95)

    @property
    def agrees(self) -> bool | None:
        """Whether the measurement does not contradict the prediction; None without one."""
        return agrees_with(self.prediction, self.solved)


def agrees_with(prediction: Prediction, solved: np.ndarray) -> bool | None:
    """A success is contradicted by at most a quarter solved, a failure by one."""
    if prediction.says == SUCCEEDS:
        return bool(solved.mean() > 0.25)
    return bool(not solved.any()) if prediction.says == FAILS else None


def task_of(column: str):
    """The task of a column."""
    return TASKS[column.removesuffix("_long")]


def control_of(column: str) -> str:
    """The positive control of a column."""
    return POSITIVE.get(column, SOFTMAX)


@functools.cache
def facts_of(operator: str, column: str) -> OperatorFacts:
    """The declared facts of an operator at the sizes of a column, as plain values."""
    each, task = operators()[operator], task_of(column)
    n = LONG[-1] + 1 if column == LONGER else task.length
    facts = each.facts
    sizes = MatrixModel(each, task.fields, task.n_features, 1, n, task.positions, task.causal, task.shape).sizes
    rank = facts.rank(sizes) if facts.rank is not None else None
    reach = facts.reach(sizes) if facts.reach is not None else None
    row_sum = facts.row_sum(sizes) if callable(facts.row_sum) else facts.row_sum
    return OperatorFacts(
        content=facts.content,
        rank=None if rank is None or rank >= n else rank,
        reach=None if reach is None or reach >= n - 1 else reach,
        row_sum=None if isinstance(row_sum, str) else float(row_sum),
        symmetries=frozenset(facts.symmetries),
        masked=facts.causal == "mask",
        smooth=facts.smooth,
    )


def predicted(operator: str, column: str) -> Prediction:
    """What the criterion of a column says of an operator."""
    return CRITERIA[column](facts_of(operator, column), ModelSizes(LAYERS, HEADS, WIDTH))


def columns(setting: MatrixSetting) -> list[str]:
    """The columns of a matrix: its tasks, and a second one for the longer sequences of match."""
    return [each for task in setting.tasks for each in ((task, LONGER) if task == "match" else (task,))]


@functools.cache
def representatives() -> dict[str, str]:
    """One operator per family: that which declares forms for most tasks, of those the one with most predicted failures, the
    first by name; it must have a cell."""
    order = []
    for index, name in enumerate(operators()):
        tasks = [task for task in TASKS if not undeclared(name, task)]
        failures = sum(predicted(name, task).says == FAILS for task in tasks)
        order.append((-len(tasks), -failures, index, name))
    found: dict[str, str] = {}
    for *_, name in sorted(order):
        family = name.partition("/")[0]
        if family not in found and family != "controls" and any(not inapplicable(name, task) for task in TASKS):
            found[family] = name
    return found


def chosen(setting: MatrixSetting) -> list[str]:
    """The operators of a matrix by name, in the order of the listing, each once."""
    known = list(operators())
    groups: dict[str, Callable[[], list[str]]] = {
        "controls": lambda: [*(n for n in known if n.startswith("controls/")), *map(control_of, setting.tasks)],
        "representatives": lambda: list(representatives().values()),
        "all": lambda: known,
    }
    wanted = [name for each in setting.operators for name in (groups[each]() if each in groups else [each])]
    for name in wanted:
        if name not in known:
            raise ValueError(
                f"operators={setting.operators!r}: {name!r} is neither in the atlas, a control nor a group"
            )
    return sorted(set(wanted), key=known.index)


def cells_of(setting: MatrixSetting) -> list[tuple[str, str]]:
    """Operator and task of every training of a matrix, those that apply; positive controls on their own tasks only."""
    return [
        (name, task)
        for name in chosen(setting)
        for task in setting.tasks
        if (name not in ONLY or control_of(task) == name) and not inapplicable(name, task)
    ]


def measured(setting: MatrixSetting, lab: Lab) -> list[MatrixCell]:
    """Every cell of the matrix; a predicted success that failed trains longer once."""
    pairs, replicas = cells_of(setting), setting.n_replicas
    rate = _rates(setting, lab, pairs)
    first = [CellSetting(*pair, rate[pair], setting.budget, replicas) for pair in pairs]
    runs = dict(zip(pairs, _every(lab, cell, first), strict=True))
    again = [
        each
        for each in first
        if setting.retry
        and predicted(each.operator, each.task).says == SUCCEEDS
        and not agrees_with(predicted(each.operator, each.task), _solved(runs[each.operator, each.task], each.task))
    ]
    longer = [CellSetting(e.operator, e.task, e.rate, e.budget * setting.retry, replicas) for e in again]
    budgets = dict.fromkeys(pairs, setting.budget)
    for each, run in zip(longer, _every(lab, cell, longer), strict=True):
        runs[each.operator, each.task], budgets[each.operator, each.task] = run, each.budget
    found = []
    for name, task in pairs:
        run = runs[name, task]
        shown = {task: run["score"]} | ({LONGER: run["long"][:, -1]} if task == "match" else {})
        for column, score in shown.items():
            told = predicted(name, column)
            if np.isfinite(score).any() or column == task:
                found.append(MatrixCell(name, column, told, score, run["loss"], rate[name, task], budgets[name, task]))
    return found


def scored(cells: list[MatrixCell]) -> set[str]:
    """The columns whose positive control solves them in at least three quarters of the replicas."""
    good = {c.column for c in cells if c.operator == control_of(c.column) and c.solved.mean() >= 0.75}
    return good | ({LONGER} if "match" in good else set())


def decided(cells: list[MatrixCell]) -> list[MatrixCell]:
    """The cells of scored columns for which there is a prediction."""
    good = scored(cells)
    return [each for each in cells if each.column in good and each.agrees is not None]


def _rates(setting: MatrixSetting, lab: Lab, pairs: list[tuple[str, str]]) -> dict[tuple[str, str], float]:
    asked = {pair: RatesSetting(*_pilot(setting, *pair), budget=setting.budget) for pair in pairs}
    distinct = list(dict.fromkeys(asked.values()))
    found = dict(zip(distinct, _every(lab, rates, distinct), strict=True))
    return {pair: each.rates[int(np.median(found[each]["loss"], axis=0).argmin())] for pair, each in asked.items()}


def _pilot(setting: MatrixSetting, operator: str, task: str) -> tuple[str, str]:
    """The cell on which the rate of a cell is chosen: the positive control's, or that of the family's representative."""
    if setting.rates_from == "task":
        return control_of(task), task
    own = representatives().get(operator.partition("/")[0], operator)
    return (operator if inapplicable(own, task) else own), task


def _solved(run, task: str) -> np.ndarray:
    return run["score"] > task_of(task).solved_above


def _every(lab: Lab, simulation, settings: list) -> list:
    """Runs of any number of settings."""
    return (
        [lab.simulate(simulation, *settings)]
        if len(settings) == 1
        else list(lab.simulate(simulation, *settings))
        if settings
        else []
    )
