"""Claims on query-key weights with a mean proportional to the identity: what they gain, at what price."""

from __future__ import annotations

from dataclasses import replace

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, finite_size, ordered, replicas
from attnlab.papers.fu2023_random_features.paper import FEWER, best_ridge, paper, with_changes
from attnlab.papers.lab.conditions import at_least, outside, that
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.random_feature_heads.learning_curves import Setting, learning_curves

MANY = with_changes(FEWER, n_replicas=32, sizes=(100, 400), targets=("s2",))
MANY = Scales(smoke=replace(MANY.smoke, n_replicas=8, sizes=(50, 200)), desk=MANY.desk, paper=MANY.paper)
CHANGE_STD = 0.06
"""Spread over replicas of the difference of errors at the two dimensions: a guess made before any run of this setting."""
KINDS = ("attention", "biased", "perceptron")


def compared(setting, lab: Lab):
    """Runs of the three kinds at the setting, by kind."""
    return dict(
        zip(KINDS, lab.simulate(learning_curves, *(replace(setting, kind=kind) for kind in KINDS)), strict=True)
    )


@paper.claim(
    "biased_order",
    source="Section 4 and the simulations",
    statements=[5, 6],
    setting=FEWER,
    parts=4,
    formula="s_2 and s_1 b: biased < zero-mean; b_2: zero-mean < biased, zero-mean < perceptron",
    assumptions=[
        "mean 2 sqrt(d) on the diagonal, so that it acts on <x_0, x_i> of size d^{-1/2}",
        "each model at its own best ridge",
    ],
    covers={
        "targets": that(lambda targets: {"s2", "s1b", "b2"} <= set(targets), "with s2, s1b and b2"),
        "dim": at_least(16, "below, zero-mean heads learn the products from as few samples"),
    },
    judged="paired differences at the largest number of samples above 0.05 of the variance",
)
def biased_order(setting: Setting, lab: Lab) -> Verdict:
    """Biased heads learn <x_0, x_i>^2 and <x_0, x_i> <beta, x_i> better than zero-mean ones, and even functions of keys
    worse.

    Twin: all of the variance learned by the better model and none by the worse, a difference of one.
    """
    if max(setting.sizes) > 1.6 * setting.dim**2:
        return outside(
            f"sizes up to {max(setting.sizes)} exceed 1.6 d^2: zero-mean heads learn the products from so many"
        )
    runs, parts = compared(setting, lab), []
    for target, better, worse in (
        ("s2", "biased", "attention"),
        ("s1b", "biased", "attention"),
        ("b2", "attention", "biased"),
        ("b2", "attention", "perceptron"),
    ):
        low, high = (best_ridge(runs[kind], setting, target)[:, -1] for kind in (better, worse))
        parts.append(ordered(low, high, by=0.05, twin=1.0).named(f"{target}: {better} < {worse}"))
    return all_of(*parts)


@paper.claim(
    "biased_dimension",
    source="Section 4, complexity of biased heads",
    statements=[5, 6],
    setting=MANY,
    parts=2,
    undecided_at_smoke="8 replicas of 200 samples leave an interval wider than the margin",
    formula="error of s_2 at fixed n: that of biased heads is equal at 2 d and 4 d, that of zero-mean heads higher",
    covers={"targets": that(lambda targets: "s2" in targets, "with s2")},
    judged="difference of mean errors at 2 d and 4 d (32 and 64) at n = 400: 0 within 1/d of the smaller and what the "
    "replicas leave "
    "open; zero-mean heads above biased ones by 0.3 at 4 d",
)
def biased_dimension(setting: Setting, lab: Lab) -> Verdict:
    """The error of biased heads on <x_0, x_i>^2 does not grow with the dimension, unlike that of zero-mean heads.

    Twins: a bias whose effect is lost in the larger dimension, with the error of zero-mean heads; a difference of one.
    """
    small, wide = replace(setting, dim=2 * setting.dim), replace(setting, dim=4 * setting.dim)
    zero_mean = replace(wide, n_replicas=min(16, setting.n_replicas))
    narrow, broad, other = lab.simulate(
        learning_curves, replace(small, kind="biased"), replace(wide, kind="biased"), zero_mean
    )
    at_d, at_2d = best_ridge(narrow, small, "s2"), best_ridge(broad, wide, "s2")
    change = at_2d[:, -1] - at_d[:, -1]
    above = best_ridge(other, wide, "s2")[:, -1]
    below = at_2d[: len(above), -1]
    within = budget(finite_size(small.dim, of="d"), replicas(CHANGE_STD, len(change)))
    flat = agrees(
        change,
        0.0,
        within=within,
        scale=1.0,
        twin=Twin.of("bias without effect", measured=above - at_d[: len(above), -1]),
    )
    apart = ordered(below, above, by=0.3, twin=1.0)
    return all_of(flat.named("biased"), apart.named("zero-mean"))
