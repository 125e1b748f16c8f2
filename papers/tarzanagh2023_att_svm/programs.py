"""Claims on the convex programs alone: feasibility and rank on random data (statements 5 and 7)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Outcome, Twin, Verdict, all_of, bounded, exhaustive, identical, ordered
from attnlab.papers.lab.conditions import one_of, outside
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tarzanagh2023_att_svm.paper import DESK, paper, selection, solved
from attnlab.simulators.max_margin_attention import training as simulator
from attnlab.simulators.max_margin_attention.feasibility import feasible_selections
from attnlab.simulators.max_margin_attention.training import Setting
from attnlab.theory.max_margin_attention import frobenius as svm
from attnlab.theory.max_margin_attention import nuclear

SMALL = Setting(n_inputs=3, n_tokens=4, n_replicas=16)
SPAN = replace(DESK, init="zero", n_steps=1_000, n_records=4, n_replicas=16)
SPANS = Scales(SPAN, SPAN, SPAN)
RANKS = Setting(n_inputs=10, n_tokens=5, dim=15, n_replicas=24)


@paper.claim(
    "feasible",
    source="feasibility lemma",
    statements=[5],
    setting=Scales(replace(SMALL, n_replicas=8), SMALL, replace(SMALL, n_replicas=100)),
    reads=("n_inputs", "n_tokens"),
    covers={"query": one_of("cross", why="queries are independent of the tokens")},
    formula="d >= max(T - 1, n)  =>  for every alpha some W has <A_it, W> >= 1",
    assumptions=["n = 3, T = 4, d = 3", "independent tokens and queries"],
    judged="every selection of every data set, or 256 drawn of a data set that has more, by linear programming",
)
def feasible(setting: Setting, lab: Lab) -> Verdict:
    """At d = max(T - 1, n) every selection of tokens is feasible.

    Twin: two dimensions are enough (one, if the lemma says two). That one dimension fewer is not is false: the lemma is
    sufficient.
    """
    enough = max(setting.n_tokens - 1, setting.n_inputs)
    if enough < 2:
        return outside("a single input of two tokens is feasible in one dimension")
    found = lab.simulate(feasible_selections, *(replace(setting, dim=dim) for dim in (enough, min(2, enough - 1))))

    def cases(runs):
        return [(setting, *chosen) for setting, row in enumerate(runs["selected"]) for chosen in row.tolist()]

    def table(runs):
        return dict(zip(cases(runs), runs["feasible"].ravel().tolist(), strict=True))

    known, rival = map(table, found)
    return exhaustive(
        list(known),
        known.__getitem__,
        unit="selection",
        of="every selection (data set, tokens)",
        twin=Twin.of("two dimensions", cases=list(rival), check=rival.__getitem__),
    )


@paper.claim(
    "row_space",
    source="rank lemma",
    statements=[7],
    parts=2,
    setting=SPANS,
    covers={
        "query": one_of("cross", "self", why="a prompt has one query"),
        "init": one_of("zero", why="the start lies in the whole space"),
        "head": one_of("linear"),
    },
    formula="W_alpha = W_alpha P, W_k = W_k P, P the projection on span {z_1, ..., z_n}",
    assumptions=["n = 6 queries in d = 10 dimensions", "W(0) = 0"],
    judged="W and W P over ||W||, every entry of every replica, to the rounding of one sum over all tokens a step",
)
def row_space(setting: Setting, lab: Lab) -> Verdict:
    """The rows of trained weights and of the Frobenius solution lie in the span of the queries.

    Twin: the span of all queries but the last.
    """
    if setting.n_inputs >= setting.dim:
        return outside(f"n_inputs={setting.n_inputs}, dim={setting.dim}: the queries span the whole space")
    runs = lab.simulate(simulator.train, setting)
    chosen = selection(runs)

    def projected(W, n_queries):
        """W times the projection on the span of the first queries, over the norm of W."""
        bases = [np.linalg.qr(queries[:n_queries].T)[0] for queries in runs["queries"]]
        unit = W / np.linalg.norm(W, axis=(-2, -1), keepdims=True)
        return unit, np.array([w @ basis @ basis.T for w, basis in zip(unit, bases, strict=True)])

    n, parts = setting.n_inputs, []
    for name, W, sums in (
        ("trained", runs["W"][:, -1], setting.n_steps),
        ("solution", chosen.frobenius, n * setting.n_tokens),
    ):
        (unit, inside), (_, fewer) = projected(W, n), projected(W, n - 1)
        rival = Twin.of("all queries but the last", b=fewer)
        parts.append(identical(unit, inside, rounding=sums * n * setting.n_tokens, scale=1.0, twin=rival).named(name))
    return all_of(*parts)


@paper.claim(
    "rank",
    source="rank lemma and figure",
    statements=[7],
    parts=3,
    setting=Scales(replace(RANKS, n_replicas=10), RANKS, replace(RANKS, n_replicas=100)),
    formula="rank W_alpha <= min(n, d), rank W*_alpha <= min(n, d)",
    assumptions=["n = 10, T = 5, d = 15", "solutions on the best-scoring tokens, feasible data sets"],
    judged="both bounds in every data set (rank: singular values above 1e-5 of the largest); the rank of the nuclear "
    "solution is below that of the Frobenius solution by more than half of min(n, d) in the mean",
)
def low_rank(setting: Setting, lab: Lab) -> Verdict:
    """The rank of both solutions is at most min(n, d); the nuclear-norm solution has less than half of it.

    Twins: bounds smaller by one (Frobenius) and of one (nuclear); a nuclear solution of rank one.
    """
    runs = lab.simulate(simulator.data_sets, setting)
    plain, low = ranks(runs)
    if len(plain) < 2:
        return Verdict(
            Outcome.UNDECIDED,
            "condition",
            n=len(plain),
            reason=f"{len(plain)} of {runs.n} data sets are feasible; raise dim",
        )
    bound = min(setting.n_inputs, setting.dim)
    frobenius = bounded(plain, bound, of="every replica", unit="data set", twin=Twin.of("one less", bound=bound - 1.0))
    other = bounded(low, bound, of="every replica", unit="data set", twin=Twin.of("a single direction", bound=1.0))
    lower = ordered(low, plain, by=bound / 2, unit="data set", twin=Twin.of("rank one", by=bound - 1.0))
    return all_of(frobenius.named("Frobenius"), other.named("nuclear"), lower.named("order"))


def ranks(runs):
    """Ranks of the two solutions on the best-scoring tokens, float, over the feasible data sets."""
    found = []
    for keys, queries, scores in zip(runs["keys"], runs["queries"], runs["scores"], strict=True):
        best = scores.argmax(-1)
        try:
            found.append([nuclear.rank(solved(norm, keys, queries, best).weights) for norm in ("frobenius", "nuclear")])
        except svm.Infeasible:
            continue
    return np.array(found, dtype=float).reshape(-1, 2).T
