"""Claims on the convex programs alone: feasibility and rank on random data (statements 5 and 7)."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from attnlab.analysis import Outcome, Twin, Verdict, all_of, bounded, exhaustive, ordered
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.tarzanagh2023_att_svm.paper import paper, solved
from attnlab.simulators.max_margin_attention import training as simulator
from attnlab.simulators.max_margin_attention.training import Setting
from attnlab.theory.max_margin_attention import frobenius as svm
from attnlab.theory.max_margin_attention import nuclear

SMALL = Setting(n_inputs=3, n_tokens=4, n_replicas=16)
RANKS = Setting(n_inputs=10, n_tokens=5, dim=15, n_replicas=24)


@paper.claim(
    "feasible",
    source="feasibility lemma",
    statements=[5],
    setting=Scales(replace(SMALL, n_replicas=8), SMALL, replace(SMALL, n_replicas=100)),
    formula="d >= max(T - 1, n)  =>  for every alpha some W has <A_it, W> >= 1",
    assumptions=["n = 3, T = 4, d = 3", "independent tokens and queries", "one program a selection: 64 a data set"],
    judged="every selection of every data set, solved to optimality or to a certificate of infeasibility",
)
def feasible(setting: Setting, lab: Lab) -> Verdict:
    """At d = max(T - 1, n) every selection of tokens is feasible.

    Twin: one dimension fewer is enough.
    """
    enough = max(setting.n_tokens - 1, setting.n_inputs)
    found = {dim: lab.simulate(simulator.data_sets, replace(setting, dim=dim)) for dim in (enough, enough - 1)}
    every = list(itertools.product(range(setting.n_tokens), repeat=setting.n_inputs))

    def cases(dim):
        return [(dim, data_set, *chosen) for data_set in range(found[dim].n) for chosen in every]

    def separable(case):
        dim, data_set, *chosen = case
        return svm.feasible(found[dim]["keys"][data_set], found[dim]["queries"][data_set], np.array(chosen))

    return exhaustive(
        cases(enough),
        separable,
        unit="selection",
        of="every selection (d, data set, tokens)",
        twin=Twin.of("one dimension fewer", cases=cases(enough - 1)),
    )


@paper.claim(
    "rank",
    source="rank lemma and figure",
    statements=[7],
    parts=3,
    setting=Scales(replace(RANKS, n_replicas=10), RANKS, replace(RANKS, n_replicas=100)),
    formula="rank W_alpha <= min(n, d), rank W*_alpha <= min(n, d)",
    assumptions=["n = 10, T = 5, d = 15", "machines on the best-scoring tokens, feasible data sets"],
    judged="both bounds in every data set (rank: singular values above 1e-5 of the largest); the rank of the nuclear "
    "solution is below that of the Frobenius solution by more than half of min(n, d) in the mean",
)
def low_rank(setting: Setting, lab: Lab) -> Verdict:
    """The rank of both solutions is at most min(n, d); the nuclear-norm solution has less than half of it.

    Twins: bounds smaller by one (Frobenius) and of one (nuclear); the reversed order.
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
    lower = ordered(low, plain, by=bound / 2, unit="data set", twin=Twin.of("reversed", smaller=plain, larger=low))
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
