"""Claims on small stacks trained on the flow of a particle system (statement 10): exploratory, the paper trains large ones."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, all_of, bounded, ordered
from attnlab.papers.lab.conditions import not_yet
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.lu2019_multiparticle.paper import paper
from attnlab.simulators.particle_flow.stacks import KINDS, StackSetting, train_stacks

OWN = StackSetting(n_replicas=32)
SHARED = StackSetting(shared=True, teacher_seed=0, n_replicas=32)
SHORT = {"n_steps": 300, "n_replicas": 16}
OWN_SCALES = Scales(smoke=replace(OWN, **SHORT), desk=OWN, paper=replace(OWN, n_steps=20_000, n_states=16_384))
SHARED_SCALES = Scales(
    smoke=replace(SHARED, **SHORT), desk=SHARED, paper=replace(SHARED, n_steps=20_000, n_states=16_384)
)
PART = math.log(1.05)  # the smallest change of an error that matters: 5 %
MEDIAN = "median over replicas"  # a few students end in a worse minimum: log errors are skewed
UNTRAINED = "300 steps do not teach the flow well enough"
TASK = [
    "teacher: random system with n = 8, d = 4, hidden 16, tanh, T = 1",
    "students of 6 layers, hidden 32, Adam",
    "trained on X(T) alone",
]


def both(setting, lab: Lab):
    """The runs of Transformer and Macaron students: same seeds, so same teachers, states and batches."""
    return lab.simulate(train_stacks, *(replace(setting, kind=kind) for kind in KINDS))


def way_off(runs):
    """Largest distance of a student's inner layers to the flow, relative to that of the straight line from X(0) to X(T)."""
    return runs["path_error"][:, 1:-1].max(1) / runs["straight_error"].max(1)


def on_the_line(runs):
    """The same of the straight line itself, at the layers."""
    return runs["straight_error"][:, 1:-1].max(1) / runs["straight_error"].max(1).mean()


def not_trained(*runs):
    """The verdict while the ends are no nearer to the flow's than half of the straight line's bend: nothing was learnt yet."""
    share = max(float(np.mean(each["error"] / each["straight_error"].max(1))) for each in runs)
    if share > 0.5:
        return not_yet(f"errors at the end are {share:.2g} of the bend of the flow, to be below 0.5", n=runs[0].n)
    return None


def log_ratios(transformer, macaron):
    """Logarithms of Macaron's error over the Transformer's, ``(replica,)``: with the teacher's weights, and trained."""
    return (
        np.log(macaron["exact_weights_error"][:, 0] / transformer["exact_weights_error"][:, 0]),
        np.log(macaron["error"] / transformer["error"]),
    )


@paper.claim(
    "equal_parameters",
    source="Section 4, on a small task",
    statements=[10],
    setting=OWN_SCALES,
    undecided_at_smoke=UNTRAINED,
    formula="log (error of Macaron / error of Transformer): larger after training than with the teacher's weights",
    assumptions=[*TASK, "each layer has weights of its own", "equal parameters (2 112)"],
    kind="extrapolation",
    judged="paired difference of the log ratios in the median replica, above log 1.05; a pair has one teacher, one set of "
    "states, equal batches",
    note="An exploration: the paper makes no claim on small stacks, and this says nothing on large ones.",
)
def equal_parameters(setting: StackSetting, lab: Lab) -> Verdict:
    """Training takes from Macaron's lead: the Transformer, whose Euler step is worse, gains more by it at equal parameters.

    A trained layer need not be an Euler step of the flow, so the error of that step does not bound it. Twin: training turns the
    lead of a factor 3/2 round. The movement that it needs is 5 %.
    """
    transformer, macaron = both(setting, lab)
    if (verdict := not_trained(transformer, macaron)) is not None:
        return verdict
    before, after = log_ratios(transformer, macaron)
    return ordered(
        before, after, by=PART, of=MEDIAN, twin=Twin.of("training turns the lead round", by=2 * math.log(1.5))
    )


@paper.claim(
    "shared_layers_follow_the_flow",
    source="Section 3, depth as time",
    statements=[10, 1],
    parts=2,
    setting=SHARED_SCALES,
    undecided_at_smoke=UNTRAINED,
    formula="max over inner layers |X_l - X(l T / L)| <= (1/2) max |straight line - X(t)|, root mean square over "
    "states",
    assumptions=[*TASK, "one layer's weights shared by all"],
    kind="extrapolation",
    judged="mean over replicas of the largest distance on the way at most half of the straight line's",
)
def shared_layers_follow_the_flow(setting: StackSetting, lab: Lab) -> Verdict:
    """A stack that shares one layer's weights and knows the flow's end only passes through the flow's states on the way.

    Twin: the straight line from start to end at constant speed.
    """
    runs = both(setting, lab)
    if (verdict := not_trained(*runs)) is not None:
        return verdict
    return all_of(
        *(
            bounded(way_off(each), 0.5, twin=Twin.of("straight line", measured=on_the_line(each))).named(kind)
            for kind, each in zip(KINDS, runs, strict=True)
        )
    )


@paper.claim(
    "own_layers_leave_the_flow",
    source="Section 3, depth as time",
    statements=[10, 1],
    parts=2,
    setting=OWN_SCALES,
    undecided_at_smoke=UNTRAINED,
    formula="max over inner layers |X_l - X(l T / L)| > (1/2) max |straight line - X(t)|, root mean square over states",
    assumptions=[*TASK, "each layer has weights of its own"],
    kind="extrapolation",
    judged="median over replicas of the largest distance on the way at least half of the straight line's",
)
def own_layers_leave_the_flow(setting: StackSetting, lab: Lab) -> Verdict:
    """Layers with weights of their own reach the flow's end on a way of their own: inner states are not those of the flow.

    Only the composition of the layers is trained, and many paths have one end. Twin: as near as layers of shared weights.
    """
    runs = both(setting, lab)
    if (verdict := not_trained(*runs)) is not None:
        return verdict
    same = {name: getattr(setting, name) for name in ("depths", "horizon", "n_states", "batch", "n_steps")}
    shared = both(replace(SHARED, **same), lab)
    return all_of(
        *(
            bounded(
                way_off(each),
                0.5,
                side="below",
                of="median over replicas",
                twin=Twin.of("as with shared weights", measured=way_off(rival)),
            ).named(kind)
            for kind, each, rival in zip(KINDS, runs, shared, strict=True)
        )
    )


@paper.claim(
    "tuned_to_their_depth",
    source="Section 3, depth as time",
    statements=[10, 4],
    parts=4,
    setting=SHARED_SCALES,
    undecided_at_smoke=UNTRAINED,
    formula="error(trained, L) < error(teacher's weights, L); error(trained, 2 L) > error(trained, L)",
    assumptions=[*TASK, "one layer's weights shared by all", "run with other depths at the same horizon"],
    kind="extrapolation",
    judged="paired differences of log errors in the median replica, above log 1.05",
)
def tuned_to_their_depth(setting: StackSetting, lab: Lab) -> Verdict:
    """Training makes up for the Euler error of its own step size, so the same weights are worse with twice as many layers.

    A stack that samples a flow would get better. Twins: training wins a whole factor of L, an order; the teacher's weights at
    both depths.
    """
    runs = both(setting, lab)
    if (verdict := not_trained(*runs)) is not None:
        return verdict
    verdicts = []
    for kind, each in zip(KINDS, runs, strict=True):
        trained, exact = np.log(each["depth_error"]), np.log(each["exact_weights_error"])
        better = ordered(
            trained[:, 0],
            exact[:, 0],
            by=PART,
            of=MEDIAN,
            twin=Twin.of("a whole order", by=math.log(setting.depths[0])),
        )
        tuned = ordered(
            trained[:, 0],
            trained[:, 1],
            by=PART,
            of=MEDIAN,
            twin=Twin.of("samples of a flow", smaller=exact[:, 0], larger=exact[:, 1]),
        )
        verdicts += [better.named(f"{kind} trained"), tuned.named(f"{kind} at twice the depth")]
    return all_of(*verdicts)
