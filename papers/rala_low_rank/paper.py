"""Fan, Huang and He 2025: the rank of linear attention, and what weighting the buffer and gating the output do to it.

Letters of the paper: N tokens, key width d_k, value width d_v, buffer B = sum_j alpha_j kappa(k_j)^T v_j, gate phi(X). Exact
ranks are computed on integer matrices; "effective rank" is the exponential of the entropy of the normalised singular values.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, agrees, all_of, bounded, figures, identical, ordered, share
from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.low_rank.augmentation import VARIANTS, Setting, matrix_ranks, token_ranks
from attnlab.simulators.low_rank.counts import CountSetting, count
from attnlab.simulators.low_rank.exact_ranks import ExactSetting, exact_ranks
from attnlab.simulators.low_rank.recall import RecallSetting, recall
from attnlab.theory.costs import linear_and_pooling as cost
from attnlab.theory.low_rank import ranks as theory

TITLE = "Breaking the Low-Rank Dilemma of Linear Attention"
paper = Paper(
    key="rala_low_rank",
    title=TITLE,
    sources=[
        Source(
            authors="Qihang Fan, Huaibo Huang, Ran He",
            year=2025,
            arxiv="2411.07635",
            title=TITLE,
            venue="Conference on Computer Vision and Pattern Recognition",
        )
    ],
    statements={
        1: "Linear attention is less accurate because its buffer and its output have lower numerical rank than softmax "
        "attention's.",
        2: "Weighting every key-value product by a coefficient of the context (positive, with sum N) augments the buffer's "
        "rank.",
        3: "Multiplying the output entrywise by a linear map of the token augments the output's rank.",
        4: "Both together match softmax attention, at a cost linear in the number of tokens.",
        5: "Ranks of attention matrix, buffer and output obey exact bounds; ranks of Hadamard products multiply.",
    },
)
DESK = Setting()
paper.scales(smoke=replace(DESK, n_replicas=8), desk=DESK, paper=replace(DESK, n_tokens=784, dim=64, n_replicas=32))
EXACT = Scales(smoke=ExactSetting(), desk=ExactSetting(), paper=ExactSetting(n_replicas=64))
COUNTS = Scales(smoke=CountSetting(), desk=CountSetting(), paper=CountSetting())
RECALL = RecallSetting(n_tokens=16, learning_rate=0.01)
RECALLS = Scales(
    smoke=replace(RECALL, n_steps=1_000, n_replicas=8),
    desk=RECALL,
    paper=replace(RECALL, n_tokens=64, key_dim=16, value_dim=16, value_size=16, key_size=16, n_steps=20_000),
)


def cells(law, sizes, runs):
    """The predicted ranks of all cells, one row a replica."""
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
def attention_rank(setting, lab):
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
def output_rank(setting, lab):
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
def buffer_rank(setting, lab):
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
def weights_raise_rank(setting, lab):
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
def hadamard_rank(setting, lab):
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
def effective_rank_gap(setting, lab):
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
def weights_concentrate(setting, lab):
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
def gate_rank(setting, lab):
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
def linear_cost(setting, lab):
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
def recall_bound(setting, lab):
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
def rank_is_not_recall(setting, lab):
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


LABELS = {"linear": "linear", "weighted": "+ weights", "gated": "+ gate", "both": "+ both", "softmax": "softmax"}


@paper.figure(
    "fig1",
    caption="Singular values of the outputs over the largest, tokens of spread 1 with random maps. Median and central "
    "80 % of replicas",
    source="spectra of feature maps",
)
def spectra(setting, lab):
    runs = lab.simulate(token_ranks, setting)
    plate = figures.Plate()
    panel, at = plate[0, 0], int(np.argmin(np.abs(np.array(setting.spreads) - 1)))
    for name, label in LABELS.items():
        values = np.maximum(runs["spectrum"][:, at, VARIANTS.index(name)], 1e-8)
        figures.band(panel, 1 + np.arange(values.shape[-1]), values, label)
    panel.scale(y="log")
    panel.labels(x="index of the singular value", y=r"singular value $\sigma_i / \sigma_1$")
    plate.legend("below")
    return plate


@paper.figure(
    "fig2",
    caption="Effective rank of the outputs against the spread of the tokens around their mean, random maps. The line "
    "is the gate times the mean value: what a gated output is if attention only averages",
    source="effective ranks",
)
def ranks_by_spread(setting, lab):
    runs = lab.simulate(token_ranks, setting)
    plate = figures.Plate()
    panel = plate[0, 0]
    figures.prediction(panel, setting.spreads, runs["uniform_gated"].mean(0), "gate times mean value", series="+ gate")
    for number, (name, label) in enumerate(LABELS.items()):
        figures.measurement(
            panel, setting.spreads, runs["effective"][:, :, VARIANTS.index(name)], label, dodge=3 * (number - 2)
        )
    panel.scale(x="log", y="log")
    panel.labels(x=r"spread $\nu$ of the tokens", y="effective rank of the output")
    plate.legend("below")
    return plate


PRODUCTS = tuple((40, 32, r, s) for s in (1, 2, 4, 8) for r in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32))
PRODUCT_SCALES = Scales(
    **{scale: ExactSetting(sizes=((4, 1, 1),), products=PRODUCTS, n_replicas=4) for scale in ("smoke", "desk", "paper")}
)


@paper.figure(
    "fig3",
    caption="Exact rank of the product of an output of rank r with a gate of rank s, N = 40, D = 32, integer matrices. "
    "Lines: min(r s, N, D)",
    source="Hadamard products",
    setting=PRODUCT_SCALES,
)
def product_ranks(setting, lab):
    runs = lab.simulate(exact_ranks, setting)
    plate = figures.Plate()
    panel, table = plate[0, 0], np.array(setting.products)
    for s in np.unique(table[:, 3]):
        rows = table[:, 3] == s
        r, label = table[rows, 2], f"gate of rank {s}"
        figures.prediction(panel, r, [theory.hadamard_rank(int(each), int(s), 40, 32) for each in r], label)
        figures.measurement(panel, r, runs["gated_output"][:, rows].astype(float), label)
    panel.scale(x="log", y="log")
    panel.labels(x="rank r of the output", y="rank of the gated output")
    plate.legend("below")
    return plate


@paper.figure(
    "fig4",
    caption="Effective rank of attention matrices and outputs for Gaussian queries, keys and values, against the width "
    "of keys and values. The exact rank of both outputs is the width (line)",
    source="effective ranks",
)
def ranks_by_width(setting, lab):
    runs = lab.simulate(matrix_ranks, setting)
    plate = figures.Plate(columns=2, width="double")
    for panel, what in zip((plate[0, 0], plate[0, 1]), ("matrix", "output"), strict=True):
        for kind in ("linear", "softmax"):
            figures.measurement(panel, setting.key_dims, runs[f"{kind}_{what}"], kind)
        if what == "output":
            figures.prediction(
                panel, setting.key_dims, np.minimum(setting.key_dims, setting.n_tokens).astype(float), "exact rank"
            )
        panel.scale(x="log", y="log")
        panel.labels(x=r"width $d_k = d_v$", y=f"effective rank of the {what}")
    plate.legend("below")
    return plate


CURVE = Scales(
    smoke=replace(RECALL, n_steps=300, n_replicas=8),
    desk=replace(RECALL, n_steps=2_000, n_replicas=8),
    paper=replace(RECALL, n_steps=20_000),
)


@paper.figure(
    "fig5",
    caption="Operations and memory of one head of width 32 against the number of tokens (counts; buffer and attention "
    "matrix as stored numbers), and the error of trained recall with the bound of the buffer's size",
    source="complexity; recall is not in the paper",
    setting=CURVE,
)
def cost_and_recall(setting, lab):
    plate = figures.Plate(columns=3, width="double")
    n, d = np.array([8, 16, 32, 64, 128, 256, 512, 1024, 2048]), 32
    laws = {
        "linear": (lambda m: cost.linear_attention_macs(m, d, d), lambda m: d * d),
        "+ both": (lambda m: cost.linear_attention_macs(m, d, d) + cost.augmentation_macs(m, d, d, d), lambda m: d * d),
        "softmax": (lambda m: cost.softmax_attention_macs(m, d, d), lambda m: m * m),
    }
    for panel, index, label in ((plate[0, 0], 0, "multiply-accumulates"), (plate[0, 1], 1, "stored numbers")):
        for name, law in laws.items():
            figures.prediction(panel, n, [float(law[index](int(m))) for m in n], name)
        panel.scale(x="log", y="log")
        panel.labels(x="number of tokens N", y=label)
    panel, lengths = plate[0, 2], np.array([8, 16, 32])
    names = ("linear", "both", "softmax")
    runs = lab.simulate(recall, *(replace(setting, variant=name, n_tokens=int(m)) for name in names for m in lengths))
    for number, name in enumerate(names):
        error = np.stack([each["error"] for each in runs[3 * number : 3 * number + 3]], axis=1)
        figures.measurement(panel, lengths, error, LABELS[name], dodge=3 * (number - 1))
    fine = np.arange(8, 33)
    bound = [
        theory.recall_error_bound(int(m), setting.key_dim, setting.value_dim, target_dim=setting.value_size)
        for m in fine
    ]
    figures.prediction(panel, fine, bound, "bound for linear attention")
    panel.labels(x="number of values N", y="error of recall")
    plate.legend("below")
    return plate
