"""Claims on the minimal circuits: they learn like the network, in the order of the nested logits (statements 4, 6, 7)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, follows, frozen, ordered, relative, share
from attnlab.papers.lab.conditions import too_few
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.reddy2024_abrupt_icl.paper import (
    CIRCUITS,
    FEW,
    LEARNT,
    circuit_for,
    first_time,
    learners,
    needs_the_context,
    paper,
    rescaled,
    trained,
)
from attnlab.papers.reddy2024_abrupt_icl.transition import WIDTH
from attnlab.simulators.induction_heads.circuit import CircuitSetting, train_circuit
from attnlab.simulators.induction_heads.training import Setting

AT = np.array([0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5])
COMPARED = ("accuracy_context", "item_attention", "match_attention")


@paper.claim(
    "three_numbers",
    source="Section 4, minimal model",
    statements=[4],
    parts=2,
    undecided_at_smoke=FEW,
    setting=CIRCUITS,
    formula="q_ij ~ exp(beta1 [j = i - 1]), p_j ~ exp(alpha b_j . c_T + beta2 [j is a label])",
    assumptions=["p_C = 1, B = 1, L > N", "classifier of three ReLU layers without biases"],
    judged="share of replicas that end above accuracy 0.9 is at least 1/2, with and without beta2",
)
def three_numbers(setting: CircuitSetting, lab: Lab) -> Verdict:
    """Most circuits whose attention has three numbers learn the task, and so do most with two, without attention to labels as
    such.

    Twin: labels are read without layer 1, which is held at uniform attention. Null control: accuracies before training.
    """
    if (verdict := needs_the_context(setting)) is not None:
        return verdict
    runs = lab.simulate(train_circuit, setting, without_label_bias(setting), replace(setting, layer_1=False))
    three, two, blind = (each["accuracy_context"][:, -1] > LEARNT for each in runs)
    start = runs[0]["accuracy_context"][:, 0] > LEARNT
    rival = Twin.of("without layer 1", successes=blind)
    return all_of(
        *(
            share(success, at_least=0.5, twin=rival, null=start).named(name)
            for name, success in (("beta1, alpha, beta2", three), ("beta1, alpha", two))
        )
    )


def without_label_bias(setting):
    """The circuit of two numbers, which takes about 1.4 times as long."""
    return replace(setting, label_bias=False, n_steps=3 * setting.n_steps // 2)


def without_curriculum(setting):
    """The circuit with L = N and a linear readout from zero."""
    return replace(setting, n_labels=setting.n_context, readout="linear")


def laid_over(setting, lab: Lab):
    """Rescaled curves of the network and of both circuits: dictionaries of ``(replica, time)``, and the verdict if there are
    too few that have learnt."""
    steps, runs, half, early = trained(setting, lab)
    found = (
        [{name: rescaled(steps, runs[name], half, AT) for name in (*COMPARED, "label_attention")}]
        if early is None
        else []
    )
    circuit = circuit_for(setting, lab)
    for each in lab.simulate(train_circuit, circuit, without_label_bias(circuit)):
        steps, runs, half, late = learners(each)
        early = late if early is None else early
        if late is None:
            found.append({name: rescaled(steps, runs[name], half, AT) for name in (*COMPARED, "label_attention")})
    return found, early


@paper.claim(
    "laid_over_the_network",
    source="Section 4, Figure 4",
    statements=[4],
    parts=4,
    undecided_at_smoke="the mean accuracy of 8 networks at the jump is known to 0.07",
    formula="accuracy, ILA1, TILA2 and TLA2 of the network and of the circuit at t / t_half = 0.25 .. 1.5",
    assumptions=["p_C = 1, B = 1, L > N", "replicas that learn", "time in units of the half-time of each replica"],
    judged="largest distance of the mean curves within a quarter of the rise of the circuit's curve: likeness has no formula, "
    "the quarter is declared",
)
def laid_over_the_network(setting: Setting, lab: Lab) -> Verdict:
    """With time in units of the half-time, the three-number circuit runs through the same measures as the network.

    Twins: the measures rise in proportion to the time; attention to labels as in the two-number circuit. Null control: the
    networks stay as they are at a quarter of the half-time.
    """
    if (verdict := needs_the_context(setting)) is not None:
        return verdict
    found, early = laid_over(setting, lab)
    if early is not None:
        return early
    network, three, two = (
        {name: curves[np.isfinite(curves).all(-1)] for name, curves in each.items()} for each in found
    )
    parts = []
    for name in (*COMPARED, "label_attention"):
        line = three[name].mean(0)
        rival = line[0] + (line[-1] - line[0]) * (AT - AT[0]) / (AT[-1] - AT[0])
        label = "a steady rise"
        if name == "label_attention":
            rival, label = two[name].mean(0), "two numbers"
        parts.append(
            follows(
                network[name],
                line,
                within=budget(relative(0.25, 1.0, "a quarter of the rise")),
                scale="range",
                of="mean trajectory",
                times=AT,
                twin=Twin.of(label, predicted=rival),
                null=frozen(network[name]),
            ).named(name)
        )
    return all_of(*parts)


@paper.claim(
    "nested_order",
    source="Section 4, equations of the reduced loss",
    statements=[7],
    parts=4,
    setting=CIRCUITS,
    formula="shares of the values at t_half that are reached at t_half / 2: xi > alpha > beta1; t(alpha), t(beta1) = "
    "t_half, t: half of the value at 1.25 t_half",
    assumptions=["p_C = 1, B = 1, L > N", "two-number circuit, ReLU readout", "replicas that learn"],
    judged="paired differences of shares exceed 0.02; logs of times over the half-time 0 within half of the width 0.15 of the "
    "rise at the published size",
    note="xi leads early, not throughout: it goes on growing after the jump, so that it passes half of its value at "
    "1.25 t_half slightly after alpha and beta1 pass theirs.",
)
def nested_order(setting: CircuitSetting, lab: Lab) -> Verdict:
    """The readout aligns first, then alpha grows, then beta1; alpha and beta1 rise together at the jump.

    Twins: leads of a tenth; a rise a jump's width before the jump.
    """
    if (verdict := needs_the_context(setting)) is not None:
        return verdict
    steps, runs, half, early = learners(lab.simulate(train_circuit, without_label_bias(setting)))
    if early is not None:
        return early
    curves = {
        name: rescaled(steps, runs[name] - runs[name][:, :1], half, np.array([0.5, 1.0, 1.25]))
        for name in ("xi", "alpha", "beta1")
    }
    seen = np.isfinite(curves["xi"]).all(-1)
    if (verdict := too_few(seen, "have run for 1.25 half-times")) is not None:
        return verdict
    shares = {name: each[seen, 0] / each[seen, 1] for name, each in curves.items()}
    parts = [
        ordered(shares[late], shares[soon], by=0.02, twin=Twin.of("a lead of a tenth", by=0.1)).named(
            f"{soon} before {late}"
        )
        for soon, late in (("xi", "alpha"), ("alpha", "beta1"))
    ]
    for name in ("alpha", "beta1"):
        when = np.log(first_time(steps, runs[name][seen], curves[name][seen, 2] / 2) / half[seen])
        parts.append(
            agrees(
                when,
                0.0,
                within=budget(relative(0.5, WIDTH, "half of the jump")),
                scale=1.0,
                twin=Twin.of("before the jump", predicted=-WIDTH),
            ).named(name)
        )
    return all_of(*parts)


@paper.claim(
    "alignment_not_context_mass",
    source="Section 5 and the published discussion",
    statements=[6],
    parts=2,
    undecided_at_smoke=FEW,
    setting=CIRCUITS,
    formula="L = N, so that CLA = 1: R = 0, or R = xi_0 times the labels",
    assumptions=["three-number circuit, linear readout", "xi_0 = 3"],
    judged="shares of circuits that end above accuracy 0.9 in the same number of steps: at most 1/2 and at least 1/2",
)
def alignment_not_context_mass(setting: CircuitSetting, lab: Lab) -> Verdict:
    """With as many labels as the context holds, the mass on labels of the context is one whatever the readout; most circuits
    whose readout is aligned with the labels beforehand learn, most of those whose readout is not do not.

    Twin of each: the other; were the mass what counts, there would be no difference. Null control: accuracies before training.
    """
    blank = without_curriculum(setting)
    runs = lab.simulate(train_circuit, blank, replace(blank, alignment=3.0))
    success = [each["accuracy_context"][:, -1] > LEARNT for each in runs]
    stuck = share(success[0], at_most=0.5, twin=Twin.of("as if aligned", successes=success[1]))
    learns = share(
        success[1],
        at_least=0.5,
        twin=Twin.of("as if not aligned", successes=success[0]),
        null=runs[1]["accuracy_context"][:, 0] > LEARNT,
    )
    return all_of(stuck.named("not aligned"), learns.named("aligned"))
