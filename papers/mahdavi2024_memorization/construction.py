"""Memorising by construction: exact solvability, saturating weights, counts against parameters (statements 1, 2, 5)."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from attnlab.analysis import Twin, Verdict, all_of, bounded, exhaustive, identical
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.mahdavi2024_memorization.paper import CONSTRUCTION, EXACT, cells, paper
from attnlab.simulators.memorization.construction import ConstructionSetting, construct
from attnlab.simulators.memorization.exact_ranks import ExactSetting, exact_ranks
from attnlab.simulators.memorization.training import Setting, memorise
from attnlab.theory.memorization import ranks as theory

EPS = float(np.finfo(float).eps)


@paper.claim(
    "memorises_its_rank",
    source="Theorem 1",
    statements=[1, 3],
    setting=EXACT,
    parts=2,
    formula="Z B = y has a solution for T = H (n - 1) + 1, and none for one example more with random y",
    assumptions=["one shared context of rank n", "random integer labels"],
    judged="exact ranks of Z and of Z with the labels appended, in every cell and replica",
)
def memorises_its_rank(setting: ExactSetting, lab: Lab) -> Verdict:
    """T = H (n - 1) + 1 examples with arbitrary labels are memorised exactly, and one more is not.

    So the theorem reads "at most H (r - 1) + 1", equality included. Twins: one example fewer; one more still fits.
    """
    runs = lab.simulate(exact_ranks, setting)
    fits = runs["solvable"]
    more = runs["solvable_beyond"][
        :, [T > theory.shared_context_rank(T, H, n, min(n, d)) for n, d, H, _, T in setting.sizes]
    ]
    equal = identical(fits, np.ones_like(fits), twin=Twin.of("T < H (n - 1) + 1", b=np.zeros_like(fits)))
    beyond = identical(more, np.zeros_like(more), twin=Twin.of("room for one more", b=np.ones_like(more)))
    return all_of(equal.named("T = R"), beyond.named("T = R + 1"))


@paper.claim(
    "saturating_weights",
    source="Proposition 2 and its proof",
    statements=[1, 2, 8],
    kind="construction",
    setting=CONSTRUCTION,
    parts=4,
    formula="rank Z = H (d_h - 1) + 1 = T for 2 <= d_h <= n; one head unsaturated on each example but one",
    assumptions=["any d_h queries independent, where it matters", "contexts of rank n, shared or not"],
    judged="exact rank in the limit; float64 interpolation within 8 T roundings times the condition number",
)
def saturating_weights(setting: ConstructionSetting, lab: Lab) -> Verdict:
    """Heads of width d_h, one-hot on all examples but d_h - 1 of their own, memorise H (d_h - 1) + 1 examples.

    The key-query matrix of a head is one saturating direction plus d_h - 1 free ones: its rank is d_h. Twins: heads that own
    one example fewer; heads whose own examples are saturated, too; a readout that keeps no digits; a matrix of rank d_h - 1.
    """
    runs = lab.simulate(construct, setting)
    law = cells(lambda n, d, H, d_h, shared: theory.constructive_count(H, n, d_h), setting.cells, runs)
    width = cells(lambda n, d, H, d_h, shared: d_h, setting.cells, runs)
    exact = identical(
        runs["rank"], law, twin=Twin.of("H (d_h - 2) + 1", b=law - cells(lambda n, d, H, *rest: H, setting.cells, runs))
    )
    alone = identical(
        (runs["unsaturated"] <= 1) & (runs["owned"] == 1),
        np.ones(law.shape, bool),
        twin=Twin.of("all heads saturated", a=runs["unsaturated"] == 0),
    )
    budget = 8 * law * runs["condition"] * EPS
    readout = bounded(
        (runs["residual"] / budget).max(-1),
        1.0,
        of="every replica",
        twin=Twin.of("no digits", measured=(1 / budget).max(-1)),
    )
    ranks = identical(runs["width"].astype(int), width, twin=Twin.of("rank d_h - 1", b=width - 1))
    return all_of(exact.named("rank"), alone.named("saturation"), readout.named("interpolation"), ranks.named("width"))


@paper.claim(
    "optimal_order",
    source="remark after Theorem 1",
    statements=[5],
    kind="identity",
    formula="1/8 <= d (H (d - 1) + 1) / (4 H d^2) <= 1/4 at n = d_h = d_v = d_out = d",
    judged="exact fractions for every d from 2 to 128 and H from 1 to 64",
    note="A layer cannot fit more generic real "
    "numbers than it has parameters, so 1/4 is the order's best up to a constant.",
)
def optimal_order(setting: Setting, lab: Lab) -> Verdict:
    """At n = d the layer memorises between an eighth and a quarter as many real numbers as its heads have parameters.

    Features of T = H (d - 1) + 1 independent rows fit any labels in R^d. Twin: at most a fifth.
    """
    cases = [(d, H) for d in range(2, 129) for H in range(1, 65)]

    def within(high):
        return lambda case: Fraction(1, 8) <= theory.numbers_per_parameter(*case) <= high

    return exhaustive(
        cases, within(Fraction(1, 4)), twin=Twin.of("at most 1/5", check=within(Fraction(1, 5))), unit="size"
    )


@paper.claim(
    "parameter_count",
    source="Section 5, model of the experiments",
    statements=[5, 13],
    formula="d^2 + d + 2 H d d_h + 2 H d + d C + C",
    judged="parameters of the trained layers, counted",
)
def parameter_count(setting: Setting, lab: Lab) -> Verdict:
    """The layer of the experiments has as many parameters as the formula says.

    Twin: no bias in the readout.
    """
    runs, n_out = lab.simulate(memorise, setting), max(setting.n_classes, 1)
    predicted = theory.layer_parameters(setting.dim, setting.n_heads, setting.head_dim, n_out)
    law = np.full(runs.n, predicted)
    return identical(runs["n_parameters"], law, twin=Twin.of("no bias in the readout", b=law - n_out))


@paper.claim(
    "published_parameters",
    source="public code of the experiments: 177 060 parameters at H = 20 heads, 18 980 at H = 1 (fact sheet, section "
    "2.2)",
    statements=[5, 13],
    kind="anchor",
    formula="d^2 + d + 2 H d d_h + 2 H d + d C + C at d = d_h = 64, C = 100",
    judged="whole numbers, equal",
)
def published_parameters(setting: Setting, lab: Lab) -> Verdict:
    """The formula gives the published numbers of parameters. Twin: values of width 64 in place of 1."""
    published, heads = np.array([177_060, 18_980]), (20, 1)
    ours = np.array([theory.layer_parameters(64, H, 64, 100) for H in heads])
    wide = np.array([theory.layer_parameters(64, H, 64, 100, value_dim=64) for H in heads])
    return identical(ours, published, twin=Twin.of("values of width 64", a=wide))
