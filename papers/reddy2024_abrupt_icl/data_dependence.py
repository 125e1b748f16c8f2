"""Claims on what the data decide: labels read off the context or off the weights (statements 8 to 10)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, ordered, trend
from attnlab.papers.lab.conditions import not_yet, outside, too_few
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.reddy2024_abrupt_icl.paper import DESK, PAPER, SMOKE, circuit_for, first_time, paper
from attnlab.simulators.induction_heads import training as simulator
from attnlab.simulators.induction_heads.circuit import train_circuit

OLD = replace(DESK, p_novel=0.0, n_records=50, n_test=200, n_replicas=16)
MIXES = Scales(
    smoke=replace(OLD, n_steps=3_000, n_records=30, n_replicas=8),
    desk=OLD,
    paper=replace(PAPER, p_novel=0.0, n_records=50, n_steps=200_000),
)
SPLIT = 2  # times as many replicas where both kinds of learning compete, whose accuracies scatter by 0.24
STEP = 0.1  # the difference of accuracies from which on a dependence counts
FACTORS = (0.25, 1.0, 4.0)  # numbers of classes in units of the setting's
NOISES = (0.1, 0.5, 0.8)
EXPONENTS = (0.0, 1.25, 2.0)


def class_counts(setting):
    """The numbers of classes of the sweep."""
    return tuple(int(factor * setting.n_classes) for factor in FACTORS)


def by_classes(setting, **changes):
    """Settings with more and more classes."""
    return [replace(setting, n_classes=count, **changes) for count in class_counts(setting)]


def competing(setting):
    """The setting itself, at which both kinds of learning win in some replicas, with more of these."""
    return replace(setting, n_replicas=SPLIT * setting.n_replicas)


def by_noise(setting):
    """Settings with more and more noise within classes."""
    return [competing(setting), *(replace(setting, within_class_noise=noise) for noise in NOISES[1:])]


def by_burstiness(setting):
    """Sequences of independent items, then of bursts of one and of two."""
    return [replace(setting, p_bursty=0.0), competing(setting), replace(setting, burstiness=2)]


def by_exponent(setting):
    """Settings with a steeper and steeper rank-frequency law of all classes, also those of bursts."""
    return [
        replace(setting, n_classes=4 * setting.n_classes, distinct_labels=False, rank_exponent=each)
        for each in EXPONENTS
    ]


SWEEPS = {"classes": by_classes, "noise": by_noise, "burstiness": by_burstiness, "rank exponent": by_exponent}


def ends(lab: Lab, simulation, settings):
    """Final accuracies in context, on shifted labels and in weights, lists of ``(replica,)``, one entry per setting."""
    runs = lab.simulate(simulation, *settings)
    return tuple([each[f"accuracy_{name}"][:, -1] for each in runs] for name in ("context", "shifted", "weights"))


def rises(values, x, direction):
    """The trend of final accuracies over the cells of a sweep, one line per replica: by more than :data:`STEP` over the whole
    sweep; the rival swings from 0 to 1."""
    x = np.asarray(x, float)
    least, full = STEP / np.ptp(x), 1 / np.ptp(x)
    return trend(x, np.stack(values, axis=-1), direction, by=least, twin=Twin.of("from 0 to 1", by=full))


@paper.claim(
    "more_classes",
    source="Figure 2",
    statements=[8],
    parts=2,
    setting=MIXES,
    formula="accuracy in context rises with ln K, accuracy in weights falls",
    assumptions=["p_C = 0, p_B = 1, B = 1"],
    judged="least-squares slopes over K = 64, 256, 1024 (the setting's times 1/4, 1, 4), mean over replicas, exceed 0.1 per "
    "sweep",
)
def more_classes(setting: simulator.Setting, lab: Lab) -> Verdict:
    """More classes favour learning in context, fewer learning in weights. Twin: a swing from 0 to 1 over the sweep."""
    context, _, weights = ends(lab, simulator.train, by_classes(setting))
    x = np.log(class_counts(setting))
    return all_of(rises(context, x, "rising").named("context"), rises(weights, x, "falling").named("weights"))


@paper.claim(
    "more_noise",
    source="Figure 2",
    statements=[8],
    parts=4,
    setting=MIXES,
    scales=("desk", "paper"),
    why_these_scales="at epsilon = 0.1 both kinds of learning win in some of 8 replicas",
    formula="accuracy in context is larger, accuracy in weights smaller, at epsilon = 0.5 and at 0.8 than at 0.1",
    assumptions=["p_C = 0, p_B = 1, B = 1"],
    judged="Welch's intervals of the differences of means exceed 0.1",
    note="Not monotone in context: what one noisy item says of another falls from epsilon = 0.5 to 0.8.",
)
def more_noise(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Noise within classes favours learning in context. Twin: differences of nine tenths."""
    context, _, weights = ends(lab, simulator.train, by_noise(setting))
    return all_of(
        *(exceeds(context[0], context[k]).named(f"context, epsilon = {NOISES[k]}") for k in (1, 2)),
        *(exceeds(weights[k], weights[0]).named(f"weights, epsilon = {NOISES[k]}") for k in (1, 2)),
    )


def exceeds(smaller, larger):
    """Unpaired comparison of means: by more than :data:`STEP`; the rival is a difference of nine tenths."""
    return ordered(smaller, larger, by=STEP, paired=False, twin=Twin.of("nine tenths", by=0.9))


def whole(smaller, larger):
    """The ends of a sweep: the median difference exceeds :data:`STEP`, as single replicas may not have learnt; the rival swings
    from 0 to 1. Replicas of two cells are independent, so any pairing will do."""
    n = min(len(smaller), len(larger))
    return ordered(smaller[:n], larger[:n], by=STEP, of="median over replicas", twin=Twin.of("from 0 to 1", by=1.0))


@paper.claim(
    "burstiness",
    source="Figure 2",
    statements=[8],
    parts=4,
    setting=MIXES,
    scales=("desk", "paper"),
    why_these_scales="at B = 1 both kinds of learning win in some of 8 replicas",
    formula="accuracy on shifted labels: B = 2 > B = 1 > independent items; in weights: the reverse",
    assumptions=["p_C = 0", "the number of classes at which both kinds of learning compete at B = 1"],
    judged="the four links, by Welch's intervals of the differences of means, exceed 0.1; accuracy on shifted labels, where "
    "chance is 1/L and an answer from the weights is wrong",
)
def burstiness(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Bursts favour learning in context. Twin: differences of nine tenths."""
    _, shifted, weights = ends(lab, simulator.train, by_burstiness(setting))
    names = ("independent", "B = 1", "B = 2")
    return all_of(
        *(exceeds(shifted[k], shifted[k + 1]).named(f"shifted, {names[k]} to {names[k + 1]}") for k in (0, 1)),
        *(exceeds(weights[k + 1], weights[k]).named(f"weights, {names[k + 1]} to {names[k]}") for k in (0, 1)),
    )


@paper.claim(
    "skewed_classes",
    source="Figure 2",
    statements=[8],
    parts=4,
    setting=MIXES,
    formula="smaller of the two accuracies: alpha_Z = 1.25 above 0 and 2; context falls, weights rise with alpha_Z",
    assumptions=["p_C = 0, p_B = 1, B = 1", "classes of bursts follow the law, too", "4 K classes"],
    judged="Welch's intervals of differences, and median differences between alpha_Z = 0 and 2, exceed 0.1; accuracy in "
    "weights on targets drawn from the law",
)
def skewed_classes(setting: simulator.Setting, lab: Lab) -> Verdict:
    """A skewed rank-frequency law lets learning in context and in weights coexist; uniform classes are learnt in context only,
    steeper laws in weights only. Twins: differences of nine tenths, swings from 0 to 1."""
    context, _, weights = ends(lab, simulator.train, by_exponent(setting))
    both = [np.minimum(a, b) for a, b in zip(context, weights, strict=True)]
    return all_of(
        exceeds(both[0], both[1]).named("above uniform"),
        exceeds(both[2], both[1]).named("above steep"),
        whole(context[2], context[0]).named("context"),
        whole(weights[0], weights[2]).named("weights"),
    )


@paper.claim(
    "mixture_keeps_both",
    source="Figure 2 and Section 3",
    statements=[8],
    parts=3,
    setting=MIXES,
    formula="p_B = p_C = 1/2: accuracies in context and in weights above 1/2 at the end, that in context not below its "
    "largest value by 0.1",
    assumptions=["twice as many steps"],
    judged="means over replicas",
    scales=("desk", "paper"),
    why_these_scales="6 000 steps, at smoke, leave the accuracy in weights near 1/2",
)
def mixture_keeps_both(setting: simulator.Setting, lab: Lab) -> Verdict:
    """On a mixture of sequences the network learns in context and in weights, and keeps both.

    Twins: the sequences with training classes only, where the weights win; the first quarter of the steps; learning in context
    passes as it came. Null control: accuracies before training.
    """
    mixed = replace(setting, p_bursty=0.5, p_novel=0.5, n_steps=2 * setting.n_steps)
    runs, plain = lab.simulate(simulator.train, mixed, replace(setting, p_bursty=0.5))
    context, weights = runs["accuracy_context"], runs["accuracy_weights"]
    learnt, kept = (
        bounded(curve[:, -1], 0.5, side="below", twin=twin, null=curve[:, 0])
        for curve, twin in (
            (context, Twin.of("without novel classes", measured=plain["accuracy_context"][:, -1])),
            (weights, Twin.of("the first quarter of the steps", measured=weights[:, weights.shape[1] // 4])),
        )
    )
    fall = context.max(-1, keepdims=True) - context
    lost = agrees(fall[:, -1], 0.0, within=STEP, scale=1.0, twin=Twin.of("transient", measured=fall[:, 0]))
    return all_of(learnt.named("context"), kept.named("weights"), lost.named("not transient"))


def times(runs, name):
    """Half-times: the first step with the named accuracy 1/2, or the last one where it is not reached."""
    found = first_time(runs["steps"][0], runs[f"accuracy_{name}"], 0.5)
    return np.where(np.isfinite(found), found, runs["steps"][0, -1])


def context_alone(setting, lab: Lab):
    """Networks on sequences of novel classes only."""
    scale = {"smoke": SMOKE, "desk": DESK, "paper": PAPER}[lab.scale]
    length = {name: getattr(scale, name) for name in ("n_steps", "n_records", "n_test", "n_replicas")}
    return lab.simulate(simulator.train, replace(setting, **length, p_novel=1.0))


@paper.claim(
    "independent_pace",
    source="Section 5",
    statements=[9],
    setting=MIXES,
    parts=4,
    scales=("desk", "paper"),
    why_these_scales="the waits of 8 replicas scatter by a quarter, and some exceed the 3 000 steps of a smoke run",
    formula="|ln t(4 K) / t(16 K)| < ln(2) / 2, |ln t(4 K) / t(alone)| < ln 2; t: half-time of learning in context, "
    "alone: p_C = 1",
    assumptions=["B = 1, p_B = 1, p_C = 0", "replicas that learn in context", "the context wins: see `race`"],
    judged="both signs of both differences of means by Welch's interval; margins: half of the exponent 1/2 over a factor of four "
    "in the pace of the weights, and a factor of two where there are no weights to learn",
    note="With 4 K classes the weights alone need about three times as long as the context, with 16 K twelve times. "
    "Where the weights are faster (K), networks do not learn in context, and there is no pace to compare.",
)
def independent_pace(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Where the context wins, learning in context takes about as long when the weights could learn soon as when they could only
    late, or not at all.

    Twins: what is learnt is shared, so that the pace goes with the square root of that of the weights, or with more of it.
    """
    many = replace(setting, n_replicas=2 * setting.n_replicas)
    runs = [
        *lab.simulate(simulator.train, *(replace(many, n_classes=factor * setting.n_classes) for factor in (4, 16)))
    ]
    runs.append(context_alone(setting, lab))
    found = [first_time(each["steps"][0], each["accuracy_context"], 0.5) for each in runs]
    soon, late, alone = (np.log(each[np.isfinite(each)]) for each in found)
    least = min(len(soon), len(late), len(alone))
    if (few := too_few(np.arange(len(soon)) < least, "have learnt in context")) is not None:
        return few
    parts = []
    for name, other, slack in (("16 K", late, np.log(2) / 2), ("alone", alone, np.log(2))):
        for label, small, large in ((f"not slower, {name}", soon, other), (f"not faster, {name}", other, soon)):
            parts.append(ordered(small, large, by=-slack, paired=False, twin=Twin.of("shared", by=slack)).named(label))
    return all_of(*parts)


@paper.claim(
    "race",
    source="Section 5",
    statements=[9],
    parts=3,
    setting=MIXES,
    undecided_at_smoke="3 000 steps do not show by how much the weights are slower",
    formula="accuracy in context - in weights at the end of training on both: below -1/2 where t(weights alone) < t(context "
    "alone) / 2, above 1/2 where t(context alone) < t(weights alone) / 2, between at K",
    assumptions=[
        "B = 1",
        "context alone: p_C = 1; weights alone: independent items",
        "K / 4, K and 4 K classes",
        "median half-times; one that a run does not reach counts as its last step",
    ],
    judged="means of the paired differences of final accuracies",
    note="At K = 256 the weights alone need about half of the time of the context, and networks trained on both end with about "
    "half of each, some with more of one: the faster does not take all.",
)
def race(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Which of the two is learnt is decided by which is learnt much faster on its own; between the two both are.

    Twins: differences of one; the faster takes all.
    """
    few, _, many = by_classes(setting)
    cells = few, competing(setting), many
    runs = lab.simulate(simulator.train, *cells)
    soon, late = lab.simulate(
        simulator.train, replace(few, p_bursty=0.0, n_steps=setting.n_steps // 4), replace(many, p_bursty=0.0)
    )
    in_context = np.median(times(context_alone(setting, lab), "context"))
    in_weights = [np.median(times(each, "weights")) for each in (soon, late)]
    if not (2 * in_weights[0] < in_context < in_weights[1] / 2):
        reason = f"half-times {in_weights[0]:.0f} and {in_weights[1]:.0f} in weights, {in_context:.0f} in context"
        if 2 * in_weights[0] < in_context and in_weights[1] >= late["steps"][0, -1]:
            return not_yet(f"{reason}: in weights the run ends first, so that it is not known to be twice as slow")
        return outside(f"{reason}: they must differ by more than a factor of two")
    gap = [each["accuracy_context"][:, -1] - each["accuracy_weights"][:, -1] for each in runs]
    zero = [np.zeros(len(each)) for each in gap]
    whole = Twin.of("a difference of one", by=1.0)
    rest = agrees(
        gap[1], 0.0, within=0.5, low=-1.0, high=1.0, scale=1.0, twin=Twin.of("the faster takes all", predicted=-1.0)
    )
    return all_of(
        ordered(gap[0], zero[0], by=0.5, twin=whole).named("weights win at K / 4"),
        ordered(zero[2], gap[2], by=0.5, twin=whole).named("context wins at 4 K"),
        rest.named("both at K"),
    )


def circuit_cells(setting, lab: Lab, name):
    """The sweep of a name for the two-number circuit, at the numbers of classes at which its two ways compete."""
    n_steps = {"desk": 1_600, "paper": 6_000}[lab.scale]
    base = circuit_for(
        setting,
        lab,
        p_novel=0.0,
        label_bias=False,
        n_steps=n_steps,
        n_records=8,
        n_classes=4 * setting.n_labels,
        n_replicas=setting.n_replicas,
    )
    return SWEEPS[name](base)


@paper.claim(
    "circuit_dependence",
    source="Section 4, Figure 5",
    statements=[10],
    parts=4,
    setting=MIXES,
    formula="two-number circuit: accuracy in context rises, in weights falls with K; alpha_Z the reverse",
    assumptions=["p_C = 0, p_B = 1", "classifier of three ReLU layers"],
    scales=("desk", "paper"),
    why_these_scales="six settings of the circuit take half a minute",
    judged="least-squares slopes, mean over replicas, exceed 0.1 per sweep",
)
def circuit_dependence(setting: simulator.Setting, lab: Lab) -> Verdict:
    """The circuit with two numbers depends on the data in the same directions as the network. Twins: swings from 0 to 1."""
    parts = []
    for name, x, direction in (
        ("classes", np.log(FACTORS), "rising"),
        ("rank exponent", np.array(EXPONENTS), "falling"),
    ):
        context, _, weights = ends(lab, train_circuit, circuit_cells(setting, lab, name))
        other = {"rising": "falling", "falling": "rising"}[direction]
        parts += [
            rises(context, x, direction).named(f"context over {name}"),
            rises(weights, x, other).named(f"weights over {name}"),
        ]
    return all_of(*parts)
