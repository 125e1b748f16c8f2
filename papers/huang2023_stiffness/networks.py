"""Claims on trained networks: bursts along depth, what gates do to them, gates as steps (statements 1, 3 and 11)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import (
    Twin,
    Verdict,
    agrees,
    all_of,
    bounded,
    budget,
    finite_size,
    follows,
    frozen,
    ordered,
    replicas,
    step_size,
    trend,
)
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.huang2023_stiffness.paper import EASY, EASY_SCALES, HARD, KINDS, SHORT, paper, peak
from attnlab.papers.lab.conditions import at_least, at_most, too_few
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.stiffness.euler_chains import GateSetting, train_gates
from attnlab.simulators.stiffness.gated_networks import SpiralSetting, train_gated
from attnlab.simulators.stiffness.solvers import rank_correlation
from attnlab.theory.stiffness import euler_steps as steps

TENTH = float(np.log(1.1))  # the least effect of gates that counts: a tenth


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

    The profile of random blocks is no reference for it, as it varies along depth too. Twin: the peak doubles. Null
    control: the profile before training.
    """
    runs = lab.simulate(train_gated, setting)
    solved = runs["accuracy"][:, 0] >= 0.95
    if (few := too_few(solved, "solve the task")) is not None:
        return few
    before, after = (peak(runs[name][solved, 0]) for name in ("index_before", "index"))
    return ordered(
        before,
        after,
        of="median over replicas",
        twin=float(np.log(2)),
        null=Twin.of("nothing is learnt", smaller=before, larger=before),
    )


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
    judged="paired by replica (same data, same initial weights), log of the ratio above log 1.1, median over replicas",
)
def gates_raise_peak(setting: SpiralSetting, lab: Lab) -> Verdict:
    """Trained networks with channel gates have profiles with higher peaks than trained networks without.

    Twin: gates double the peak. Null control: the same networks before training.
    """
    parts = []
    for task, runs in both_tasks(setting, lab):
        plain, start = peak(runs["index"][:, 0]), peak(runs["index_before"][:, 0])
        for name, column in KINDS.items():
            null = Twin.of("nothing is learnt", smaller=start, larger=peak(runs["index_before"][:, column]))
            gated = peak(runs["index"][:, column])
            found = ordered(plain, gated, by=TENTH, of="median over replicas", twin=float(np.log(2)), null=null)
            parts.append(found.named(f"gate on {name}, {task}"))
    return all_of(*parts)


@paper.claim(
    "gates_raise_every_block",
    source="reading of the figure of the index by block, carried over from networks of 164 layers",
    statements=[3],
    kind="extrapolation",
    setting=EASY_SCALES,
    expected="REFUTED",
    undecided_at_smoke=SHORT,
    formula="S_t (gated) > S_t (plain) in at least three quarters of the blocks",
    assumptions=["channel gates on the block's output", "spiral of 1.5 turns", "10 blocks"],
    judged="share of blocks in each replica, mean over replicas; nearly all read as three quarters",
    note="the paper shows this for residual networks of 164 layers on images; that it holds for 10 blocks on spirals "
    "is our "
    "extrapolation, and there gates shift change to late blocks (gates_tilt_profile)",
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
    source="what the index by block does at this size",
    statements=[3],
    kind="extrapolation",
    parts=3,
    setting=EASY_SCALES,
    undecided_at_smoke=SHORT,
    formula="log(S_t (gated) / S_t (plain)) rises with t, from negative to positive",
    assumptions=["channel gates on the block's output", "spiral of 1.5 turns", "10 blocks"],
    judged="least-squares slope over depth above 0.04 a block; means of the first and of the last three blocks, over "
    "replicas, beyond 0.05",
)
def gates_tilt_profile(setting: SpiralSetting, lab: Lab) -> Verdict:
    """Gates lower the index of the first blocks and raise that of the last.

    Twins: a slope of 0.3 a block; means beyond 1, a factor e. Null control: the same networks before training, whose
    gates are near one half in all blocks.
    """
    runs = lab.simulate(train_gated, setting)
    ratio, start = (np.log(runs[name][:, KINDS["f"]] / runs[name][:, 0]) for name in ("index", "index_before"))
    t, zero = np.arange(ratio.shape[1], dtype=float), np.zeros(len(ratio))
    return all_of(
        trend(t, ratio, "rising", by=0.04, twin=0.3, null=start).named("slope"),
        ordered(ratio[:, :3].mean(-1), zero, by=0.05, twin=1.0).named("first blocks"),
        ordered(
            zero,
            ratio[:, -3:].mean(-1),
            by=0.05,
            twin=1.0,
            null=Twin.of("nothing is learnt", larger=start[:, -3:].mean(-1)),
        ).named("last blocks"),
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
    judged="paired by replica, above log 1.1, median over replicas",
)
def gates_spread_inputs(setting: SpiralSetting, lab: Lab) -> Verdict:
    """The index varies more between inputs in trained networks with channel gates than in trained networks without.

    Twin: by a factor e more. Null control: the same networks after one step.
    """
    parts = []
    for (task, runs), (_, start) in zip(
        both_tasks(setting, lab), both_tasks(replace(setting, n_steps=1), lab), strict=True
    ):
        spread, before = (np.log(each["index_high"] / each["index_low"]).mean(-1) for each in (runs, start))
        for name, column in KINDS.items():
            plain, gated = spread[:, 0], spread[:, column]
            null = Twin.of("nothing is learnt", smaller=before[:, 0], larger=before[:, column])
            found = ordered(plain, gated, by=TENTH, of="median over replicas", twin=1.0, null=null)
            parts.append(found.named(f"gate on {name}, {task}"))
    return all_of(*parts)


@paper.claim(
    "gate_sign",
    source="derived from the paper's analogy",
    statements=[11],
    kind="extrapolation",
    parts=4,
    setting=EASY_SCALES,
    undecided_at_smoke=SHORT,
    formula="rank correlation over blocks of mean gate and raw index > 0.3, what ten blocks without a relation scatter by",
    assumptions=["channel gates", "spirals of 1.5 and 3.5 turns"],
    judged="rank correlation over blocks in each replica, the median replica",
)
def gate_sign(setting: SpiralSetting, lab: Lab) -> Verdict:
    """In trained networks gates are larger in blocks of larger raw index, against the rule of a solver.

    Twin: the index orders the gates completely, all but one pair in fifty. Null control: the same networks after one
    step.
    """
    parts = []
    for (task, runs), (_, start) in zip(
        both_tasks(setting, lab), both_tasks(replace(setting, n_steps=1), lab), strict=True
    ):
        for name, column in KINDS.items():
            rho, before = (gate_correlations(each, column) for each in (runs, start))
            null = Twin.of("nothing is learnt", larger=before)
            parts.append(
                ordered(np.zeros(len(rho)), rho, by=0.3, of="median over replicas", twin=0.96, null=null).named(
                    f"gate on {name}, {task}"
                )
            )
    return all_of(*parts)


def gate_correlations(runs, column):
    """Rank correlation over blocks of mean gate and raw index, ``(replica,)``."""
    pairs = zip(runs["gate"][:, column], runs["raw_index"][:, column], strict=True)
    return np.array([rank_correlation(gate, raw) for gate, raw in pairs])


ERROR_STD, END_STD = 0.011, 2e-5
"""Spreads over the first eight chains at seed 1: of the error over the best at the start, and of the final slope."""
CHAIN = GateSetting(n_replicas=64)
GATES_AS_STEPS = Scales(
    smoke=replace(CHAIN, n_blocks=128, n_steps=2_000),
    desk=CHAIN,
    paper=replace(CHAIN, n_blocks=1024, n_steps=20_000, n_replicas=32),
)


def gate_flows(setting, times, n_places=400):
    """Errors along the reduced flow at the setting's speed, and of the rival whose gates see their own block only; the least
    error; the slopes of the log of the steps on the log of the index at each time of the two flows."""
    speed = steps.Speed(setting.base, setting.height, setting.centre, setting.width)
    best = steps.speed_moment(speed, 1.0) ** 2
    found = [steps.gate_flow(speed, times, n_places, blind=blind) for blind in (False, True)]
    slopes = []
    for flow in found:
        index = np.log(speed(flow.clock))
        away = index - index.mean(1, keepdims=True)
        slopes.append((away * np.log(flow.steps)).sum(1) / (away**2).sum(1))
    return [flow.error for flow in found], best, slopes


@paper.claim(
    "gates_become_steps",
    source="derived: gradient flow of the gates of Euler blocks",
    statements=[3, 8],
    kind="extrapolation",
    parts=2,
    setting=GATES_AS_STEPS,
    reads=("base", "height", "centre", "width", "flow_time", "n_blocks"),
    covers={
        "height": at_least(1, "a speed that varies: otherwise all gates are the same"),
        "init_std": at_most(0.2, "the flow starts from equal steps"),
        "n_blocks": at_least(32, "the flow is that of infinitely many blocks"),
    },
    formula="d theta/dt = -t_s (G - mean(t_s G)), G = t_s omega^2 + int_s^1 t_s^2 omega omega'; rests at t_s ~ 1 / "
    "omega",
    assumptions=["chain of Euler blocks on a rotation, gates a softmax over depth, trained on the log of the norm"],
    judged="mean error at eight times: that of the reduced flow within the variance of the "
    "random logits, the "
    "second order in 1/N and the replicas; final slope of log gate on log index: that of the flow within 1/N and the "
    "replicas",
)
def gates_become_steps(setting: GateSetting, lab: Lab) -> Verdict:
    """Gates of Euler blocks, trained to reduce the chain's error, follow a reduced flow and become steps
    proportional to 1 / index.

    Twins: gates that see the error of their own block only, which end at 1 / index^2. Null control: gates at their
    start.
    """
    runs = lab.simulate(train_gates, setting)
    chosen = np.unique(np.linspace(0, runs["time"].shape[1] - 1, 8).astype(int))
    time = runs["time"][0][chosen]
    (flow, rival), best, (slope, blind) = gate_flows(setting, time)
    (halved, _), _, (slope_halved, _) = gate_flows(setting, time, 200)
    grid = step_size(halved, flow, 2)
    speed = steps.Speed(setting.base, setting.height, setting.centre, setting.width)
    excess = abs(steps.second_order_share(speed, setting.n_blocks, 0.0))
    error = runs["error"][:, chosen]
    path = follows(
        error,
        flow,
        within=budget(
            Piece("random logits", setting.init_std**2 * float(flow[0])),
            Piece("second order in 1/N", excess * float(flow[0])),
            grid,
            replicas(ERROR_STD * best * setting.init_std / 0.05, runs.n, of="mean trajectory", points=len(chosen)),
        ),
        times=time,
        of="mean trajectory",
        twin=Twin.of("own block only", predicted=rival),
        null=frozen(error),
    )
    end = agrees(
        runs["slope"][:, -1],
        float(slope[-1]),
        within=budget(
            finite_size(setting.n_blocks, of="N"), step_size(slope_halved[-1], slope[-1], 2), replicas(END_STD, runs.n)
        ),
        twin=Twin.of("own block only", predicted=float(blind[-1])),
        null=runs["slope"][:, 0],
    )
    return all_of(path.named("path"), end.named("end"))
