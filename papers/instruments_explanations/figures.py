"""Figures: how the gauge shows in values, probes and pools of few states, and what a reader knows of its axes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.instruments_explanations.measured import (
    PooledSetting,
    ProbeSetting,
    ReaderSetting,
    pooled,
    pools,
    probed,
    read,
)
from attnlab.papers.instruments_explanations.paper import paper
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.theory.instruments import explanations as theory

_PROBES = ProbeSetting(n_draws=20, n_replicas=8)
_READERS = ReaderSetting(n_prompts=500, n_replicas=8)


@paper.figure(
    "fig1",
    caption="(a) Accuracy of a probe on unseen states against the number of training states, classes at distance D in d "
    "dimensions (lines: exact; points: 20 problems per replica). (b) The same, n = 200, d = 20, D = 6, where one token of N "
    "carries the label: mean pool and an attention that finds the token (lines: exact)",
    source="sections 6 and 7",
    setting=Scales(_PROBES, _PROBES, replace(_PROBES, n_draws=100)),
    claims=("probes", "pools"),
)
def probes_and_pools(setting: ProbeSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    left, right = plate[0, 0], plate[0, 1]
    numbers, fine = np.array([20, 50, 100, 200]), np.geomspace(20, 200, 12).round().astype(int)
    for number, (dim, delta) in enumerate(((20, 1.0), (100, 1.0), (100, 2.0))):
        label = f"D = {delta:g}, d = {dim}"
        runs = lab.simulate(probed, *(replace(setting, dim=dim, distance=delta, n_train=int(n)) for n in numbers))
        figures.prediction(left, fine, [theory.probe_accuracy_exact(delta, dim, int(n)) for n in fine], label)
        figures.measurement(left, numbers, np.stack([r["accuracy"] for r in runs], 1), label, dodge=2 * number)
    left.scale(x="log")
    left.ticks(x=list(numbers))
    left.labels(x="training states n", y="accuracy")
    tokens, fine = np.array([2, 4, 16, 32]), np.array([2, 3, 4, 6, 8, 12, 16, 24, 32])
    base = replace(setting, distance=6.0, n_train=200, n_draws=10)
    runs = lab.simulate(pools, *(replace(base, n_tokens=int(n)) for n in tokens))
    means = [
        theory.probe_accuracy_exact(theory.mean_pool_distance(6.0, int(n)), base.dim - 1, base.n_train) for n in fine
    ]
    figures.prediction(right, fine, means, "mean pool")
    figures.measurement(right, tokens, np.stack([r["mean"] for r in runs], 1), "mean pool")
    figures.prediction(
        right, fine, np.full(fine.size, theory.probe_accuracy_exact(6.0, base.dim - 1, base.n_train)), "attention"
    )
    figures.measurement(right, tokens, np.stack([r["attended"] for r in runs], 1), "attention")
    right.scale(x="log")
    right.ticks(x=list(tokens))
    right.labels(x="tokens N", y="accuracy")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="(a) Share of right answers on the sign of coordinate k after n labelled examples, variances 1/j, d = 50: the "
    "reader that adds up (lines: exact; points: 500 prompts per replica) and a ridge regression (points only, 100 prompts). (b) "
    "Growth of the marked values when their attention mass is moved to ε (points: replicas, mean of three tokens; line: mean "
    "mass / ε)",
    source="sections 1 and 8",
    setting=Scales(_READERS, _READERS, replace(_READERS, n_prompts=4000)),
    claims=("readers", "gauge"),
)
def readers_and_gauge(setting: ReaderSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(columns=2, width="double")
    left, right = plate[0, 0], plate[0, 1]
    at, fine = np.array([4, 16, 64]), np.array([4, 6, 9, 13, 20, 30, 45, 64])
    variances = 1 / np.arange(1, setting.dim + 1)
    for number, axis in enumerate((0, 4, 20)):
        runs = lab.simulate(read, *(replace(setting, axis=axis, n_examples=int(n)) for n in at))
        label = f"k = {axis + 1}"
        figures.prediction(left, fine, [theory.hebbian_accuracy(variances, axis, int(n)) for n in fine], label)
        figures.measurement(left, at, np.stack([r["hebb"] for r in runs], 1), label)
        figures.measurement(left, at, np.stack([r["ridge"] for r in runs], 1), f"{label}, ridge", dodge=3 + number)
    left.scale(x="log")
    left.ticks(x=[4, 16, 64])
    left.labels(x="examples n", y="share of right answers")
    masses = np.array([1e-4, 1e-3, 1e-2, 1e-1])
    runs = lab.simulate(pooled, *(PooledSetting(eps=float(e), n_directions=10) for e in masses))
    mass = float(np.mean([r["mass"][:, 0].mean() for r in runs]))
    figures.prediction(right, masses, [theory.value_gain(mass, float(e)) for e in masses], "values")
    figures.measurement(right, masses, np.stack([r["norms"].mean(1) for r in runs], 1), "values")
    right.scale(x="log", y="log")
    right.labels(x="mass shown ε", y="growth of the marked values")
    plate.legend("below")
    return plate
