"""Figures: spectra, ranks by spread and width, ranks of products, and cost against recall."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.rala_low_rank.paper import RECALL, paper
from attnlab.simulators.low_rank.augmentation import VARIANTS, Setting, matrix_ranks, token_ranks
from attnlab.simulators.low_rank.exact_ranks import ExactSetting, exact_ranks
from attnlab.simulators.low_rank.recall import RecallSetting, recall
from attnlab.theory.costs import linear_and_pooling as cost
from attnlab.theory.low_rank import ranks as theory

LABELS = {"linear": "linear", "weighted": "+ weights", "gated": "+ gate", "both": "+ both", "softmax": "softmax"}


@paper.figure(
    "fig1",
    caption="Singular values of the outputs over the largest, tokens of spread 1 with random maps. Median and central "
    "80 % of replicas",
    source="spectra of feature maps",
)
def spectra(setting: Setting, lab: Lab) -> figures.Plate:
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
    caption="Effective rank of the outputs against the spread of the tokens around their mean, random maps, and "
    "that of the gate times the mean value: what a gated output is if attention only averages",
    source="effective ranks",
)
def ranks_by_spread(setting: Setting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(token_ranks, setting)
    plate = figures.Plate()
    panel = plate[0, 0]
    figures.measurement(panel, setting.spreads, runs["uniform_gated"], "gate times mean value", dodge=9)
    for number, (name, label) in enumerate(LABELS.items()):
        figures.measurement(
            panel, setting.spreads, runs["effective"][:, :, VARIANTS.index(name)], label, dodge=3 * (number - 2)
        )
    panel.scale(x="log", y="log")
    panel.limits(x=(0.7 * min(setting.spreads), 1.45 * max(setting.spreads)))  # room for points that stand aside
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
    claims=("hadamard_rank",),
)
def product_ranks(setting: ExactSetting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(exact_ranks, setting)
    plate = figures.Plate()
    panel, table = plate[0, 0], np.array(setting.products)
    for s in np.unique(table[:, 3]):
        rows = table[:, 3] == s
        r, label = table[rows, 2], f"gate of rank {s}"
        every = np.arange(1, 33)
        figures.prediction(panel, every, [theory.hadamard_rank(int(each), int(s), 40, 32) for each in every], label)
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
    claims=("effective_rank_gap",),
)
def ranks_by_width(setting: Setting, lab: Lab) -> figures.Plate:
    runs = lab.simulate(matrix_ranks, setting)
    plate = figures.Plate(columns=2, width="double")
    for panel, what in zip((plate[0, 0], plate[0, 1]), ("matrix", "output"), strict=True):
        for kind in ("linear", "softmax"):
            figures.measurement(panel, setting.key_dims, runs[f"{kind}_{what}"], kind)
        if what == "output":
            widths = np.arange(min(setting.key_dims), max(setting.key_dims) + 1)
            figures.prediction(panel, widths, np.minimum(widths, setting.n_tokens).astype(float), "exact rank")
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
    claims=("linear_cost", "recall_bound"),
)
def cost_and_recall(setting: RecallSetting, lab: Lab) -> figures.Plate:
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
