"""Claims on exact ranks: of attention matrices, outputs, buffers and Hadamard products (integer matrices)."""

from __future__ import annotations

import numpy as np

from attnlab.analysis import Twin, Verdict, all_of, identical, share
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.rala_low_rank.paper import EXACT, paper
from attnlab.simulators.low_rank.exact_ranks import ExactSetting, exact_ranks
from attnlab.theory.low_rank import ranks as theory


def cells(law, sizes, runs):
    """The predicted ranks of all cells, one row per replica."""
    return np.tile([law(*size) for size in sizes], (runs.n, 1))


def matrix_law(kind, setting, runs):
    """Ranks of attention matrices of a kind in all cells."""
    return cells(lambda n, k, v: theory.attention_matrix_rank(n, k, kind), setting.sizes, runs)


@paper.claim(
    "attention_rank",
    source="our derivation; the paper speaks of numerical ranks",
    kind="extrapolation",
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
    source="our derivation; the paper speaks of numerical ranks",
    kind="extrapolation",
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
    source="our derivation; the paper speaks of numerical ranks",
    kind="extrapolation",
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
    source="our reading of summaries of Section 3.2; no published statement",
    kind="extrapolation",
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
    source="our derivation; the paper speaks of numerical ranks",
    kind="extrapolation",
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
