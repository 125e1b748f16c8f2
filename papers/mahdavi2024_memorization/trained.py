"""What trained layers memorise against H, n and d_h, with the exact bounds they must keep (statements 3, 4, 8 and 13)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, ordered, replicas, share, trend
from attnlab.papers.lab.conditions import not_yet
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.mahdavi2024_memorization.paper import DIMENSION, paper
from attnlab.simulators.memorization.dimension import DimensionSetting, jacobian_ranks
from attnlab.simulators.memorization.training import Setting, memorise
from attnlab.theory.memorization import ranks as theory

LEAST_STEPS = 1_000
WIDTH_SPREAD = 0.29  # of the log ratio of two counts beyond chance over replicas: 0.28 at desk scale, seed 1
MEDIAN = "median over replicas"  # counts and shares of one training are skewed, and few replicas give no mean of them
UNTRAINED = f"fewer than {LEAST_STEPS} steps do not train the layers"
TASK = [
    "queries and tokens uniform on [0, 1)^d, random labels",
    "Adam, cosine schedule, all examples in each step at desk scale",
]
GRIDS = {
    "smoke": {"heads": (1, 2, 4), "contexts": (1, 2, 4), "widths": (1, 3, 8), "wide_context": 4, "fewer": (1, 2)},
    "desk": {
        "heads": (1, 2, 3, 4, 6),
        "contexts": (1, 2, 4, 8),
        "widths": (1, 3, 7, 16),
        "wide_context": 8,
        "fewer": (1, 2, 4),
    },
    "paper": {
        "heads": (1, 5, 10, 20, 30, 40, 50, 60),
        "contexts": (1, 5, 10, 20, 30, 40, 50, 60),
        "widths": (10, 15, 20, 25, 30, 31, 32, 40, 50, 60, 64),
        "wide_context": 32,
        "fewer": (1, 5, 10, 20, 30),
    },
}


def too_short(setting):
    """The verdict on layers that were hardly trained, or None."""
    if setting.n_steps >= LEAST_STEPS:
        return None
    return not_yet(f"n_steps={setting.n_steps} is below {LEAST_STEPS}")


def sweep(setting, lab: Lab, name, values):
    """The runs with a field of the setting at each of some values."""
    return lab.simulate(memorise, *(replace(setting, **{name: value}) for value in values))


def more_replicas(setting, times=2):
    """The setting with twice the replicas, or more."""
    return replace(setting, n_replicas=setting.n_replicas * times)


def by_heads(setting, lab: Lab):
    """H values and runs of the sweep over heads, one context for all examples."""
    heads = GRIDS[lab.scale]["heads"]
    return np.array(heads), sweep(more_replicas(setting), lab, "n_heads", heads)


def by_contexts(setting, lab: Lab):
    """n values and runs of the sweep over context lengths."""
    contexts = GRIDS[lab.scale]["contexts"]
    return np.array(contexts), sweep(setting, lab, "n_context", contexts)


def by_widths(setting, lab: Lab):
    """d_h values and runs of the sweep over head widths, at the longest context that the width d can hold."""
    widths = GRIDS[lab.scale]["widths"]
    setting = replace(more_replicas(setting, 4), n_context=GRIDS[lab.scale]["wide_context"])
    return np.array(widths), sweep(setting, lab, "head_dim", widths)


def own_contexts(setting, lab: Lab, name):
    """Values and runs of a short sweep where each example has its own context; two thirds of the steps."""
    values = GRIDS[lab.scale]["fewer"]
    return np.array(values), sweep(replace(setting, shared=False, n_steps=setting.n_steps * 2 // 3), lab, name, values)


def regression(setting, lab: Lab, name):
    """Values and runs of a short sweep with real labels."""
    values = GRIDS[lab.scale]["fewer" if name == "n_heads" else "contexts"]
    return np.array(values), sweep(replace(setting, n_classes=0), lab, name, values)


def above_chance(runs, setting):
    """Memorised examples beyond those that guessing gets right, ``(replica,)``."""
    return runs["memorised"] - setting.n_examples / setting.n_classes


def bound(setting):
    """Largest rank of the features of a setting with one shared context."""
    return theory.shared_context_rank(
        setting.n_examples, setting.n_heads, setting.n_context, min(setting.n_context, setting.dim)
    )


def beside(power, heads, curves):
    """Part ``(replica,)`` of the counts along H that is orthogonal to H^power, over their part along H.

    0 in the mean for counts in proportion to H^power; negative for slower growth, positive for faster growth, if power < 1.
    """
    line, rival = heads.astype(float), heads.astype(float) ** power
    return curves @ (line - rival * (line @ rival) / (rival @ rival)) / (curves.mean(0) @ line)


@paper.claim(
    "linear_in_heads",
    source="Section 5, number of heads",
    statements=[4],
    undecided_at_smoke=UNTRAINED,
    parts=2,
    formula="memorised(H) - c ~ H^p with 1/2 < p < 3/2, c the size of the largest class",
    assumptions=[*TASK, "one shared context", "far from all examples memorised"],
    judged="the part of the counts along H that is orthogonal to H^(1/2), and to H^(3/2), over their part along H: "
    "above 0 in the "
    "mean",
    note="The largest class is what a layer without heads gets right. The bracket is wide, for counts vary by a tenth "
    "and more between replicas.",
)
def linear_in_heads(setting: Setting, lab: Lab) -> Verdict:
    """Each head adds about as much to what is memorised: linear growth, told from the square root and from the power 3/2.

    Twins: as far from the square root as growth like H^(3/2) is; as far from that as growth like the square root is. Null
    control of the first: as much with more heads as with the fewest.
    """
    if (verdict := too_short(setting)) is not None:
        return verdict
    heads, runs = by_heads(setting, lab)
    curves = np.stack([each["memorised"] - each["most_frequent"] for each in runs], axis=1).astype(float)
    nothing, flat = np.zeros(len(curves)), np.repeat(curves[:, :1], len(heads), axis=1)
    verdicts = []
    for power, other, name in ((0.5, 1.5, "above the square root"), (1.5, 0.5, "below the power 3/2")):
        rival = float(beside(power, heads, heads[None] ** other)[0])
        verdicts.append(
            ordered(
                nothing,
                beside(power, heads, curves),
                by=0.0,
                twin=Twin.of(f"like H^{other:g}", by=rival),
                null=Twin.of("no growth", larger=beside(power, heads, flat)) if power < 1 else None,
            ).named(name)
        )
    return all_of(*verdicts)


@paper.claim(
    "grows_with_context",
    source="Section 5, context length",
    statements=[4],
    undecided_at_smoke=UNTRAINED,
    parts=2,
    formula="memorised(n) rises in log n; memorised(1) <= size of the largest class",
    assumptions=[*TASK, "one shared context"],
    judged="slope in log2 n over n >= 2, mean over replicas, above one example in a doubling; for n = 1 every replica",
)
def grows_with_context(setting: Setting, lab: Lab) -> Verdict:
    """A trained layer memorises more with more context tokens; with one token it gives one answer to all examples.

    Twins: growth that memorises all examples at the largest n; two tokens that give one answer. The movement
    that it needs is one example in a doubling.
    """
    if (verdict := too_short(setting)) is not None:
        return verdict
    contexts, runs = by_contexts(setting, lab)
    curves = np.stack([each["memorised"] for each in runs], axis=1)
    doublings = np.log2(contexts[1:])
    all_of_them = (setting.n_examples - curves[:, 0].mean()) / (doublings[-1] - doublings[0])
    rises = trend(doublings, curves[:, 1:], "rising", by=1.0, twin=Twin.of("all memorised", by=float(all_of_them)))
    one = bounded(
        (runs[0]["memorised"] - runs[0]["most_frequent"]).astype(float),
        0.0,
        of="every replica",
        twin=Twin.of(
            "two tokens, one answer", measured=(runs[1]["memorised"] - runs[1]["most_frequent"]).astype(float)
        ),
    )
    return all_of(rises.named("growth"), one.named("n = 1"))


@paper.claim(
    "width_growth_ends",
    source="Section 5, head width",
    statements=[4],
    undecided_at_smoke=UNTRAINED,
    parts=2,
    formula="memorised(d_h = 1) < memorised(d_h = n - 1); memorised beyond chance equal from d_h = n - 1 on",
    assumptions=[*TASK, "one shared context of n <= d tokens"],
    judged="difference above one example in the median replica; log ratio of the largest width to n - 1 is 0 in the median "
    "replica, within the replicas' interval",
    note="From d_h = n - 1 on the layers are the same functions: see narrow_heads_suffice.",
)
def width_growth_ends(setting: Setting, lab: Lab) -> Verdict:
    """Wider heads memorise more up to d_h = n - 1, and no more from there on, though parameters grow on.

    Twins: all examples are memorised at d_h = n - 1; growth in proportion to the parameters.
    """
    if (verdict := too_short(setting)) is not None:
        return verdict
    widths, runs = by_widths(setting, lab)
    enough = theory.sufficient_head_dim(GRIDS[lab.scale]["wide_context"], setting.dim)
    first, middle, last = (runs[int(np.flatnonzero(widths == w)[0])] for w in (widths[0], enough, widths[-1]))
    small, full = (each["memorised"].astype(float) for each in (first, middle))
    grows = ordered(
        small, full, by=1.0, of=MEDIAN, twin=Twin.of("all memorised", by=setting.n_examples - float(small.mean()))
    )
    ratio = np.log(above_chance(last, setting) / above_chance(middle, setting))
    parameters = float(np.log(last["n_parameters"][0] / middle["n_parameters"][0]))
    ends = agrees(
        ratio,
        0.0,
        scale=1.0,
        of=MEDIAN,
        within=budget(replicas(WIDTH_SPREAD, len(ratio), of=MEDIAN)),
        twin=Twin.of("as the parameters", predicted=parameters),
    )
    return all_of(grows.named("growth"), ends.named("end"))


@paper.claim(
    "own_contexts_memorise_more",
    source="Section 5, shared and random contexts",
    statements=[3, 4],
    undecided_at_smoke=UNTRAINED,
    formula="memorised(own contexts) > memorised(shared context) at equal H and n",
    assumptions=[*TASK, "own contexts: two thirds of the steps"],
    judged="mean over the sweep, difference above one example in the mean over replicas",
)
def own_contexts_memorise_more(setting: Setting, lab: Lab) -> Verdict:
    """Examples with contexts of their own are memorised in larger number than with a shared one: the rank is H d, not less.

    Twin: more in proportion to the ranks, H d over H (n - 1) + 1.
    """
    if (verdict := too_short(setting)) is not None:
        return verdict
    heads, own = own_contexts(setting, lab, "n_heads")
    shared = sweep(setting, lab, "n_heads", heads)
    means = [np.mean([each["memorised"] for each in runs], axis=0) for runs in (shared, own)]
    ratio = np.mean(
        [
            theory.distinct_contexts_rank(setting.n_examples, int(H), setting.n_context, setting.dim)
            / bound(replace(setting, n_heads=int(H)))
            for H in heads
        ]
    )
    return ordered(*means, by=1.0, twin=Twin.of("in proportion to the ranks", smaller=ratio * means[0]))


@paper.claim(
    "trained_rank_bound",
    source="tightness of Theorem 1",
    statements=[3],
    formula="sigma_{R+1} / sigma_1 = 0 for R = H (n - 1) + 1, any weights",
    assumptions=["one shared context"],
    judged="below 1e-12 in every replica: float64 singular values err by a few roundings of the largest",
)
def trained_rank_bound(setting: Setting, lab: Lab) -> Verdict:
    """No trained layer has features of rank above H (n - 1) + 1 on a shared context.

    Twin: a rank of one less.
    """
    runs, R = lab.simulate(memorise, setting), bound(setting)
    return bounded(
        runs["spectrum"][:, R],
        1e-12,
        of="every replica",
        twin=Twin.of("H (n - 1)", measured=runs["spectrum"][:, R - 1]),
    )


@paper.claim(
    "trained_beats_frozen",
    source="Section 5, regression",
    statements=[13],
    kind="extrapolation",
    undecided_at_smoke=UNTRAINED,
    parts=2,
    formula="T (1 - MSE / sigma^2) > R",
    assumptions=[*TASK, "one shared context", "real labels"],
    judged="median replica against R, at the least and the largest H of the sweep",
)
def trained_beats_frozen(setting: Setting, lab: Lab) -> Verdict:
    """Trained key and query weights explain more than R examples' worth of the labels' variance.

    Frozen ones explain R on average. Twin: as much as there are parameters.
    """
    if (verdict := too_short(setting)) is not None:
        return verdict
    heads, runs = regression(setting, lab, "n_heads")
    verdicts = []
    for H, each in ((heads[0], runs[0]), (heads[-1], runs[-1])):
        worth = setting.n_examples * (1 - each["mse"] / each["label_variance"])
        R, P = float(bound(replace(setting, n_heads=int(H)))), float(each["n_parameters"][0])
        verdicts.append(
            bounded(worth, R, side="below", of=MEDIAN, twin=Twin.of("as many as parameters", bound=P)).named(f"H = {H}")
        )
    return all_of(*verdicts)


@paper.claim(
    "fewer_dimensions_than_parameters",
    source="Section 4, optimality",
    statements=[5, 13],
    kind="extrapolation",
    setting=DIMENSION,
    parts=2,
    formula="rank of the Jacobian = D = H (n - 1)(d + 1) + min(d, H (n - 1)) + 1 < number of parameters",
    assumptions=["one shared context of rank n <= d", "one real output", "d_h >= n - 1"],
    judged="no replica above D; D reached in every cell by at least half of the replicas: rounding hides directions",
    note="No training can fit generic real labels of more than D examples exactly.",
)
def fewer_dimensions_than_parameters(setting: DimensionSetting, lab: Lab) -> Verdict:
    """What bounds exact memorisation from above is not the number of parameters but the dimension of the functions, D.

    Twins: as many directions as parameters; biases of the queries that every head has for itself.
    """
    runs = lab.simulate(jacobian_ranks, setting)
    law = np.array([theory.function_dimension(d, H, n, d_h) for d, n, H, d_h in setting.layers])
    free = np.array([H * (n - 1) * (d + 2) + 1 for d, n, H, _ in setting.layers])
    below = bounded(
        (runs["rank"] - law).max(-1).astype(float),
        0.0,
        of="every replica",
        twin=Twin.of("as many as parameters", measured=(runs["n_parameters"] - law).max(-1).astype(float)),
    )
    reached = share(
        (runs["rank"] == law).all(-1),
        at_least=0.5,
        twin=Twin.of("a bias for every head", successes=(runs["rank"] == free).all(-1)),
    )
    return all_of(below.named("bound"), reached.named("reached"))


@paper.claim(
    "heads_specialise",
    source="Section 5, saturation",
    statements=[8],
    undecided_at_smoke=UNTRAINED,
    formula="share of heads with a weight above 0.99, over examples: more than 1/2 above the share after one step",
    assumptions=[*TASK, "one shared context"],
    judged="difference between the end and the first step, where no head is saturated, in the median replica",
)
def heads_specialise(setting: Setting, lab: Lab) -> Verdict:
    """After training most heads are saturated on most examples, as in the construction.

    Twin: nearly all heads on nearly all examples, 19 of 20. The movement that it needs is 1/2.
    """
    if (verdict := too_short(setting)) is not None:
        return verdict
    trained, start = lab.simulate(memorise, setting, replace(setting, n_steps=1))
    after, before = ((each["largest_weight"] > 0.99).mean((1, 2)) for each in (trained, start))
    return ordered(before, after, by=0.5, of=MEDIAN, twin=Twin.of("all heads, nearly always", by=0.95))
