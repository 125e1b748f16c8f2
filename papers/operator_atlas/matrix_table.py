"""The task matrix as a table.

``python -m attnlab.papers.operator_atlas.matrix_table [scale=smoke] [seed=0] [out=DIR] [KEY=VALUE ...]``. Further KEY=VALUE
change the setting, ``tasks=("grid",)`` say. What is in the store is read, the rest is trained and kept.
"""

from __future__ import annotations

import sys

from attnlab.papers.lab.run.display import Display
from attnlab.papers.lab.run.store import Store
from attnlab.papers.lab.run.workbench import Lab, Workbench
from attnlab.papers.operator_atlas.matrix import decided, measured
from attnlab.papers.operator_atlas.matrix_figures import listed
from attnlab.papers.operator_atlas.paper import MATRIX
from attnlab.simulators.ensemble.setting import overridden


def table(words: list[str]) -> str:
    """The Markdown table of a matrix, with the number of cells that agree in front."""
    given = dict(word.split("=", 1) for word in words)
    scale, seed, out = given.pop("scale", "desk"), int(given.pop("seed", "0")), given.pop("out", "attnlab-results")
    setting = overridden(MATRIX.at(scale), given)  # type: ignore[arg-type]
    store, display = Store(out), Display()
    bench = Workbench(store, display, seed=seed)
    try:
        cells = measured(setting, Lab(bench, scale, replicas=setting.n_replicas))  # type: ignore[arg-type]
    finally:
        display.close()
        bench.close()
        store.close()
    told = decided(cells)
    agree = sum(bool(each.agrees) for each in told)
    return f"{len(cells)} cells, {len(told)} of them predicted and scored, {agree} of these agree.\n\n{listed(cells)}"


if __name__ == "__main__":
    print(table(sys.argv[1:]))
