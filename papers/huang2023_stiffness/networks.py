"""Claims on trained networks: bursts along depth, what gates do to them, gates as steps (statements 1, 3 and 11)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, all_of, bounded, follows, ordered, settles, trend
from attnlab.papers.huang2023_stiffness.paper import EASY, EASY_SCALES, HARD, KINDS, SHORT, paper, peak
from attnlab.papers.lab.conditions import too_few
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.stiffness.euler_chains import GateSetting, train_gates
from attnlab.simulators.stiffness.gated_networks import SpiralSetting, train_gated
from attnlab.simulators.stiffness.solvers import rank_correlation
from attnlab.theory.stiffness import euler_steps as steps


@paper.claim(
    "depth_bursts",
    source="Introduction",
    statements=[1],
    setting=EASY_SCALES,
    undecided_at_smoke=SHORT,
    formula="max_t S_t / median_t S_t larger after training than before",
    assumptions=["residual networks without gates, trained to solve the spiral of 1.5 turns"],
    judged="paired by replica, log of the ratio, median over replicas with at least 95 % accuracy (sign test)",
)
def depth_bursts(setting: SpiralSetting, lab: Lab) -> Verdict:
    """Training makes a few blocks of a residual network change the feature far more than the median block.

    The profile of random blocks is no reference for it, as it varies along depth too. Twin: the reverse.
    """
    runs = lab.simulate(train_gated, setting)
    solved = runs["accuracy"][:, 0] >= 0.95
    if (few := too_few(solved, "solve the task")) is not None:
        return few
    before, after = (peak(runs[name][solved, 0]) for name in ("index_before", "index"))
    return ordered(before, after, of="median over replicas", twin=Twin.of("reversed", smaller=after, larger=before))


def both_tasks(setting, lab: Lab):
    """Name and runs of the easy and the hard spiral at the setting's sizes."""
    tasks = {"1.5 turns": replace(setting, turns=EASY.turns), "3.5 turns": replace(setting, turns=HARD.turns)}
    return zip(tasks, lab.simulate(train_gated, *tasks.values()), strict=True)


@paper.claim(
    "gates_raise_peak",
    source="Section 3; figure of the index by block",
    statements=[3],
    parts=4,
    setting=EASY_SCALES,
    undecided_at_smoke=SHORT,
    formula="max_t S_t / median_t S_t larger with gates than without",
    assumptions=["channel gates on the block's output, or on output and feature", "spirals of 1.5 and 3.5 turns"],
    judged="paired by replica (same data, same initial weights), log of the ratio, median over replicas (sign test)",
)
def gates_raise_peak(setting: SpiralSetting, lab: Lab) -> Verdict:
    """Trained networks with channel gates have profiles with higher peaks than trained networks without.

    Twin: the reverse.
    """
    parts = []
    for task, runs in both_tasks(setting, lab):
        plain = peak(runs["index"][:, 0])
        for name, column in KINDS.items():
            gated = peak(runs["index"][:, column])
            found = ordered(
                plain, gated, of="median over replicas", twin=Twin.of("reversed", smaller=gated, larger=plain)
            )
            parts.append(found.named(f"gate on {name}, {task}"))
    return all_of(*parts)


@paper.claim(
    "gates_raise_every_block",
    source="figure of the index by block",
    statements=[3],
    setting=EASY_SCALES,
    expected="REFUTED",
    undecided_at_smoke=SHORT,
    formula="S_t (gated) > S_t (plain) in at least three quarters of the blocks",
    assumptions=["channel gates on the block's output", "spiral of 1.5 turns", "10 blocks"],
    judged="share of blocks in each replica, mean over replicas; nearly all read as three quarters",
    note="seen in the paper for networks of 164 layers; it does not carry over to 10 blocks, where gates shift change "
    "to late blocks (gates_tilt_profile)",
)
def gates_raise_every_block(setting: SpiralSetting, lab: Lab) -> Verdict:
    """With gates the stiffness index is higher in nearly all blocks.

    Twin: in 95 % of the blocks.
    """
    index = lab.simulate(train_gated, setting)["index"]
    higher = (index[:, KINDS["f"]] > index[:, 0]).mean(-1)
    return bounded(higher, 0.75, side="below", twin=0.95)


@paper.claim(
    "gates_tilt_profile",
    source="corrects the figure of the index by block at this size",
    statements=[3],
    parts=3,
    setting=EASY_SCALES,
    undecided_at_smoke=SHORT,
    formula="log(S_t (gated) / S_t (plain)) rises with t, from negative to positive",
    assumptions=["channel gates on the block's output", "spiral of 1.5 turns", "10 blocks"],
    judged="least-squares slope over depth, and the means of the first and of the last three blocks, over replicas",
)
def gates_tilt_profile(setting: SpiralSetting, lab: Lab) -> Verdict:
    """Gates lower the index of the first blocks and raise that of the last.

    Twins: the reverse of each.
    """
    index = lab.simulate(train_gated, setting)["index"]
    ratio = np.log(index[:, KINDS["f"]] / index[:, 0])
    zero, first, last = np.zeros(len(ratio)), ratio[:, :3].mean(-1), ratio[:, -3:].mean(-1)
    return all_of(
        trend(
            np.arange(ratio.shape[1], dtype=float), ratio, "rising", twin=Twin.of("falls", direction="falling")
        ).named("slope"),
        ordered(first, zero, twin=Twin.of("higher", smaller=zero, larger=first)).named("first blocks"),
        ordered(zero, last, twin=Twin.of("lower", smaller=last, larger=zero)).named("last blocks"),
    )


@paper.claim(
    "gates_spread_inputs",
    source="figure of the index by block",
    statements=[3],
    parts=4,
    setting=EASY_SCALES,
    undecided_at_smoke=SHORT,
    formula="log of largest over smallest S_t of all inputs, mean over t, larger with gates",
    assumptions=["channel gates on the block's output, or on output and feature", "spirals of 1.5 and 3.5 turns"],
    judged="paired by replica, median over replicas (sign test)",
)
def gates_spread_inputs(setting: SpiralSetting, lab: Lab) -> Verdict:
    """The index varies more between inputs in trained networks with channel gates than in trained networks without.

    Twin: the reverse.
    """
    parts = []
    for task, runs in both_tasks(setting, lab):
        spread = np.log(runs["index_high"] / runs["index_low"]).mean(-1)
        for name, column in KINDS.items():
            plain, gated = spread[:, 0], spread[:, column]
            found = ordered(
                plain, gated, of="median over replicas", twin=Twin.of("reversed", smaller=gated, larger=plain)
            )
            parts.append(found.named(f"gate on {name}, {task}"))
    return all_of(*parts)


@paper.claim(
    "gate_sign",
    source="derived from the paper's analogy",
    statements=[11],
    parts=4,
    setting=EASY_SCALES,
    undecided_at_smoke=SHORT,
    formula="rank correlation over blocks of mean gate and raw index > 0",
    assumptions=["channel gates", "spirals of 1.5 and 3.5 turns"],
    judged="rank correlation over blocks in each replica, mean over replicas",
)
def gate_sign(setting: SpiralSetting, lab: Lab) -> Verdict:
    """In trained networks gates are larger in blocks of larger raw index.

    Twin: the rule of a solver, smaller steps where the index is larger.
    """
    parts = []
    for task, runs in both_tasks(setting, lab):
        for name, column in KINDS.items():
            rho = np.array(
                [
                    rank_correlation(a, b)
                    for a, b in zip(runs["gate"][:, column], runs["raw_index"][:, column], strict=True)
                ]
            )
            zero = np.zeros(len(rho))
            parts.append(
                ordered(zero, rho, twin=Twin.of("solver", smaller=rho, larger=zero)).named(f"gate on {name}, {task}")
            )
    return all_of(*parts)


CHAIN = GateSetting()
GATES_AS_STEPS = Scales(
    smoke=replace(CHAIN, n_blocks=128, n_steps=2_000),
    desk=CHAIN,
    paper=replace(CHAIN, n_blocks=1024, n_steps=20_000, n_replicas=32),
)


def gate_flows(setting, times):
    """The reduced flow at the setting's speed, and the rival whose gates see their own block only."""
    speed = steps.Speed(setting.base, setting.height, setting.centre, setting.width)
    best = steps.speed_moment(speed, 1.0) ** 2
    return [steps.gate_flow(speed, times, blind=blind).error / best for blind in (False, True)], best


@paper.claim(
    "gates_become_steps",
    source="derived: gradient flow of the gates of Euler blocks",
    statements=[3, 8],
    parts=2,
    setting=GATES_AS_STEPS,
    formula="d theta/dt = -t_s (G - mean(t_s G)), G = t_s omega^2 + int_s^1 t_s^2 omega omega'; rests at t_s ~ 1 / "
    "omega",
    assumptions=["chain of Euler blocks on a rotation, gates a softmax over depth, trained on the log of the norm"],
    judged="error in units of the best, within 0.04 of the reduced flow at all records: random logits raise it by "
    "their variance 0.0025 and scatter it by 0.01 at the start, finite N by h omega = 0.05 of the excess; "
    "final slope of log gate on log index -1 within 0.05",
)
def gates_become_steps(setting: GateSetting, lab: Lab) -> Verdict:
    """Gates of Euler blocks, trained to reduce the chain's error, follow a reduced flow and become steps
    proportional to 1 / index.

    Twins: gates that see the error of their own block only, which end at 1 / index^2; the exponent two of their end.
    """
    runs = lab.simulate(train_gates, setting)
    time = runs["time"][0]
    (flow, rival), best = gate_flows(setting, time)
    path = follows(runs["error"] / best, flow, within=0.04, times=time, twin=Twin.of("own block only", predicted=rival))
    end = settles(time, runs["slope"], -1.0, within=0.05, twin=-2.0)
    return all_of(path.named("path"), end.named("end"))
