"""Claims on the ranks of linear attention, its buffer and its output, and on what rank says about recall."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import (
    Twin,
    Verdict,
    agrees,
    all_of,
    bounded,
    budget,
    finite_size,
    identical,
    ordered,
    relative,
    share,
)
from attnlab.analysis import replicas as of_replicas
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.lab.conditions import at_most, outside, that
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


@paper.claim(
    "effective_rank_gap",
    source="Section 3, Figure on feature ranks",
    statements=[1],
    parts=2,
    covers={
        "key_dims": that(
            lambda widths: max(widths) >= 8, "some width of 8 or more", "narrow heads are of full effective rank"
        )
    },
    formula="effective rank of softmax outputs > 2 x that of linear outputs, at d_k = d_v = d",
    assumptions=["independent Gaussian queries, keys and values", "widths 8 and above"],
    judged="log ratio of effective ranks above log 2 at every width, mean over replicas; matrix and output",
)
def effective_rank_gap(setting: Setting, lab: Lab) -> Verdict:
    """At equal exact rank, outputs and matrices of linear attention have less than half the effective rank of softmax's.

    A positive feature map makes rows nearly equal: the mean direction dominates. Twin: it is all there is, linear attention has
    effective rank one.
    """
    runs = lab.simulate(matrix_ranks, setting)
    wide = np.array(setting.key_dims) >= 8
    parts = []
    for what in ("matrix", "output"):
        linear, softmax = (np.log(runs[f"{kind}_{what}"][:, wide]) for kind in ("linear", "softmax"))
        parts.append(
            ordered(
                np.zeros(runs.n),
                (softmax - linear).min(-1),
                by=np.log(2),
                twin=Twin.of("effective rank one", smaller=softmax.min(-1) - np.log(2)),
            ).named(what)
        )
    return all_of(*parts)


@paper.claim(
    "gate_raises_rank",
    source="Section 3.3, augmentation of the output",
    statements=[3],
    formula="effective rank of Y * phi(X) > 2 x that of Y",
    assumptions=["untrained maps", "tokens with a common mean, spreads 3 to 0.1"],
    judged="every replica: log ratio of effective ranks above log 2 at every spread",
)
def gate_raises_rank(setting: Setting, lab: Lab) -> Verdict:
    """The gate lifts the effective rank of a linear output by more than a factor of two.

    Twin: up to the effective rank of the gate itself.
    """
    runs = lab.simulate(token_ranks, setting)
    linear, gated = (np.log(runs["effective"][..., VARIANTS.index(name)]) for name in ("linear", "gated"))
    return ordered(
        np.zeros(runs.n),
        (gated - linear).min(-1),
        by=np.log(2),
        of="every replica",
        twin=Twin.of("up to the gate's own", smaller=(np.log(runs["gate"]) - linear).min(-1) - np.log(2)),
    )


@paper.claim(
    "weights_concentrate",
    source="not in the paper; Section 3.2 before training",
    statements=[2],
    kind="extrapolation",
    formula="effective rank of the weighted buffer < that of the plain one, random weights, spread 3",
    assumptions=["untrained maps", "tokens with a common mean and spread 3"],
    covers={
        "spreads": that(
            lambda spreads: max(spreads) >= 1, "some spread of 1 or more", "tokens that are alike get even weights"
        )
    },
    judged="every replica",
    note="What weighting gains must come from training.",
)
def weights_concentrate(setting: Setting, lab: Lab) -> Verdict:
    """Without training the weights lower the buffer's effective rank: they concentrate on few keys.

    Twin: on a single key, to effective rank one.
    """
    runs = lab.simulate(token_ranks, setting)
    plain, weighted = np.log(runs["buffer"][:, int(np.argmax(setting.spreads))].T)
    return ordered(weighted, plain, of="every replica", twin=Twin.of("to rank one", larger=np.zeros(runs.n)))


#: Spreads over replicas at nu = 0.1, of the ratio of effective ranks and of the ungated one: 32 replicas at seed 1, desk.
SPREAD_OF_RATIO, SPREAD_OF_PLAIN = 8e-5, 2e-4


@paper.claim(
    "gate_rank",
    source="not in the paper",
    statements=[3],
    kind="extrapolation",
    parts=2,
    reads=("spreads",),
    covers={
        "spreads": that(
            lambda spreads: min(spreads) <= 0.1, "some spread of 0.1 or less", "attention is even for tokens alike"
        )
    },
    formula="Y * phi(X) has the effective rank of phi(X) diag(mean value) as attention becomes even",
    assumptions=["untrained maps", "least spread nu = 0.1"],
    judged="at the least spread the ratio is 1 and the ungated effective rank is 1, both within the unevenness nu^2 "
    "(weights times values; for an entropy nu^2 (1 + ln nu^-2)) and replicas",
)
def gate_rank(setting: Setting, lab: Lab) -> Verdict:
    """The rank of a gated output is the gate's own: the same as if attention only averaged the values.

    Twins: the effective rank of the gate itself; that of the ungated output at the largest spread.
    """
    runs = lab.simulate(token_ranks, setting)
    least, most, nu = int(np.argmin(setting.spreads)), int(np.argmax(setting.spreads)), min(setting.spreads)
    gated = runs["effective"][:, least, VARIANTS.index("gated")]
    same = agrees(
        gated / runs["uniform_gated"][:, least],
        1.0,
        within=budget(finite_size(1 / nu, power=2, of="1/nu"), of_replicas(SPREAD_OF_RATIO, len(gated))),
        twin=Twin.of("rank of the gate", measured=gated / runs["gate"][:, least]),
    )
    plain = runs["effective"][..., VARIANTS.index("linear")]
    alone = agrees(
        plain[:, least],
        1.0,
        within=budget(Piece("unevenness", nu**2 * (1 - 2 * np.log(nu))), of_replicas(SPREAD_OF_PLAIN, len(plain))),
        twin=Twin.of("at the largest spread", measured=plain[:, most]),
    )
    return all_of(same.named("gated"), alone.named("plain"))


@paper.claim(
    "linear_cost",
    source="Section 3, complexity",
    statements=[4],
    setting=COUNTS,
    parts=6,
    formula="2 N d_k d_v + N d_k, augmented + N d_k + N m d_v, against N^2 (d_k + d_v) multiply-accumulates; equal at N "
    "= d + 1/2, augmented at 3 d / 2 + 1; module N C (5 C + 25) + 2 N C (d + 1), 5 C^2 + 31 C parameters",
    judged="counts of running heads and of the running module equal the formulas exactly, in every cell",
)
def linear_cost(setting: CountSetting, lab: Lab) -> Verdict:
    """Rank-augmented linear attention is linear in N, cheaper than softmax from N = 3 d / 2 + 2 on.

    The global query and the gate count: plain linear attention is cheaper from N = d + 1 on. Twins: a normaliser that costs
    nothing; weighted sums that cost N d_v; a gate without weights; the crossover of plain linear attention for the augmented one;
    a module without its local convolution (operations and parameters).
    """
    runs = lab.simulate(count, setting)
    cells, width, N = setting.attention, np.array(setting.channels), setting.side**2

    def row(law):
        return np.tile([law(*cell) for cell in cells], (runs.n, 1))

    lengths, whole = np.array([cell[0] for cell in cells]), runs["linear_macs"] + runs["gate_macs"]

    def from_on(crossing):
        return np.tile(lengths > np.array([float(crossing(*cell[1:])) for cell in cells]), (runs.n, 1))

    plain, augmented = from_on(cost.crossover_length), from_on(lambda k, v: cost.augmented_crossover_length(k, v, v))
    operations = np.array([cost.augmented_module_macs(N, int(c), setting.head_dim) for c in width])
    checks = {
        "linear": (runs["linear_macs"], row(cost.linear_attention_macs), row(lambda n, k, v: 2 * n * k * v)),
        "softmax": (runs["softmax_macs"], row(cost.softmax_attention_macs), row(lambda n, k, v: n * n * k + n * v)),
        "augmentation": (
            runs["gate_macs"],
            row(lambda n, k, v: cost.augmentation_macs(n, k, v, v)),
            row(lambda n, k, v: n * v * v),
        ),
        "crossover": (
            np.stack([runs["linear_macs"] < runs["softmax_macs"], whole < runs["softmax_macs"]]),
            np.stack([plain, augmented]),
            np.stack([plain, plain]),
        ),
        "module's operations": (
            runs["module_macs"],
            np.tile(operations, (runs.n, 1)),
            np.tile(operations - 25 * N * width, (runs.n, 1)),
        ),
        "module's parameters": (
            runs["module_parameters"],
            np.tile([cost.augmented_module_parameters(int(c)) for c in width], (runs.n, 1)),
            np.tile(5 * width**2 + 5 * width, (runs.n, 1)),
        ),
    }
    return all_of(*(identical(seen, law, twin=twin).named(name) for name, (seen, law, twin) in checks.items()))


LINEAR = tuple(variant for variant in VARIANTS if variant != "softmax")


@paper.claim(
    "recall_bound",
    source="not in the paper; follows from the size of the buffer",
    statements=[4, 5],
    kind="extrapolation",
    setting=RECALLS,
    parts=4,
    reads=("n_tokens", "key_dim", "value_dim", "value_size"),
    covers={"learning_rate": at_most(0.1, "training has to converge")},
    formula="error >= 1 - d_k d_v / (N m) for linear attention with any weights, gate and projection",
    note="The bound is for the best read-out of any buffer; a buffer of keys that are not orthogonal does worse: "
    "weighted heads end above the bound of a quarter of the buffer.",
    assumptions=["queries and keys do not read the values, the gate reads the whole token", "values N(0, 1)"],
    judged="no trained replica below the bound by more than 5 standard errors of its test",
)
def recall_bound(setting: RecallSetting, lab: Lab) -> Verdict:
    """No trained linear attention, plain, weighted, gated or both, recalls N values better than its buffer's size allows.

    Twin: the bound of a buffer for a single key.
    """
    bound = theory.recall_error_bound(
        setting.n_tokens, setting.key_dim, setting.value_dim, target_dim=setting.value_size
    )
    rival = theory.recall_error_bound(setting.n_tokens, 1, setting.value_dim, target_dim=setting.value_size)
    if bound == 0:
        return outside("the buffer has room for all values: n_tokens value_size <= key_dim value_dim")
    parts = []
    for variant, runs in zip(LINEAR, lab.simulate(recall, *(replace(setting, variant=v) for v in LINEAR)), strict=True):
        parts.append(
            bounded(
                runs["error"] + 5 * runs["error_se"],
                bound,
                side="below",
                of="every replica",
                twin=Twin.of("a single key", bound=rival),
            ).named(variant)
        )
    return all_of(*parts)


@paper.claim(
    "rank_is_not_recall",
    source="the paper's reason for the accuracy of softmax attention, on a task with a provable bound",
    statements=[1, 4],
    kind="extrapolation",
    setting=RECALLS,
    parts=3,
    reads=("n_tokens", "key_dim", "value_dim", "value_size"),
    covers={"learning_rate": at_most(0.1, "training has to converge")},
    formula="error(linear + weights + gate) - error(softmax) > 1/2 - d_k d_v / (2 N m)",
    assumptions=["the gate reads the whole token: query, key and value", "each token asks for the value of another"],
    judged="mean over replicas: softmax is ahead of both augmentations by more than half of the bound; the gate alone "
    "changes the error by less than a tenth of it, and softmax outputs have an effective rank larger by more than one",
    note="The published comparison is on images, which this toolkit does not train. On recall the size of the buffer, "
    "not the rank of the output, decides.",
)
def rank_is_not_recall(setting: RecallSetting, lab: Lab) -> Verdict:
    """On recall, augmented linear attention stays far behind softmax attention, and the gate changes nothing.

    Twins: both augmentations answer nothing, and softmax everything (by 1); a gate worth half of the way to softmax; softmax
    outputs ahead by half of
    all dimensions. Null control: the errors at the start.
    """
    names = ("linear", "gated", "both", "softmax")
    runs = dict(zip(names, lab.simulate(recall, *(replace(setting, variant=name) for name in names)), strict=True))
    error = {name: each["error"] for name, each in runs.items()}
    bound = theory.recall_error_bound(
        setting.n_tokens, setting.key_dim, setting.value_dim, target_dim=setting.value_size
    )
    if bound == 0:
        return outside("the buffer has room for all values: n_tokens value_size <= key_dim value_dim")
    gap = ordered(
        error["softmax"],
        error["both"],
        by=bound / 2,
        twin=Twin.of("answers nothing", by=1.0),
        null=Twin.of("nothing is learnt", smaller=runs["softmax"]["loss"][:, 0], larger=runs["both"]["loss"][:, 0]),
    )
    gate = agrees(
        error["gated"] - error["linear"],
        0.0,
        within=budget(relative(0.1, bound, "a tenth of the bound, the least that matters")),
        twin=Twin.of("half of the way", predicted=float((error["softmax"] - error["linear"]).mean() / 2)),
    )
    order = ordered(
        runs["linear"]["effective_rank"],
        runs["softmax"]["effective_rank"],
        by=1.0,
        twin=Twin.of("half of all dimensions", by=setting.value_dim / 2),
    )
    return all_of(gap.named("behind softmax"), gate.named("gate"), order.named("effective rank"))


for number, reason in (
    (1, "the accuracies are of image models; their reason, lower effective rank, is effective_rank_gap"),
    (2, "what trained weights do to the buffer needs image models; untrained ones are weights_concentrate"),
    (4, "matching softmax attention's accuracy needs images; cost is linear_cost, and recall rank_is_not_recall"),
):
    paper.not_testable(number, reason)
