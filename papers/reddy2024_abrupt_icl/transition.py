"""Claims on the trained network: the abrupt transition, what precedes it, and the head that forms (statements 1 to 3, 5)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, ordered, share
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.reddy2024_abrupt_icl.paper import (
    DESK,
    FEW,
    LEARNT,
    PAPER,
    SMOKE,
    first_time,
    half_way,
    needs_the_context,
    paper,
    rescaled,
    sizes,
    trained,
)
from attnlab.simulators.induction_heads import training as simulator
from attnlab.theory.induction_heads import reduced_loss as theory

BEFORE = np.array([0.6, 0.65, 0.7])  # of the half-time: a jump of width below a half begins after 0.75 of it
JUMP = np.array([1.0])


def rise(steps, curves, low):
    """Steps from a tenth to nine tenths of the way from ``low`` to 1."""
    return first_time(steps, curves, low + 0.9 * (1 - low)) - first_time(steps, curves, low + 0.1 * (1 - low))


@paper.claim(
    "abrupt",
    source="Figure 1 and Section 3",
    statements=[1],
    parts=2,
    undecided_at_smoke=FEW,
    formula="(t_0.9 - t_0.1) / t_half < 1/2, levels between 1/N and 1, t_half: accuracy 1/2",
    assumptions=["p_C = 1, B = 1, L > N", "width: replicas that learn"],
    judged="share of replicas that end above accuracy 0.9 is at least 1/2; median width of the rise below half of the "
    "time before it (a steady rise has 1.6)",
    note="Desk: D = 31, N = 4, L = 16, 48 numbers per token, learning rate 0.1, batch 32. The published size (D = 63, "
    "N = 8, L = 32, learning rate 0.01, batch 128) is the scale `paper`.",
)
def abrupt(setting: simulator.Setting, lab: Lab) -> Verdict:
    """After a long wait at chance among the labels of the context, in-context accuracy jumps to one; a network with a
    seventh of the published number of parameters does so, too.

    Twins: what is learnt is in the weights; the rise is as gradual as that of the share of predictions that are labels of
    the context, each in units of its own half-time.
    """
    if (verdict := needs_the_context(setting)) is not None:
        return verdict
    N, L = sizes(setting)
    everyone = lab.simulate(simulator.train, setting)
    success = share(
        everyone["accuracy_context"][:, -1] > LEARNT,
        at_least=0.5,
        twin=Twin.of("learning in weights", successes=everyone["accuracy_weights"][:, -1] > LEARNT),
    )
    steps, runs, half, early = trained(setting, lab)
    if early is not None:
        return early
    width = rise(steps, runs["accuracy_context"], 1 / N) / half
    listed = runs["context_share"]
    gradual = rise(steps, listed, N / L) / first_time(steps, listed, (1 + N / L) / 2)
    sharp = bounded(
        width, 0.5, of="median over replicas", twin=Twin.of("as the share of labels of the context", measured=gradual)
    )
    return all_of(success.named("learnt"), sharp.named("width"))


@paper.claim(
    "random_choice",
    source="Section 3, slow phase",
    statements=[2],
    parts=3,
    formula="P(right | a label of the context is predicted) = 1/N; share of such predictions > N/L + (1 - N/L)/4; "
    "N TILA2 / TLA2 = 1; means over 0.6, 0.65 and 0.7 t_half",
    assumptions=["p_C = 1, B = 1, L > N", "replicas that learn"],
    judged="1/N within a third of the distance to the twin's (1 + 1/N)/2; share above a quarter of its way from N/L "
    "to 1; preference for the matching label 1 within a quarter",
)
def random_choice(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Before the jump the network predicts labels of the context, but any of them: neither its answers nor its attention
    prefer the right one.

    Twins: the right one is found half of the time; no more labels of the context than by chance; the preference at the
    half-time of the jump.
    """
    if (verdict := needs_the_context(setting)) is not None:
        return verdict
    steps, runs, half, early = trained(setting, lab)
    if early is not None:
        return early
    N, L = sizes(setting)

    def mean_at(at, name):
        return rescaled(steps, runs[name], half, at).mean(-1)

    rival = (1 + 1 / N) / 2
    guess = agrees(
        mean_at(BEFORE, "accuracy_context") / mean_at(BEFORE, "context_share"),
        1 / N,
        within=(rival - 1 / N) / 3,
        twin=Twin.of("right half of the time", predicted=rival),
    )
    quarter = np.full(len(half), N / L + (1 - N / L) / 4)
    listed = ordered(
        quarter,
        mean_at(BEFORE, "context_share"),
        twin=Twin.of("labels of the context by chance", larger=runs["context_share"][:, 0]),
    )
    preference = [N * mean_at(at, "match_attention") / mean_at(at, "label_attention") for at in (BEFORE, JUMP)]
    blind = agrees(preference[0], 1.0, within=0.25, twin=Twin.of("a head half formed", measured=preference[1]))
    return all_of(guess.named("guess"), listed.named("labels of the context"), blind.named("attention"))


@paper.claim(
    "match_attention_waits",
    source="Section 3, slow phase",
    statements=[2],
    expected="REFUTED",
    formula="TILA2 = 1/(2N+1) until the jump",
    assumptions=["p_C = 1, B = 1, L > N", "replicas that learn"],
    judged="TILA2 at 0.6 to 0.7 t_half is its value for uniform attention within 10 %",
    note="Attention to labels in general grows well before the jump, and that to the matching label with it, as "
    "TLA2 / N; see random_choice.",
)
def match_attention_waits(setting: simulator.Setting, lab: Lab) -> Verdict:
    """In the slow phase the target's attention to the matching label stays at its value for uniform attention. False: it
    grows with the attention to all labels.

    Twin: it is a share 1/N of the attention to all labels.
    """
    if (verdict := needs_the_context(setting)) is not None:
        return verdict
    steps, runs, half, early = trained(setting, lab)
    if early is not None:
        return early
    uniform = float(theory.uniform_measures(*sizes(setting)).match_attention)
    before, labels = (
        rescaled(steps, runs[name], half, BEFORE).mean(-1) for name in ("match_attention", "label_attention")
    )
    return agrees(
        before, uniform, within=0.1 * uniform, twin=Twin.of("1/N of TLA2", predicted=labels / setting.n_context)
    )


@paper.claim(
    "item_attention_waits",
    source="Section 3, slow phase",
    statements=[2],
    formula="ILA1 = mean of 1/(2m), m = 1..N, until the jump",
    assumptions=["p_C = 1, B = 1, L > N", "replicas that learn"],
    judged="ILA1 at 0.6 to 0.7 t_half is its value for uniform attention within a tenth of the way to 1",
)
def item_attention_waits(setting: simulator.Setting, lab: Lab) -> Verdict:
    """In the slow phase the labels' attention to their items stays at its value for uniform attention.

    Twin: it grows with the share of predictions that are labels of the context.
    """
    if (verdict := needs_the_context(setting)) is not None:
        return verdict
    steps, runs, half, early = trained(setting, lab)
    if early is not None:
        return early
    N, L = sizes(setting)
    uniform = float(theory.uniform_measures(N, L).item_attention)
    item, listed = (rescaled(steps, runs[name], half, BEFORE).mean(-1) for name in ("item_attention", "context_share"))
    gradual = uniform + (1 - uniform) * (listed - N / L) / (1 - N / L)
    return agrees(item, uniform, within=0.1 * (1 - uniform), twin=Twin.of("gradual", predicted=gradual))


@paper.claim(
    "head_at_the_jump",
    source="Section 3, Figure 3",
    statements=[3],
    parts=4,
    formula="t(ILA1) / t_half = 1, t(TILA2) / t_half = 1, t: half of the way from start to end; at the end both > 1/2",
    assumptions=["p_C = 1, B = 1, L > N", "replicas that learn"],
    judged="mean log of the ratios of times is 0 within 0.25; final attentions above 1/2",
)
def head_at_the_jump(setting: simulator.Setting, lab: Lab) -> Verdict:
    """Both parts of the induction head form at the time of the jump.

    Twins: they form when predictions become labels of the context; attention stays uniform.
    """
    if (verdict := needs_the_context(setting)) is not None:
        return verdict
    steps, runs, half, early = trained(setting, lab)
    if early is not None:
        return early
    listed = np.log(half_way(steps, runs["context_share"]) / half)
    uniform = theory.uniform_measures(*sizes(setting))
    parts = []
    for name, start in (("item_attention", uniform.item_attention), ("match_attention", uniform.match_attention)):
        when = np.log(half_way(steps, runs[name]) / half)
        parts.append(
            agrees(when, 0.0, within=0.25, twin=Twin.of("with the labels of the context", measured=listed)).named(
                f"time of {name}"
            )
        )
        parts.append(
            ordered(
                np.full(len(half), 0.5),
                runs[name][:, -1],
                twin=Twin.of(
                    "uniform attention", larger=np.full(len(half), float(start)) + 1e-9 * np.arange(len(half))
                ),
            ).named(f"final {name}")
        )
    return all_of(*parts)


@paper.claim(
    "order_of_events",
    source="Section 3, Figure 3",
    statements=[3, 7],
    parts=3,
    formula="t(CLA) < t(TLA2) < t(ILA1), t(TILA2), t: half of the way from start to end",
    assumptions=["p_C = 1, B = 1, L > N", "replicas that learn"],
    judged="mean differences of log times are positive",
)
def order_of_events(setting: simulator.Setting, lab: Lab) -> Verdict:
    """First predictions become labels of the context, then the target attends to labels, then the head forms.

    Twins: the reversed orders.
    """
    if (verdict := needs_the_context(setting)) is not None:
        return verdict
    steps, runs, _, early = trained(setting, lab)
    if early is not None:
        return early
    when = {
        name: np.log(half_way(steps, runs[name]))
        for name in ("context_share", "label_attention", "item_attention", "match_attention")
    }
    return all_of(
        *(
            ordered(when[first], when[then], twin=Twin.of("reversed", smaller=when[then], larger=when[first])).named(
                f"{first} before {then}"
            )
            for first, then in (
                ("context_share", "label_attention"),
                ("label_attention", "item_attention"),
                ("label_attention", "match_attention"),
            )
        )
    )


def as_many_labels(setting):
    """The same network with L = N."""
    return replace(setting, n_labels=setting.n_context, n_records=25)


@paper.claim(
    "as_many_labels_fail",
    source="Section 4, L = N",
    statements=[5, 6],
    parts=2,
    undecided_at_smoke=FEW,
    setting=Scales(smoke=SMOKE, desk=DESK, paper=PAPER),
    formula="share of networks that learn: at most 1/2 for L = N, at least 1/2 for L > N, in the same number of steps",
    assumptions=["p_C = 1, B = 1"],
    judged="shares of replicas that end above accuracy 0.9",
)
def as_many_labels_fail(setting: simulator.Setting, lab: Lab) -> Verdict:
    """With as many labels as the context holds, every prediction is a label of the context from the start, and yet networks do
    not learn in the time in which they do with more labels.

    Twin of each: the other.
    """
    if (verdict := needs_the_context(setting)) is not None:
        return verdict
    more, same = lab.simulate(simulator.train, setting, as_many_labels(setting))
    success = [runs["accuracy_context"][:, -1] > LEARNT for runs in (more, same)]
    few = share(success[1], at_most=0.5, twin=Twin.of("as with more labels", successes=success[0]))
    many = share(success[0], at_least=0.5, twin=Twin.of("as with L = N", successes=success[1]))
    return all_of(few.named("L = N"), many.named("L > N"))
