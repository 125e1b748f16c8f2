"""Exact ranks of the features, over the integers (statements 2, 3, 4 and 9)."""

from __future__ import annotations

import numpy as np

from attnlab.analysis import Twin, Verdict, all_of, identical
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.mahdavi2024_memorization.paper import EXACT, cells, paper
from attnlab.simulators.memorization.exact_ranks import ExactSetting, exact_ranks
from attnlab.theory.memorization import ranks as theory

EXACTLY = "exact ranks of random integer examples and weights, equal in every cell and replica"
DIFFERENT = ["different queries", "weights that tell all tokens and all queries apart"]


def shared_law(n, dim, n_heads, head_dim, n_examples):
    """Rank for one shared context; it does not depend on the width of the heads."""
    return theory.shared_context_rank(n_examples, n_heads, n, min(n, dim))


@paper.claim(
    "shared_rank",
    source="tightness of Theorem 1",
    statements=[3, 11],
    setting=EXACT,
    parts=2,
    formula="R = min(T, H (rho - 1) + 1) if E x = 1 has a solution, min(T, H rho) if not",
    assumptions=DIFFERENT,
    judged=EXACTLY,
)
def shared_rank(setting: ExactSetting, lab: Lab) -> Verdict:
    """With one shared context of rank n the features have rank min(T, H (n - 1) + 1); of rank rho < n, it depends on the ones.

    Each head reproduces the constant, which costs H - 1 dimensions, if and only if the context has the vector of ones in its
    column space. Twins: heads that add n each; the same law with or without the ones.
    """
    runs = lab.simulate(exact_ranks, setting)
    full = identical(
        runs["shared"],
        cells(shared_law, setting.sizes, runs),
        twin=Twin.of("heads add n each", b=cells(lambda n, d, H, d_h, T: min(T, H * min(n, d)), setting.sizes, runs)),
    )
    deficient = identical(
        runs["deficient"],
        cells(
            lambda n, d, H, rho, ones, T: theory.shared_context_rank(T, H, n, rho, bool(ones)), setting.deficient, runs
        ),
        twin=Twin.of(
            "H (rho - 1) + 1 always",
            b=cells(lambda n, d, H, rho, ones, T: min(T, H * (rho - 1) + 1), setting.deficient, runs),
        ),
    )
    return all_of(full.named("rank n"), deficient.named("lower rank"))


@paper.claim(
    "width_does_not_limit_rank",
    source="Theorem 1, r = min(n, d_h)",
    statements=[3, 4],
    kind="extrapolation",
    setting=EXACT,
    formula="R = min(T, H (n - 1) + 1) for every d_h >= 1",
    assumptions=DIFFERENT,
    judged=EXACTLY,
    note="The published count H (min(n, d_h) - 1) + 1 is a lower bound; with narrow heads it is not the rank.",
)
def width_does_not_limit_rank(setting: ExactSetting, lab: Lab) -> Verdict:
    """Heads narrower than the context reach the same rank, even heads of width one: exp of a rank-one matrix has full rank.

    Twin: the published count as the rank.
    """
    runs = lab.simulate(exact_ranks, setting)
    narrow = np.array([min(n, d) > d_h for n, d, _, d_h, _ in setting.sizes])
    return identical(
        runs["shared"][:, narrow],
        cells(shared_law, setting.sizes, runs)[:, narrow],
        twin=Twin.of(
            "H (min(n, d_h) - 1) + 1",
            b=cells(lambda n, d, H, d_h, T: min(T, theory.constructive_count(H, n, d_h)), setting.sizes, runs)[
                :, narrow
            ],
        ),
    )


@paper.claim(
    "distinct_rank",
    source="Theorem 1, contexts that differ",
    statements=[1, 3],
    kind="extrapolation",
    setting=EXACT,
    formula="R = min(T, H d) for n >= 2, min(T, d) for n = 1",
    assumptions=["generic contexts, one an example"],
    judged=EXACTLY,
    note="The count of Theorem 1 is tight for shared contexts only.",
)
def distinct_rank(setting: ExactSetting, lab: Lab) -> Verdict:
    """With a context for each example the rank is min(T, H d), whatever n >= 2: more than H (n - 1) + 1.

    Twin: the law of a shared context.
    """
    runs = lab.simulate(exact_ranks, setting)
    law = cells(lambda n, d, H, d_h, T: theory.distinct_contexts_rank(T, H, n, d), setting.distinct, runs)
    return identical(runs["distinct"], law, twin=Twin.of("shared law", b=cells(shared_law, setting.distinct, runs)))


@paper.claim(
    "no_general_position",
    source="Proposition 2",
    statements=[2],
    setting=EXACT,
    parts=2,
    formula="R = min(T, H (n - 1) + 1) on the moment curve of an n-dimensional subspace, and on a line of queries",
    assumptions=["one shared context of rank n", "tokens and queries in n of d dimensions"],
    judged=EXACTLY,
)
def no_general_position(setting: ExactSetting, lab: Lab) -> Verdict:
    """The rank needs no general position: queries of Kruskal rank n suffice, and so do different queries on one line.

    So the paper's assumption on queries is sufficient; on generic weights, that they differ is all that is needed. Twins:
    heads that add n each; collinear queries that act like one.
    """
    runs = lab.simulate(exact_ranks, setting)
    law = cells(lambda n, d, H, d_h, T: theory.shared_context_rank(T, H, n), setting.subspace, runs)
    curve = identical(
        runs["subspace"],
        law,
        twin=Twin.of("heads add n each", b=cells(lambda n, d, H, d_h, T: min(T, H * n), setting.subspace, runs)),
    )
    line = identical(
        runs["collinear"],
        cells(shared_law, setting.sizes, runs),
        twin=Twin.of("one head's rank", b=cells(lambda n, d, H, d_h, T: min(T, n, d), setting.sizes, runs)),
    )
    return all_of(curve.named("moment curve"), line.named("line"))


@paper.claim(
    "softmax_contrast",
    source="Section 1, against linear attention",
    statements=[9],
    kind="extrapolation",
    setting=EXACT,
    parts=2,
    formula="R = min(T, d, H min(n, d_h)) without softmax; H (min(n, d_h) - 1) + 1 for linear weights over their sum",
    assumptions=[*DIFFERENT, "n <= d"],
    judged=EXACTLY,
    note="Growth in H needs a nonlinearity in each head, not the exponential: dividing by the sum is enough.",
)
def softmax_contrast(setting: ExactSetting, lab: Lab) -> Verdict:
    """Linear heads share d dimensions, however many there are; normalised linear heads add up, and there the width counts.

    The published count H (min(n, d_h) - 1) + 1 is the exact rank of normalised linear attention. Twins: linear heads that add
    up; the softmax law.
    """
    runs = lab.simulate(exact_ranks, setting)
    fits = np.array([n <= d for n, d, *_ in setting.sizes])
    linear = identical(
        runs["linear"],
        cells(lambda n, d, H, d_h, T: theory.linear_attention_rank(T, H, n, d_h, d), setting.sizes, runs),
        twin=Twin.of(
            "linear heads add up", b=cells(lambda n, d, H, d_h, T: min(T, H * min(n, d, d_h)), setting.sizes, runs)
        ),
    )
    normalised = identical(
        runs["normalised"][:, fits],
        cells(lambda n, d, H, d_h, T: theory.normalised_linear_rank(T, H, n, d_h), setting.sizes, runs)[:, fits],
        twin=Twin.of("softmax law", b=cells(shared_law, setting.sizes, runs)[:, fits]),
    )
    return all_of(linear.named("linear"), normalised.named("normalised"))
