"""Claims on cost, and on what rank says about recall."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, bounded, budget, identical, ordered, relative
from attnlab.papers.lab.conditions import at_most, outside
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.rala_low_rank.paper import COUNTS, RECALLS, paper
from attnlab.simulators.low_rank.augmentation import VARIANTS
from attnlab.simulators.low_rank.counts import CountSetting, count
from attnlab.simulators.low_rank.recall import RecallSetting, recall
from attnlab.theory.costs import linear_and_pooling as cost
from attnlab.theory.low_rank import ranks as theory


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
    undecided_at_smoke="weighted heads end above the bound of a quarter of the buffer, too, at every scale",
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

    Twin: the bound of a quarter of the buffer, which weighted heads do not violate: for them the bound is loose.
    """
    bound = theory.recall_error_bound(
        setting.n_tokens, setting.key_dim, setting.value_dim, target_dim=setting.value_size
    )
    rival = theory.recall_error_bound(
        setting.n_tokens, max(1, setting.key_dim // 4), setting.value_dim, target_dim=setting.value_size
    )
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
                twin=Twin.of("a quarter of the buffer", bound=rival),
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
