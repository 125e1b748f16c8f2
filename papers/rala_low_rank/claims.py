"""Claims on the ranks of linear attention, its buffer and its output, and on what rank says about recall."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, identical, ordered, share
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.rala_low_rank.paper import COUNTS, EXACT, RECALLS, paper
from attnlab.simulators.low_rank.augmentation import VARIANTS, Setting, matrix_ranks, token_ranks
from attnlab.simulators.low_rank.counts import CountSetting, count
from attnlab.simulators.low_rank.exact_ranks import ExactSetting, exact_ranks
from attnlab.simulators.low_rank.recall import RecallSetting, recall
from attnlab.theory.costs import linear_and_pooling as cost
from attnlab.theory.low_rank import ranks as theory


def cells(law, sizes, runs):
    """The predicted ranks of all cells, one row per replica."""
    return np.tile([law(*size) for size in sizes], (runs.n, 1))


def matrix_law(kind, setting, runs):
    """Ranks of attention matrices of a kind in all cells."""
    return cells(lambda n, k, v: theory.attention_matrix_rank(n, k, kind), setting.sizes, runs)


@paper.claim(
    "attention_rank",
    source="Section 3, analysis of linear attention",
    statements=[1, 5],
    setting=EXACT,
    parts=2,
    formula="rank kappa(Q) kappa(K)^T = min(N, d_k); rank softmax = N for every d_k >= 1",
    judged="exact ranks of random integer matrices, equal in every cell and replica",
)
def attention_rank(setting: ExactSetting, lab: Lab) -> Verdict:
    """The linear attention matrix has rank min(N, d_k), the softmax matrix has full rank, even with one-dimensional keys.

    Twins: a rank of d_k + 1 from the normalisation; a softmax matrix of the rank of quadratic features.
    """
    runs = lab.simulate(exact_ranks, setting)
    linear = identical(
        runs["linear_matrix"],
        matrix_law("linear", setting, runs),
        twin=Twin.of("d_k + 1", b=cells(lambda n, k, v: min(n, k + 1), setting.sizes, runs)),
    )
    softmax = identical(
        runs["softmax_matrix"],
        matrix_law("softmax", setting, runs),
        twin=Twin.of(
            "quadratic features", b=cells(lambda n, k, v: min(n, (k + 1) * (k + 2) // 2), setting.sizes, runs)
        ),
    )
    return all_of(linear.named("linear"), softmax.named("softmax"))


@paper.claim(
    "output_rank",
    source="Section 3, analysis of linear attention",
    statements=[1, 5],
    setting=EXACT,
    parts=3,
    formula="rank Y <= min(N, d_k, d_v) (linear), min(N, d_v) (softmax), sum over heads, with equality for generic "
    "inputs",
    judged="exact ranks of random integer matrices, equal in every cell and replica",
)
def output_rank(setting: ExactSetting, lab: Lab) -> Verdict:
    """Outputs have rank min(N, d_k, d_v) or min(N, d_v): where d_k = d_v, exact ranks do not tell linear from softmax.

    Twins: the other law for each; heads whose ranks do not add up (the largest head).
    """
    runs = lab.simulate(exact_ranks, setting)
    laws = {
        kind: cells(lambda n, k, v, kind=kind: theory.output_rank(n, k, v, kind), setting.sizes, runs)
        for kind in ("linear", "softmax")
    }
    linear = identical(runs["linear_output"], laws["linear"], twin=Twin.of("softmax law", b=laws["softmax"]))
    softmax = identical(runs["softmax_output"], laws["softmax"], twin=Twin.of("linear law", b=laws["linear"]))
    ranks = [theory.output_rank(setting.n_tokens, *head, "linear") for head in setting.head_sizes]
    heads = identical(
        runs["heads"],
        np.full(runs.n, theory.multi_head_rank(setting.n_tokens, ranks)),
        twin=Twin.of("largest head", b=np.full(runs.n, max(ranks))),
    )
    return all_of(linear.named("linear"), softmax.named("softmax"), heads.named("heads"))


@paper.claim(
    "buffer_rank",
    source="Section 3.2, augmentation of the buffer",
    statements=[2, 5],
    setting=EXACT,
    parts=2,
    formula="rank B = min(N, d_k, d_v) for every alpha > 0; K = (1, 1), V = (1, -1): B = 0, with alpha = (1.5, "
    "0.5) B = 1",
    judged="exact ranks of random integer matrices with random positive weights, equal in every cell and replica",
)
def buffer_rank(setting: ExactSetting, lab: Lab) -> Verdict:
    """Weights leave a generic buffer's rank at min(N, d_k, d_v), with or without; they mend only a deficient buffer.

    Twins: rank min(N, d_k + d_v), beyond the buffer's shape; weights that leave the deficient example as it is.
    """
    runs = lab.simulate(exact_ranks, setting)
    law = cells(theory.buffer_rank, setting.sizes, runs)
    both = np.stack([runs["buffer"], runs["weighted_buffer"]])
    generic = identical(
        both,
        np.stack([law, law]),
        twin=Twin.of("min(N, d_k + d_v)", b=np.stack([cells(lambda n, k, v: min(n, k + v), setting.sizes, runs)] * 2)),
    )
    keys, values = np.array([1, 1]), np.array([1, -1])
    found = np.array([int((np.array(weights) * keys) @ values) for weights in ((1, 1), (1.5, 0.5))])
    mended = identical(found, np.array([0, 1]), twin=np.array([0, 0]))
    return all_of(generic.named("generic"), mended.named("deficient"))


@paper.claim(
    "weights_raise_rank",
    source="summaries of Section 3.2",
    statements=[2],
    setting=EXACT,
    expected="REFUTED",
    formula="rank of the weighted buffer > rank of the plain buffer",
    judged="share of draws in which any cell's rank rises",
    note="The buffer is a d_k x d_v matrix that generic keys and values fill already: see buffer_rank.",
)
def weights_raise_rank(setting: ExactSetting, lab: Lab) -> Verdict:
    """Weighting raises the exact rank of the buffer of generic keys and values in most draws.

    Twin: in nine of ten.
    """
    runs = lab.simulate(exact_ranks, setting)
    return share((runs["weighted_buffer"] > runs["buffer"]).any(-1), at_least=0.5, twin=0.9)


@paper.claim(
    "hadamard_rank",
    source="Section 3.3, augmentation of the output",
    statements=[3, 5],
    setting=EXACT,
    parts=3,
    formula="rank(A * B) = min(rank A rank B, N, D); rank(A * A) = min(r (r + 1) / 2, N, D)",
    judged="exact ranks of random integer matrices, equal in every cell and replica",
)
def hadamard_rank(setting: ExactSetting, lab: Lab) -> Verdict:
    """A gate multiplies ranks: a gate of rank s lifts an output of rank r to min(r s, N, D), for generic factors.

    Twins: ranks that add; a square of rank r^2.
    """
    runs = lab.simulate(exact_ranks, setting)
    law = cells(lambda n, dim, r, s: theory.hadamard_rank(r, s, n, dim), setting.products, runs)
    added = cells(lambda n, dim, r, s: min(r + s, n, dim), setting.products, runs)
    product = identical(runs["product"], law, twin=Twin.of("ranks add", b=added))
    gated = identical(runs["gated_output"], law, twin=Twin.of("ranks add", b=added))
    square = identical(
        runs["square"],
        cells(lambda n, dim, r, s: theory.hadamard_square_rank(r, n, dim), setting.products, runs),
        twin=Twin.of("r^2", b=cells(lambda n, dim, r, s: min(r * r, n, dim), setting.products, runs)),
    )
    return all_of(product.named("product"), gated.named("gated output"), square.named("square"))


@paper.claim(
    "effective_rank_gap",
    source="Section 3, Figure on feature ranks",
    statements=[1],
    parts=2,
    formula="effective rank of softmax outputs > 2 x that of linear outputs, at d_k = d_v = d",
    assumptions=["independent Gaussian queries, keys and values", "widths 8 and above"],
    judged="log ratio of effective ranks above log 2 at every width; matrix and output",
)
def effective_rank_gap(setting: Setting, lab: Lab) -> Verdict:
    """At equal exact rank, outputs and matrices of linear attention have less than half the effective rank of softmax's.

    A positive feature map makes rows nearly equal: the mean direction dominates. Twin: the reversed order.
    """
    runs = lab.simulate(matrix_ranks, setting)
    wide = np.array(setting.key_dims) >= 8
    parts = []
    for what in ("matrix", "output"):
        linear, softmax = (np.log(runs[f"{kind}_{what}"][:, wide]) for kind in ("linear", "softmax"))
        least = (softmax - linear).min(-1)
        parts.append(
            ordered(
                np.zeros(runs.n), least, by=np.log(2), twin=Twin.of("reversed", larger=(linear - softmax).min(-1))
            ).named(what)
        )
    return all_of(*parts)


@paper.claim(
    "weights_concentrate",
    source="Section 3.2, augmentation of the buffer",
    statements=[2],
    formula="effective rank of the weighted buffer < that of the plain one, random weights, spread 3",
    assumptions=["untrained maps", "tokens with a common mean and spread 3"],
    judged="share of replicas at least 1/2",
    note="What weighting gains must come from training.",
)
def weights_concentrate(setting: Setting, lab: Lab) -> Verdict:
    """Without training the weights lower the buffer's effective rank: they concentrate on few keys.

    Twin: they raise it.
    """
    runs = lab.simulate(token_ranks, setting)
    plain, weighted = runs["buffer"][:, int(np.argmax(setting.spreads))].T
    return share(weighted < plain, at_least=0.5, twin=Twin.of("raise it", successes=weighted > plain))


@paper.claim(
    "gate_rank",
    source="Section 3.3, augmentation of the output",
    statements=[3],
    parts=2,
    formula="Y * phi(X) has the effective rank of phi(X) diag(mean value) as attention becomes even",
    assumptions=["untrained maps", "spreads of at most 1"],
    judged="ratio 1 within 1/20 at every spread of at most 1; the ungated output at the least spread has effective "
    "rank 1 within 1/20",
)
def gate_rank(setting: Setting, lab: Lab) -> Verdict:
    """The rank of a gated output is the gate's own: the same as if attention only averaged the values.

    Twins: the effective rank of the gate itself; that of the gate for the output without it.
    """
    runs = lab.simulate(token_ranks, setting)
    even = np.array(setting.spreads) <= 1
    gated = runs["effective"][:, even, VARIANTS.index("gated")]
    ratio, whole = gated / runs["uniform_gated"][:, even], gated / runs["gate"][:, even]
    same = agrees(ratio.mean(-1), 1.0, within=0.05, twin=Twin.of("rank of the gate", measured=whole.mean(-1)))
    least = int(np.argmin(setting.spreads))
    plain = agrees(
        runs["effective"][:, least, VARIANTS.index("linear")],
        1.0,
        within=0.05,
        twin=Twin.of("gated", measured=runs["effective"][:, least, VARIANTS.index("gated")]),
    )
    return all_of(same.named("gated"), plain.named("plain"))


@paper.claim(
    "linear_cost",
    source="Section 3, complexity",
    statements=[4],
    setting=COUNTS,
    parts=4,
    formula="2 N d_k d_v + N d_k against N^2 (d_k + d_v) multiply-accumulates; equal at N = d + 1/2; module 5 C^2 "
    "+ 31 C",
    judged="counts of a running module equal the formulas exactly",
)
def linear_cost(setting: CountSetting, lab: Lab) -> Verdict:
    """Rank-augmented linear attention is linear in N, cheaper than softmax from N = d + 1 on.

    Twins: a normaliser that costs nothing; one crossover at 2 d; a module without its local convolution.
    """
    runs = lab.simulate(count, setting)

    def row(law, *arguments):
        return np.tile([law(*cell, *arguments) for cell in setting.attention], (runs.n, 1))

    linear = identical(runs["linear_macs"], row(cost.linear_attention_macs), twin=row(lambda n, k, v: 2 * n * k * v))
    softmax = identical(
        runs["softmax_macs"], row(cost.softmax_attention_macs), twin=row(lambda n, k, v: n * n * k + n * v)
    )
    cheaper = np.array([runs["linear_macs"][0] < runs["softmax_macs"][0]])
    lengths = np.array([cell[0] for cell in setting.attention])
    crossing = np.array([float(cost.crossover_length(*cell[1:])) for cell in setting.attention])
    crossover = identical(cheaper, (lengths > crossing)[None], twin=(lengths > 2 * crossing)[None])
    width = np.array(setting.channels)
    module = identical(
        runs["module_parameters"],
        np.tile([cost.augmented_module_parameters(c) for c in setting.channels], (runs.n, 1)),
        twin=np.tile(5 * width**2 + 5 * width, (runs.n, 1)),
    )
    return all_of(
        linear.named("linear"), softmax.named("softmax"), crossover.named("crossover"), module.named("module")
    )


LINEAR = tuple(variant for variant in VARIANTS if variant != "softmax")


@paper.claim(
    "recall_bound",
    source="not in the paper; follows from the size of the buffer",
    statements=[4, 5],
    setting=RECALLS,
    parts=4,
    formula="error >= 1 - d_k d_v / (N m) for linear attention with any weights, gate and projection",
    assumptions=["queries, keys and gate do not read the values", "values N(0, 1)"],
    judged="no trained replica below the bound by more than 5 standard errors of its test",
)
def recall_bound(setting: RecallSetting, lab: Lab) -> Verdict:
    """No trained linear attention, plain, weighted, gated or both, recalls N values better than its buffer's size allows.

    Twin: the bound of a buffer that holds one number per value dimension.
    """
    bound = theory.recall_error_bound(
        setting.n_tokens, setting.key_dim, setting.value_dim, target_dim=setting.value_size
    )
    rival = theory.recall_error_bound(setting.n_tokens, 1, setting.value_dim, target_dim=setting.value_size)
    parts = []
    for variant, runs in zip(LINEAR, lab.simulate(recall, *(replace(setting, variant=v) for v in LINEAR)), strict=True):
        parts.append(
            bounded(
                runs["error"] + 5 * runs["error_se"],
                bound,
                side="below",
                of="every replica",
                twin=Twin.of("one number per dimension", bound=rival),
            ).named(variant)
        )
    return all_of(*parts)


@paper.claim(
    "rank_is_not_recall",
    source="the paper's reason for the accuracy of softmax attention, on a task with a provable bound",
    statements=[1, 4],
    setting=RECALLS,
    parts=3,
    formula="error(linear + weights + gate) - error(softmax) > 1/2 - d_k d_v / (2 N m)",
    judged="differences over replicas: softmax is ahead of both augmentations by more than half the bound; the gate "
    "alone changes the error by less than 1/20; softmax outputs have the larger effective rank",
    note="The published comparison is on images, which this toolkit does not train. On recall the size of the buffer, "
    "not the rank of the output, decides.",
)
def rank_is_not_recall(setting: RecallSetting, lab: Lab) -> Verdict:
    """On recall, augmented linear attention stays far behind softmax attention, and the gate changes nothing.

    Twins: the reversed order; a gate worth half of the way to softmax.
    """
    names = ("linear", "gated", "both", "softmax")
    runs = dict(zip(names, lab.simulate(recall, *(replace(setting, variant=name) for name in names)), strict=True))
    error = {name: each["error"] for name, each in runs.items()}
    half = (
        theory.recall_error_bound(setting.n_tokens, setting.key_dim, setting.value_dim, target_dim=setting.value_size)
        / 2
    )
    gap = ordered(
        error["softmax"],
        error["both"],
        by=half,
        twin=Twin.of("reversed", smaller=error["both"], larger=error["softmax"]),
    )
    gate = agrees(
        error["gated"] - error["linear"],
        0.0,
        within=0.05,
        twin=Twin.of("half of the way", predicted=float((error["softmax"] - error["linear"]).mean() / 2)),
    )
    rank = {name: runs[name]["effective_rank"] for name in ("linear", "softmax")}
    order = ordered(
        rank["linear"], rank["softmax"], twin=Twin.of("reversed", smaller=rank["softmax"], larger=rank["linear"])
    )
    return all_of(gap.named("behind softmax"), gate.named("gate"), order.named("effective rank"))
