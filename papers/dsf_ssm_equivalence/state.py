"""Claims: what of the past a state holds, the features that approximate softmax, and recall against their number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, identical, ordered, relative, rounding
from attnlab.papers.dsf_ssm_equivalence.paper import FEATURES, RANKS, RECALL, paper
from attnlab.papers.lab.conditions import at_least, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.recurrent_forms.forms import TruncationSetting, truncations
from attnlab.simulators.recurrent_forms.ranks import MODELS, RankSetting, ranks
from attnlab.simulators.recurrent_forms.recall import RecallSetting, recall
from attnlab.theory.recurrent_forms import state as theory

ENOUGH = {
    "model": that(lambda m: m == "linear", "linear", "the other models are derived from it"),
    "n_past": at_least(8, "a state must be filled before its numbers can be counted"),
    "n_future": at_least(14, "as many outputs as numbers are read"),
}


@paper.claim(
    "state_numbers",
    source="state expansion; the counts are derived here",
    statements=[2, 4],
    kind="extrapolation",
    setting=RANKS,
    parts=len(MODELS) + 1,
    formula="linear n (d+1); S6 n d; normalised attention and SSD n d - m (m-1)/2, m = min(n, d); quasi-LSTM d; softmax all",
    judged="rank of the Jacobian of future outputs with respect to past tokens, every replica, singular values above 1e-11",
    reads=("n_past", "dim", "n_state"),
    covers=ENOUGH,
)
def state_numbers(setting: RankSetting, lab: Lab) -> Verdict:
    """The past acts on the future through as many numbers as a model has state, which is n d for S6 only, and everything in
    softmax.

    Twins: n d numbers; for S6 one less, for the quasi-LSTM one more; for softmax as many as before, where four tokens are added.
    """
    d, n = setting.dim, setting.n_state
    longer = replace(setting, model="softmax", n_past=setting.n_past + 4)
    cases = [replace(setting, model=m) for m in MODELS] + [longer]
    parts = []
    for case, runs in zip(cases, lab.simulate(ranks, *cases), strict=True):
        law = theory.state_numbers(case.model, n, d, case.n_past)
        rival = {"s6": law - 1, "gated": law + 1}.get(case.model, n * d)
        if case is longer:
            rival = theory.state_numbers(case.model, n, d, setting.n_past)
        of = np.full(runs.n, law)
        verdict = identical(runs["jacobian"], of, twin=Twin.of(f"{rival} numbers", b=np.full(runs.n, rival)))
        parts.append(verdict.named(f"{case.model}, {case.n_past} tokens"))
    return all_of(*parts)


@paper.claim(
    "blocks_of_rank_n",
    source="Section 3, state expansion",
    statements=[2, 4],
    setting=RANKS,
    parts=len(MODELS) + 1,
    formula="rank of a block below the diagonal: min(n, rows, columns); softmax min(rows, columns)",
    judged="rank of the map from past to future values for given weights, every replica",
    reads=("n_past", "n_future", "n_state"),
    covers=ENOUGH,
)
def blocks_of_rank_n(setting: RankSetting, lab: Lab) -> Verdict:
    """For given weights past values pass through n numbers per channel; softmax attention keeps all of them, however many.

    Twins: one more; for softmax one less.
    """
    longer = replace(setting, model="softmax", n_past=setting.n_past + 4)
    cases = [replace(setting, model=m) for m in MODELS] + [longer]
    parts = []
    for case, runs in zip(cases, lab.simulate(ranks, *cases), strict=True):
        own = {"gated": 1, "softmax": case.n_past}.get(case.model, setting.n_state)
        law = theory.block_rank(own, case.n_future, case.n_past)
        rival = law - 1 if case.model == "softmax" else law + 1
        verdict = identical(
            runs["block"], np.full(runs.n, law), twin=Twin.of(f"rank {rival}", b=np.full(runs.n, rival))
        )
        parts.append(verdict.named(f"{case.model}, {case.n_past} tokens"))
    return all_of(*parts)


@paper.claim(
    "truncated_features",
    source="approximation of softmax attention by feature maps",
    statements=[4],
    setting=FEATURES,
    parts=7,
    formula="C(d + p, p) features; |e^s - f_p(s)| <= |s|^(p+1) max(1, e^s) / (p+1)!",
    judged="every pair with |s| >= 0.2 of every replica, orders 1 to 8; and the number of features; rounding of as many products",
    reads=("key_dim", "orders"),
    covers={"orders": that(lambda p: len(p) == 6, "six orders", "the claim has as many parts")},
)
def truncated_features(setting: TruncationSetting, lab: Lab) -> Verdict:
    """Monomials up to degree p approximate the exponential of a score within Lagrange's bound, with C(d + p, p) numbers a token.

    Twins: (p + 2)! for (p + 1)!; one feature more.
    """
    runs = lab.simulate(truncations, setting)
    s = runs["scores"]
    seen = np.abs(s) >= 0.2
    parts = []
    for j, order in enumerate(setting.orders):
        error = np.abs(np.exp(s) - runs["kernel"][:, j])[seen]
        bound = theory.truncation_error_bound(s, order)[seen]
        count = theory.n_exponential_features(setting.key_dim, order)
        verdict = bounded(
            error,
            bound,
            within=budget(rounding(count, float(np.exp(np.abs(s).max())))),
            of="every replica",
            unit="pair",
            twin=Twin.of("(p + 2)!", bound=bound / (order + 2)),
        )
        parts.append(verdict.named(f"order {order}"))
    counts = np.array([theory.n_exponential_features(setting.key_dim, p) for p in setting.orders])
    sizes = identical(runs["features"][0], counts, twin=Twin.of("one more", b=counts + 1))
    return all_of(*parts, sizes.named("features"))


@paper.claim(
    "odd_orders_are_negative",
    source="derived here",
    statements=[4],
    kind="extrapolation",
    setting=FEATURES,
    formula="f_p > 0 everywhere for even p; for odd p negative below its one zero",
    judged="share of pairs with a negative kernel, every replica and order, against the share of scores below the zero",
    reads=("orders",),
    covers={"spread": at_least(1, "scores must reach the zeros")},
)
def odd_orders_are_negative(setting: TruncationSetting, lab: Lab) -> Verdict:
    """Features of even order give positive weights, those of odd order negative ones at scores below one zero.

    Twin: the zero of order p + 2 for odd p, and that of order p + 1 for even p.
    """
    runs = lab.simulate(truncations, setting)

    def shares(more: int) -> np.ndarray:
        orders = [p + (more if p % 2 else more // 2) for p in setting.orders]
        return np.stack([np.mean(runs["scores"] < theory.least_positive_score(p), axis=(1, 2)) for p in orders], 1)

    return identical(runs["negative"], shares(0), rounding=1, scale=1.0, twin=Twin.of("other zeros", b=shares(2)))


@paper.claim(
    "recall_rises_with_state",
    source="Section 6, MQAR",
    statements=[4],
    setting=RECALL,
    parts=3,
    formula="accuracy: linear attention n = 2 < 4 < 8 states, and softmax with 4 above linear attention with 8",
    judged="median over pairs of replicas of differences in accuracy on fresh prompts, twelve of 32 keys stored; at least 5 %",
    undecided_at_smoke="networks are trained for 60 steps",
    covers={"n_steps": at_least(50, "networks must be trained"), "form": that(lambda f: f == "linear", "linear")},
)
def recall_rises_with_state(setting: RecallSetting, lab: Lab) -> Verdict:
    """Trained linear attention recalls more with more states, and softmax attention more than it with half as many.

    Twins: 50 % more, which nobody reaches. Null: before training.
    """
    cases = [replace(setting, n_state=n) for n in (2, 4, 8)] + [replace(setting, form="softmax", n_state=4)]
    runs = lab.simulate(recall, *cases)
    names = ("2 to 4 states", "4 to 8 states", "softmax")
    parts = []
    for name, low, high in zip(names, runs, runs[1:], strict=False):
        parts.append(
            ordered(
                low["accuracy"],
                high["accuracy"],
                by=0.05,
                of="median over replicas",
                twin=Twin.of("by 50 %", by=0.5),
                null=Twin.of("before training", smaller=low["start"], larger=high["start"]),
            ).named(name)
        )
    return all_of(*parts)


@paper.claim(
    "normaliser_does_not_rank",
    source="corrects the advantage of the learnt normaliser; derived here",
    statements=[5],
    kind="extrapolation",
    setting=RECALL,
    parts=3,
    formula="argmax_v of R sum_j (phi.psi_j) v_j / eta does not depend on eta > 0",
    judged="accuracy of trained networks on the same prompts with every normaliser replaced by 1; one prompt in 1000 may "
    "round otherwise",
    covers={"n_steps": at_least(50, "networks must be trained"), "form": that(lambda f: f == "linear", "linear")},
)
def normaliser_does_not_rank(setting: RecallSetting, lab: Lab) -> Verdict:
    """In one layer with a linear read-out no normaliser changes an answer: linear attention and its learnt-normaliser form
    rank alike.

    Twin: 2 % of answers change.
    """
    forms = ("linear", "positive", "signed")
    runs = lab.simulate(recall, *[replace(setting, form=f, n_state=4) for f in forms])
    parts = []
    for form, run in zip(forms, runs, strict=True):
        parts.append(
            agrees(
                run["rescaled"],
                run["accuracy"],
                within=budget(relative(0.001, 1.0, "ties in float32")),
                of="every replica",
                twin=Twin.of("2 % change", predicted=run["accuracy"] - 0.02),
            ).named(form)
        )
    return all_of(*parts)


@paper.claim(
    "learnt_normaliser_wins",
    source="Section 6, normalised attention",
    statements=[5],
    setting=RECALL,
    formula="accuracy: linear attention < q.k / exp(w.u)",
    judged="median over pairs of replicas of the difference at 4 states, at least 10 %",
    undecided_at_smoke="networks are trained for 60 steps",
    covers={"n_steps": at_least(50, "networks must be trained"), "form": that(lambda f: f == "linear", "linear")},
)
def learnt_normaliser_wins(setting: RecallSetting, lab: Lab) -> Verdict:
    """Normalised attention, q.k over exp(w.u), recalls more than linear attention with elu + 1 features over their sum.

    Twin: 60 % more. Null: before training.
    """
    linear, signed = lab.simulate(recall, *[replace(setting, form=f, n_state=4) for f in ("linear", "signed")])
    return ordered(
        linear["accuracy"],
        signed["accuracy"],
        by=0.1,
        of="median over replicas",
        twin=Twin.of("by 60 %", by=0.6),
        null=Twin.of("before training", smaller=linear["start"], larger=signed["start"]),
    )


@paper.claim(
    "signs_win",
    source="corrects the advantage of the learnt normaliser; derived here",
    statements=[5],
    kind="extrapolation",
    setting=RECALL,
    parts=2,
    formula="accuracy at the same normaliser exp(w.u): elu + 1 features < signed ones; elu + 1 over exp(w.u) not above elu + "
    "1 over its sum",
    judged="median over pairs of replicas at 4 states: 10 % apart; and not 5 % above",
    undecided_at_smoke="networks are trained for 60 steps",
    covers={"n_steps": at_least(50, "networks must be trained"), "form": that(lambda f: f == "linear", "linear")},
)
def signs_win(setting: RecallSetting, lab: Lab) -> Verdict:
    """What wins in normalised attention is that weights may be negative: with elu + 1 features the learnt normaliser gains
    nothing.

    Twins: 60 % more; 20 % below, for not 5 % above. Null: before training.
    """
    forms = ("linear", "positive", "signed")
    linear, positive, signed = lab.simulate(recall, *[replace(setting, form=f, n_state=4) for f in forms])
    signs = ordered(
        positive["accuracy"],
        signed["accuracy"],
        by=0.1,
        of="median over replicas",
        twin=Twin.of("by 60 %", by=0.6),
        null=Twin.of("before training", smaller=positive["start"], larger=signed["start"]),
    )
    nothing = bounded(
        positive["accuracy"] - linear["accuracy"],
        0.05,
        of="median over replicas",
        twin=Twin.of("20 % below", bound=-0.2),
    )
    return all_of(signs.named("signs"), nothing.named("normaliser"))
