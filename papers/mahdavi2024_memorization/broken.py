"""What happens where the assumptions fail, how they are tested, and how narrow heads may be (statements 4, 11 and 12)."""

from __future__ import annotations

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, identical, replicas
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.mahdavi2024_memorization.paper import ASSUMPTIONS, EXACT, FROZEN, cells, paper
from attnlab.papers.mahdavi2024_memorization.rank_laws import EXACTLY, shared_law
from attnlab.simulators.memorization.assumptions import AssumptionSetting, kruskal, narrow_heads, subset_test
from attnlab.simulators.memorization.exact_ranks import ExactSetting, exact_ranks
from attnlab.simulators.memorization.frozen import FrozenSetting, residuals
from attnlab.theory.memorization import ranks as theory


@paper.claim(
    "equal_queries",
    source="Assumption 1",
    statements=[11],
    kind="extrapolation",
    setting=FROZEN,
    formula="sum of squares = (y_1 - y_2)^2 / 2 if examples 1 and 2 have one query and context",
    assumptions=["one shared context", "T = n examples"],
    judged="ratio 1 within 1e-8 in every replica: 2^-53 times the condition number, at most 1e7 here",
)
def equal_queries(setting: FrozenSetting, lab: Lab) -> Verdict:
    """Two examples that look the same leave half of the squared difference of their labels, and no more than that.

    Twin: the whole of it, as if one of the two were fitted.
    """
    ratio = lab.simulate(residuals, setting)["equal_queries"]
    return bounded(
        np.abs(ratio - 1),
        1e-8,
        of="every replica",
        twin=Twin.of("one of them is fitted", measured=np.abs(ratio / 2 - 1)),
    )


@paper.claim(
    "repeated_queries",
    source="Assumption 1",
    statements=[11],
    kind="extrapolation",
    setting=EXACT,
    formula="R = min(different queries, H (n - 1) + 1)",
    assumptions=["one shared context"],
    judged=EXACTLY,
)
def repeated_queries(setting: ExactSetting, lab: Lab) -> Verdict:
    """Only different queries count: with every query twice the rank is that of half the examples.

    Twin: the rank as if all were different.
    """
    runs = lab.simulate(exact_ranks, setting)
    law = cells(lambda n, d, H, d_h, T: shared_law(n, d, H, d_h, (T + 1) // 2), setting.sizes, runs)
    return identical(runs["repeated"], law, twin=Twin.of("all different", b=cells(shared_law, setting.sizes, runs)))


@paper.claim(
    "kruskal_ranks",
    source="Definition of the Kruskal rank",
    statements=[12],
    kind="construction",
    setting=ASSUMPTIONS,
    formula="min(T, d) generic, m in an m-dimensional subspace, 1 with a collinear pair, 2 with a dependent triple",
    judged="exact Kruskal ranks of integer sets with a planted subspace, pair, triple or repetition, all subsets tried",
)
def kruskal_ranks(setting: AssumptionSetting, lab: Lab) -> Verdict:
    """One collinear pair makes the Kruskal rank one, whatever the rank of the set is; equal vectors are such a pair.

    Twin: the rank of the set.
    """
    runs = lab.simulate(kruskal, setting)
    full = min(setting.n_vectors, setting.dim)
    law, ranks = [full, setting.subspace, 1, 2, 1], [full, setting.subspace, full, full, full]
    return identical(
        runs["kruskal_rank"], np.tile(law, (runs.n, 1)), twin=Twin.of("rank of the set", b=np.tile(ranks, (runs.n, 1)))
    )


@paper.claim(
    "subsets_miss_pairs",
    source="Section 3, checking the assumptions",
    statements=[12],
    kind="extrapolation",
    setting=ASSUMPTIONS,
    parts=2,
    formula="P(found) = 1 - (1 - s (s - 1) / (T (T - 1)))^k",
    assumptions=["one collinear pair among T vectors"],
    judged="share of trials within the interval of the replicas, each an average over independent trials; the test "
    "of all pairs "
    "always finds it",
)
def subsets_miss_pairs(setting: AssumptionSetting, lab: Lab) -> Verdict:
    """Testing random subsets mostly misses a single collinear pair; testing all pairs finds it.

    Twins: subsets that need to hit one of the two only; a test of pairs that finds it in nine of ten trials.
    """
    runs, k = lab.simulate(subset_test, setting), setting.n_subsets
    law = theory.pair_seen_probability(setting.n_queries, setting.subset, k)
    rival = 1 - (1 - setting.subset / setting.n_queries) ** k
    by_pairs, of = runs["found_by_pairs"], f"mean over replicas of {setting.n_trials} draws"
    return all_of(
        agrees(
            runs["found"].mean(1),
            law,
            of=of,
            within=budget(replicas((law * (1 - law) / setting.n_trials) ** 0.5, runs.n, of=of)),
            twin=Twin.of("one of the two", predicted=rival),
        ).named("subsets"),
        identical(by_pairs, np.ones_like(by_pairs), twin=Twin.of("misses some", a=runs["found"])).named("pairs"),
    )


@paper.claim(
    "narrow_heads_suffice",
    source="Section 5, sweep over d_h",
    statements=[4],
    kind="extrapolation",
    setting=ASSUMPTIONS,
    formula="every layer on a shared context equals one with d_h = n - 1",
    assumptions=["one shared context of rank n <= d"],
    judged="largest change of a weight below 1e-9 in every replica: rounding times a condition number below 1e4",
    note="So growth with d_h must end at n - 1, one before d_h = n, for shared contexts and any training.",
)
def narrow_heads_suffice(setting: AssumptionSetting, lab: Lab) -> Verdict:
    """Heads of width n - 1 do whatever wider heads do on a shared context, for softmax ignores a shift; width n - 2 does not.

    Twin: width n - 2.
    """
    runs = lab.simulate(narrow_heads, setting)
    return bounded(
        runs["exact"].max(-1),
        1e-9,
        of="every replica",
        twin=Twin.of("width n - 2", measured=runs["too_narrow"].max(-1)),
    )
