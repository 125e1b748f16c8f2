"""Which trainings of the task matrix can be generated, and what that gives: a table.

``python -m attnlab.papers.operator_atlas.matrix_steps [scale=desk] [rounds=3] [KEY=VALUE ...]``. Further KEY=VALUE change the
setting, ``tasks=("grid",)`` say. A row per cell: microseconds of processor time per update of a replica, numbers drawn before, by
the generated step and by autograd, and what its making takes; or what refuses it.
"""

from __future__ import annotations

import sys

import torch

from attnlab.papers.operator_atlas.matrix import cells_of
from attnlab.papers.operator_atlas.paper import MATRIX
from attnlab.simulators.ensemble.benchmark import record
from attnlab.simulators.ensemble.setting import overridden
from attnlab.simulators.ensemble.trainings import training_of
from attnlab.simulators.task_matrix.cells import CellSetting, cell


def rows(words: list[str]) -> list[str]:
    """The lines of the Markdown table."""
    given = dict(word.split("=", 1) for word in words)
    scale, rounds = given.pop("scale", "desk"), int(given.pop("rounds", "3"))
    setting = overridden(MATRIX.at(scale), given)  # type: ignore[arg-type]
    print("| operator | task | generated, us | autograd, us | ratio | to make, s |\n" + "|---" * 6 + "|")
    found, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)
    for operator, task in cells_of(setting):
        training = training_of(cell, CellSetting(operator, task), n_replicas=setting.n_replicas)
        each = record(training, rounds)
        if "speed" in each:
            numbers = (each["generated_us"], each["autograd_us"], each["speed"], each["make_s"])
            shown = " | ".join(f"{number:.3g}" for number in numbers)
        else:
            shown = f"{each['path']} | | | "
        found.append(f"| {operator} | {task} | {shown} |")
        print(found[-1], flush=True)
    torch.set_num_threads(threads)
    return found


if __name__ == "__main__":
    rows(sys.argv[1:])
