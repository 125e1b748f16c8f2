"""Errors, costs and laws as tables, and where laws stop being true.

``python -m attnlab.papers.approximation_costs.table [scale=smoke] [seed=0] [out=DIR] [KEY=VALUE ...]``. Further KEY=VALUE change
the setting, ``spread=0.25`` say. What is in the store is read, the rest is measured and kept.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np

from attnlab.papers.approximation_costs.figures import FIELDS, NAMES, short
from attnlab.papers.approximation_costs.paper import FIGURE, STOPS
from attnlab.papers.approximation_costs.predictions import HAVE_A_LAW, costs_of, predicted_errors
from attnlab.papers.approximation_costs.stops import DEPARTURES, predicted_ladders, walks
from attnlab.papers.lab.run.display import Display
from attnlab.papers.lab.run.store import Store
from attnlab.papers.lab.run.workbench import Lab, Workbench
from attnlab.simulators.ensemble.setting import overridden
from attnlab.simulators.score_ensembles.ensembles import ENSEMBLES, EnsembleSetting
from attnlab.simulators.score_ensembles.map_errors import ladders, map_errors, sizes_of


def errors(setting: EnsembleSetting, lab: Lab) -> str:
    """Markdown: one row per operator and rung; per ensemble measured error and, after a slash, the law."""
    head = ["operator", "cost", *(NAMES[each] + ("" if each in HAVE_A_LAW else " *") for each in ENSEMBLES)]
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for operator, ladder in ladders(sizes_of(setting)):
        cells = [replace(setting, ensemble=each, operator=operator, ladder=ladder) for each in ENSEMBLES]
        runs = lab.simulate(map_errors, *cells)
        laws = [predicted_errors(each) for each in cells]
        for rung, cost in enumerate(costs_of(cells[0])):
            told = [
                f"{np.sqrt(run['error2'][:, rung].mean()):.3g}" + ("" if np.isnan(law[rung]) else f" / {law[rung]:.3g}")
                for run, law in zip(runs, laws, strict=True)
            ]
            rows.append("| " + " | ".join([short(operator, ladder) if not rung else "", f"{cost:.3g}", *told]) + " |")
    return "\n".join(rows)


def ends(setting: EnsembleSetting, lab: Lab) -> str:
    """Markdown: one row per operator with a law; per departure the first value where the law is not true."""
    found = {(walk.operator, walk.ladder, walk.field): walk.ends() for walk in walks(setting, lab)}
    head = [
        "operator",
        *(f"{FIELDS[field]}: {', '.join(f'{x:g}' for x in values)}" for field, (_, values) in DEPARTURES.items()),
    ]
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for operator, ladder in predicted_ladders(setting):
        told = []
        for field in DEPARTURES:
            value, why = found[operator, ladder, field]
            told.append("true" if value is None else f"{value:g} ({why})")
        rows.append("| " + " | ".join([short(operator, ladder), *told]) + " |")
    return "\n".join(rows)


def tables(words: list[str]) -> str:
    """Both tables at a scale."""
    given = dict(word.split("=", 1) for word in words)
    scale, seed, out = given.pop("scale", "desk"), int(given.pop("seed", "0")), given.pop("out", "attnlab-results")
    figure, stops = (overridden(each.at(scale), given) for each in (FIGURE, STOPS))  # type: ignore[arg-type]
    store, display = Store(out), Display()
    bench = Workbench(store, display, seed=seed)
    try:
        told = [
            make(setting, Lab(bench, scale, replicas=setting.n_replicas))  # type: ignore[arg-type]
            for make, setting in ((errors, figure), (ends, stops))
        ]
    finally:
        display.close()
        bench.close()
        store.close()
    return "\n\n".join(told)


if __name__ == "__main__":
    print(tables(sys.argv[1:]))
