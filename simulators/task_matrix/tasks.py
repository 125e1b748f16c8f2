"""The eight tasks of the matrix, two of them at two sizes, with the batch and the number of steps of each."""

from __future__ import annotations

from attnlab.simulators.task_matrix.symbols import Count, Group, Offset, Recall, Successor
from attnlab.simulators.task_matrix.task import MatrixTask
from attnlab.simulators.task_matrix.vectors import GridFilter, Match, Regression

TASKS: dict[str, MatrixTask] = {
    "recall_4": Recall(16, 400, n_pairs=4),
    "recall_32": Recall(8, 500, n_pairs=32),
    "successor": Successor(16, 1000),
    "offset": Offset(8, 700),
    "match": Match(32, 900),
    "regression": Regression(16, 300),
    "grid": GridFilter(8, 300),
    "count": Count(1, 80),
    "group": Group(16, 1000),
}
