"""Claims on multi-query recall by trained layers in one form: load, states, and gates without state expansion."""

from __future__ import annotations

from dataclasses import replace

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, ordered, relative
from attnlab.papers.dsf_ssm_equivalence.paper import MQAR, paper
from attnlab.papers.lab.conditions import at_least, one_of
from attnlab.papers.lab.run.workbench import Lab, Runs
from attnlab.simulators.recurrent_forms.mqar import MqarSetting, mqar

COVERS = {
    "form": one_of("linear", why="the other forms are derived from it"),
    "n_steps": at_least(100, "networks must be trained"),
}
MEDIAN = "median over replicas"
SHORT = "networks are trained for 100 steps"


def above(low: Runs, high: Runs, by: float, most: float) -> Verdict:
    """The second recalls more, by the median over pairs of replicas; not before training."""
    start = Twin.of("before training", smaller=low["start"], larger=high["start"])
    return ordered(
        low["accuracy"], high["accuracy"], by=by, of=MEDIAN, twin=Twin.of(f"by {100 * most:g} %", by=most), null=start
    )


@paper.claim(
    "softmax_recalls_any_load",
    source="Section 6, MQAR; no finite state",
    statements=[4],
    setting=MQAR,
    parts=2,
    formula="accuracy 1 with n = 4 numbers of a query, at 2 n and 4 n pairs",
    judged="median over replicas on fresh prompts, within 0.05 of 1 (trainings end before they are done)",
    undecided_at_smoke=SHORT,
    covers=COVERS,
)
def softmax_recalls_any_load(setting: MqarSetting, lab: Lab) -> Verdict:
    """Trained softmax attention recalls more pairs than a query has numbers, without loss.

    Twin: n orthogonal keys fit, the others are guessed. Null: before training.
    """
    n = setting.n_state
    cases = [replace(setting, form="softmax", n_pairs=factor * n) for factor in (2, 4)]
    parts = []
    for case, runs in zip(cases, lab.simulate(mqar, *cases), strict=True):
        kept = n / case.n_pairs
        verdict = agrees(
            runs["accuracy"],
            1.0,
            within=budget(relative(0.05, 1.0, "training left")),
            of=MEDIAN,
            low=0.0,
            high=1.0,
            twin=Twin.of("n pairs fit", predicted=kept + (1 - kept) / setting.n_words),
            null=runs["start"],
        )
        parts.append(verdict.named(f"{case.n_pairs} pairs"))
    return all_of(*parts)


@paper.claim(
    "finite_states_fill_up",
    source="Section 6, MQAR",
    statements=[4],
    setting=MQAR,
    parts=2,
    formula="linear attention with n = 4 states: accuracy falls from n to 2 n to 4 n pairs",
    judged="median over pairs of replicas of the difference on fresh prompts, at least 5 %",
    undecided_at_smoke=SHORT,
    covers=COVERS,
)
def finite_states_fill_up(setting: MqarSetting, lab: Lab) -> Verdict:
    """Trained linear attention recalls less the more pairs are stored in the same state. Twin: 80 % less. Null: before
    training."""
    n = setting.n_state
    few, twice, many = lab.simulate(mqar, *(replace(setting, n_pairs=factor * n) for factor in (1, 2, 4)))
    return all_of(
        above(twice, few, 0.05, 0.8).named(f"{2 * n} pairs below {n}"),
        above(many, twice, 0.05, 0.8).named(f"{4 * n} pairs below {2 * n}"),
    )


@paper.claim(
    "expansion_beats_gates",
    source="Section 3, state expansion; Section 6, MQAR",
    statements=[4],
    kind="extrapolation",
    setting=MQAR,
    parts=2,
    formula="accuracy: selective model with 2 n states per channel above the same with n / 2, and above gates with one",
    judged="median over pairs of replicas of the difference on fresh prompts, 2 n pairs, at least 5 %",
    undecided_at_smoke=SHORT,
    covers=COVERS,
)
def expansion_beats_gates(setting: MqarSetting, lab: Lab) -> Verdict:
    """A selective model with many states per channel recalls more than with few, and than a gated recurrence, which has one.

    Twin: 80 % more. Null: before training.
    """
    n = setting.n_state
    load = replace(setting, n_pairs=2 * n)
    cases = [replace(load, form="gated", n_state=1)]
    cases += [replace(load, form="ssd", n_state=states) for states in (n // 2, 2 * n)]
    gated, small, large = lab.simulate(mqar, *cases)
    return all_of(
        above(small, large, 0.05, 0.8).named("few states below many"),
        above(gated, large, 0.05, 0.8).named("gates below many states"),
    )
