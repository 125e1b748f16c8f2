"""The paper, its settings, and what its claims share: when a curve crosses a level, and which replicas have learnt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.papers.lab.conditions import outside, too_few
from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.induction_heads import training as simulator
from attnlab.simulators.induction_heads.circuit import CircuitSetting
from attnlab.simulators.induction_heads.training import Setting

TITLE = "The mechanistic basis of data dependence and abrupt learning in an in-context classification task"
paper = Paper(
    key="reddy2024_abrupt_icl",
    title=TITLE,
    sources=[
        Source(
            authors="Gautam Reddy",
            year=2024,
            arxiv="2312.03002",
            title=TITLE,
            venue="International Conference on Learning Representations",
        )
    ],
    statements={
        1: "In-context accuracy has a long slow phase (from 1/L to about 1/N) and then jumps to about 1.",
        2: "In the slow phase the network picks a label of the context at random: the mass on labels of the context rises from "
        "N/L to 1 while ILA1 and TILA2 stay at their values for uniform attention.",
        3: "At the jump an induction head forms: labels attend to the item before (layer 1), the target to the label of the "
        "matching item (layer 2).",
        4: "A circuit of three numbers with a classifier reproduces the dynamics, and so does one of two.",
        5: "L = N is special: the origin is then a critical point, a saddle, of the reduced loss, and networks do not learn "
        "reliably; for L > N they do.",
        6: "It is the slow alignment of the classifier with the labels that prepares the jump, not a high mass on the labels of "
        "the context as such.",
        7: "The loss is a function of three nested logits, learnt in the order xi, then alpha and beta1 together.",
        8: "Learning in context is favoured by burstiness, many classes and noise within classes; a skewed rank-frequency law "
        "or a mixture of sequences lets learning in context and in weights coexist.",
        9: "Both are acquired independently; their rates decide the final mix.",
        10: "The two-number circuit shows the same dependence on the data.",
    },
)
paper.not_testable(
    9,
    "the pace of learning in context while the weights win the race: networks that lose it never reach the accuracy by which "
    "a pace is read; `race` judges who wins, `independent_pace` the pace where the context wins",
)
DESK = Setting(n_steps=5_000, n_records=60, n_test=256, n_replicas=32)
SMOKE = replace(DESK, n_steps=4_500, n_records=50, n_test=200, n_replicas=8)
PAPER = Setting(
    dim=63,
    n_context=8,
    n_labels=32,
    n_positions=65,
    batch=128,
    learning_rate=0.01,
    n_steps=150_000,
    n_records=300,
    n_test=500,
    n_replicas=8,
)
paper.scales(smoke=SMOKE, desk=DESK, paper=PAPER)

CIRCUIT = CircuitSetting(n_steps=1_600, n_records=80, n_test=200, n_replicas=32)
CIRCUITS = Scales(
    smoke=replace(CIRCUIT, n_steps=1_300, n_records=40, n_test=100, n_replicas=16),
    desk=CIRCUIT,
    paper=CircuitSetting(
        dim=63, n_context=8, n_labels=32, n_positions=65, batch=128, width=128, n_steps=4_000, n_records=200, n_test=500
    ),
)
FEW = "8 replicas that all succeed show a share of 0.3, not of 1/2"
LEARNT = 0.9


def circuit_for(setting, lab: Lab, **changes):
    """The minimal circuit on the data of a network's setting."""
    shared = (
        "dim",
        "n_context",
        "n_labels",
        "n_classes",
        "n_positions",
        "burstiness",
        "within_class_noise",
        "rank_exponent",
        "p_bursty",
        "p_novel",
        "n_novel",
        "distinct_labels",
        "batch",
    )
    return replace(CIRCUITS.at(lab.scale), **({name: getattr(setting, name) for name in shared} | changes))


def sizes(setting):
    """``(N, L)``."""
    return setting.n_context, setting.n_labels


def first_time(steps, curves, level):
    """The step at which each curve ``(replica, record)`` first reaches a level (a number or one per replica), by linear
    interpolation between records; NaN where it never does."""
    level = np.broadcast_to(level, len(curves))
    found = np.full(len(curves), np.nan)
    for row, (curve, value) in enumerate(zip(curves, level, strict=True)):
        above = np.flatnonzero(curve >= value)
        if above.size:
            i = int(above[0])
            share = 0.0 if i == 0 else (value - curve[i - 1]) / (curve[i] - curve[i - 1])
            found[row] = steps[i] if i == 0 else steps[i - 1] + share * (steps[i] - steps[i - 1])
    return found


def half_way(steps, curves):
    """The step at which each curve has made half of its way from its first to its last record."""
    return first_time(steps, curves, (curves[:, 0] + curves[:, -1]) / 2)


def rescaled(steps, curves, half, at):
    """Curves ``(replica, time)`` at the times ``at`` in units of each replica's ``half``; NaN beyond the last step."""
    return np.array([np.interp(at * t, steps, curve, right=np.nan) for t, curve in zip(half, curves, strict=True)])


def trained(setting, lab: Lab):
    """The shared run: ``(steps, runs of the replicas that have learnt, their half-times, verdict if there are too few)``."""
    return learners(lab.simulate(simulator.train, setting))


def learners(runs):
    """``(steps, runs restricted to replicas that end above 0.9 in context, half-times, verdict if there are too few)``.

    The half-time is the first step with in-context accuracy 1/2.
    """
    there = runs["accuracy_context"][:, -1] > LEARNT
    kept = {name: values[there] for name, values in runs.items()}
    half = first_time(runs["steps"][0], kept["accuracy_context"], 0.5)
    return runs["steps"][0], kept, half, too_few(there, "have learnt in context")


def needs_the_context(setting):
    """The verdict where labels need not be read off the context, or where random labels of it are right by chance."""
    if setting.p_novel < 1 or setting.burstiness > 1:
        return outside(
            f"p_novel={setting.p_novel}, burstiness={setting.burstiness}: the "
            "statement is about p_novel=1 and burstiness=1"
        )
    if setting.n_labels <= setting.n_context:
        return outside(
            f"n_labels={setting.n_labels}, n_context={setting.n_context}: the "
            "statement is about more labels than the context holds"
        )
    return None
