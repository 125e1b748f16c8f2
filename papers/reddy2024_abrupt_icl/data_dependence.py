"""Claims on what the data decide: labels read off the context or off the weights (statements 8 to 10)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, exhaustive, ordered, trend
from attnlab.papers.lab.conditions import too_few
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.reddy2024_abrupt_icl.paper import DESK, PAPER, circuit_for, first_time, paper
from attnlab.simulators.induction_heads import training as simulator
from attnlab.simulators.induction_heads.circuit import train_circuit

OLD = replace(DESK, p_novel=0.0, n_steps=6_000, n_records=12, n_test=400, n_replicas=16)
MIXES = Scales(
    smoke=replace(OLD, n_steps=3_000, n_test=200, n_replicas=8),
    desk=OLD,
    paper=replace(PAPER, p_novel=0.0, n_records=12, n_steps=200_000),
)
FACTORS = (0.25, 1.0, 4.0)  # numbers of classes in units of the setting's
NOISES = (0.1, 0.5, 0.8)
EXPONENTS = (0.0, 1.25, 2.0)


def class_counts(setting):
    """The numbers of classes of the sweep."""
    return tuple(int(factor * setting.n_classes) for factor in FACTORS)


def by_classes(setting, **changes):
    """Settings with more and more classes."""
    return [replace(setting, n_classes=count, **changes) for count in class_counts(setting)]


def by_noise(setting):
    """Settings with more and more noise within classes."""
    return [replace(setting, within_class_noise=noise) for noise in NOISES]


def by_burstiness(setting):
    """Sequences of independent items, then of bursts of one and of two."""
    return [replace(setting, p_bursty=0.0), setting, replace(setting, burstiness=2)]


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
    """The trend of final accuracies over the cells of a sweep, one line per replica."""
    falls = {"rising": "falling", "falling": "rising"}[direction]
    return trend(np.asarray(x, float), np.stack(values, axis=-1), direction, twin=Twin.of(falls, direction=falls))


@paper.claim(
    "more_classes",
    source="Figure 2",
    statements=[8],
    parts=2,
    setting=MIXES,
    formula="accuracy in context rises with ln K, accuracy in weights falls",
    assumptions=["p_C = 0, p_B = 1, B = 1"],
    judged="least-squares slopes over K = 64, 256, 1024 (the setting's times 1/4, 1, 4), mean over replicas",
)
def more_classes(setting: simulator.Setting, lab: Lab) -> Verdict:
    """More classes favour learning in context, fewer learning in weights. Twins: the opposite."""
    context, _, weights = ends(lab, simulator.train, by_classes(setting))
    x = np.log(class_counts(setting))
    return all_of(rises(context, x, "rising").named("context"), rises(weights, x, "falling").named("weights"))


@paper.claim(
    "more_noise",
    source="Figure 2",
    statements=[8],
    parts=2,
    setting=MIXES,
    scales=("desk", "paper"),
    why_these_scales="at epsilon = 0.1 both kinds of learning win in some of 8 replicas",
    formula="accuracy in context is larger, accuracy in weights smaller, at epsilon = 0.5 than at 0.1",
    assumptions=["p_C = 0, p_B = 1, B = 1"],
    judged="Welch's interval of the difference of means",
)
def more_noise(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Noise within classes favours learning in context. Twins: the opposite."""
    context, _, weights = ends(lab, simulator.train, by_noise(setting))
    return all_of(exceeds(context[0], context[1]).named("context"), exceeds(weights[1], weights[0]).named("weights"))


def exceeds(smaller, larger):
    """Unpaired comparison of means, its reversal as the twin."""
    return ordered(smaller, larger, paired=False, twin=Twin.of("reversed", smaller=larger, larger=smaller))


@paper.claim(
    "burstiness",
    source="Figure 2",
    statements=[8],
    parts=3,
    setting=MIXES,
    formula="accuracy on shifted labels: B = 2 > B = 1 > independent items; in weights: the reverse",
    assumptions=["p_C = 0", "the number of classes at which both kinds of learning compete at B = 1"],
    judged="Welch's intervals of the differences of means; accuracy on shifted labels, where chance is 1/L and an "
    "answer from the weights is wrong",
)
def burstiness(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Bursts favour learning in context. Twins: the opposite."""
    _, shifted, weights = ends(lab, simulator.train, by_burstiness(setting))
    return all_of(
        exceeds(shifted[1], shifted[2]).named("shifted, B = 1 to 2"),
        exceeds(shifted[0], shifted[2]).named("shifted, independent to B = 2"),
        exceeds(weights[2], weights[0]).named("weights, B = 2 to independent"),
    )


@paper.claim(
    "skewed_classes",
    source="Figure 2",
    statements=[8],
    parts=4,
    setting=MIXES,
    formula="smaller of the two accuracies: alpha_Z = 1.25 above 0 and 2; context falls, weights rise with alpha_Z",
    assumptions=["p_C = 0, p_B = 1, B = 1", "classes of bursts follow the law, too", "4 K classes"],
    judged="Welch's intervals; slopes over alpha_Z = 0, 1.25, 2; accuracy in weights on targets drawn from the law",
)
def skewed_classes(setting: simulator.Setting, lab: Lab) -> Verdict:
    """A skewed rank-frequency law lets learning in context and in weights coexist; uniform classes are learnt in context only,
    steeper laws in weights only. Twins: the opposite."""
    context, _, weights = ends(lab, simulator.train, by_exponent(setting))
    both = [np.minimum(a, b) for a, b in zip(context, weights, strict=True)]
    return all_of(
        exceeds(both[0], both[1]).named("above uniform"),
        exceeds(both[2], both[1]).named("above steep"),
        rises(context, EXPONENTS, "falling").named("context"),
        rises(weights, EXPONENTS, "rising").named("weights"),
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

    Twins: the sequences with training classes only, where the weights win; learning in context passes as it came.
    """
    mixed = replace(setting, p_bursty=0.5, p_novel=0.5, n_steps=2 * setting.n_steps, n_records=24)
    runs, plain = lab.simulate(simulator.train, mixed, replace(setting, p_bursty=0.5))
    half = np.full(len(runs["steps"]), 0.5)
    context, weights = runs["accuracy_context"], runs["accuracy_weights"]
    few = np.full(len(plain["steps"]), 0.5)
    learnt = ordered(
        half,
        context[:, -1],
        twin=Twin.of("without novel classes", smaller=few, larger=plain["accuracy_context"][:, -1]),
    )
    kept = ordered(half, weights[:, -1], twin=Twin.of("the first quarter of the steps", larger=weights[:, 6]))
    fall = context.max(-1, keepdims=True) - context
    lost = agrees(fall[:, -1], 0.0, within=0.1, twin=Twin.of("transient", measured=fall[:, 0]))
    return all_of(learnt.named("context"), kept.named("weights"), lost.named("not transient"))


TIMED = {"n_records": 60, "n_test": 200}


def times(lab: Lab, settings, name):
    """Half-times, per setting: the first step with the named accuracy 1/2, NaN where it is not reached."""
    runs = (
        [lab.simulate(simulator.train, *settings)] if len(settings) == 1 else lab.simulate(simulator.train, *settings)
    )
    return [first_time(each["steps"][0], each[f"accuracy_{name}"], 0.5) for each in runs]


def median_time(found):
    """The median half-time; infinite if most replicas do not get there."""
    return float(np.median(np.where(np.isfinite(found), found, np.inf)))


@paper.claim(
    "independent_pace",
    source="Section 5",
    statements=[9],
    setting=MIXES,
    parts=2,
    scales=("desk", "paper"),
    why_these_scales="the waits of 8 replicas scatter by a quarter, and some exceed the 3 000 steps of a smoke run",
    formula="|ln t(4 K) / t(16 K)| < ln(2) / 2, t: half-time of learning in context",
    assumptions=["B = 1, p_B = 1, p_C = 0", "replicas that learn in context"],
    judged="both differences of means by Welch's interval, within half of the twin's ln 2",
    note="With 4 K classes the weights alone need about three times as long as the context, with 16 K twelve times. "
    "Compared with p_C = 1, where every batch has new classes, the pace with 4 K classes is a fifth faster.",
)
def independent_pace(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Learning in context takes as long when the weights could learn soon as when they could only late.

    Twins: what is learnt is shared, so that the faster the weights, the slower the context, by a factor of two; the reverse.
    """
    many = replace(setting, n_steps=2 * setting.n_steps // 3, n_replicas=5 * setting.n_replicas // 2, **TIMED)
    cells = [replace(many, n_classes=factor * setting.n_classes) for factor in (4, 16)]
    soon, late = (np.log(each[np.isfinite(each)]) for each in times(lab, cells, "context"))
    if (
        verdict := too_few(np.arange(max(len(soon), len(late))) < min(len(soon), len(late)), "have learnt in context")
    ) is not None:
        return verdict
    slack = np.log(2) / 2
    slower = ordered(soon, late + slack, paired=False, twin=Twin.of("shared", larger=late - slack))
    faster = ordered(late, soon + slack, paired=False, twin=Twin.of("helped", larger=soon - slack))
    return all_of(slower.named("not slower"), faster.named("not faster"))


@paper.claim(
    "race",
    source="Section 5",
    statements=[9],
    setting=MIXES,
    formula="accuracy in context > in weights at the end of training on both <=> t(context alone) < t(weights alone)",
    assumptions=[
        "B = 1",
        "context alone: p_C = 1; weights alone: independent items",
        "K = 64, 128 (not at smoke), 256, 1024",
        "the two times differ by more than a factor of two",
    ],
    judged="every number of classes with such times: medians over replicas",
    note="Within a factor of two either may win: at K = 256 the weights alone need 1 100 steps and the context 1 900, "
    "and training on both ends with 0.6 in context, 0.4 in weights.",
)
def race(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Which of the two is learnt is decided by which is learnt faster on its own.

    Twin: the context always wins.
    """
    cells = by_classes(setting)
    if lab.scale != "smoke":
        cells.insert(1, replace(setting, n_classes=setting.n_classes // 2))
    context, _, weights = ends(lab, simulator.train, cells)
    in_context = median_time(times(lab, [replace(setting, p_novel=1.0, **TIMED)], "context")[0])
    in_weights = [
        median_time(each) for each in times(lab, [replace(each, p_bursty=0.0, **TIMED) for each in cells], "weights")
    ]
    gaps = [float(np.median(a) - np.median(b)) for a, b in zip(context, weights, strict=True)]
    decided = [case for case in zip(gaps, in_weights, strict=True) if not 0.5 < case[1] / in_context < 2]
    return exhaustive(
        decided,
        lambda case: bool((case[0] > 0) == (in_context < case[1])),
        twin=Twin.of("the context always", check=lambda case: bool(case[0] > 0)),
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
        n_replicas=min(setting.n_replicas, 8),
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
    judged="least-squares slopes, mean over replicas",
)
def circuit_dependence(setting: simulator.Setting, lab: Lab) -> Verdict:
    """The circuit with two numbers depends on the data in the same directions as the network. Twins: the opposite."""
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
