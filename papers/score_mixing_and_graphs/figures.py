"""Figures: what edge scores tell of classes, and what conjunctions cost attention to single matches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.declare import Scales
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.score_mixing_and_graphs.paper import BLOCKS, CLASSES, paper
from attnlab.simulators.score_mixing.mixing import BlockSetting, ClassSetting, blocks, classes
from attnlab.theory.score_mixing import edge_scores, multi_token

NORMS, SIZES = (0.5, 1.0, 1.5, 2.0, 2.5), (10, 25, 50, 100)


@paper.figure(
    "fig1",
    caption="Area under the curve of edge scores for same class against the distance of the class means, d = 8 (points: "
    "means and 95 % "
    "intervals over replicas; lines: the exact law of the product, its Gaussian law, and one half)",
    source="edge scores",
    setting=Scales(*(replace(each, n_replicas=16) for each in (CLASSES.smoke, CLASSES.desk, CLASSES.paper))),
    claims=("additive_scores_know_no_classes", "products_know_classes"),
)
def told(setting: ClassSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel, fine, d = plate[0, 0], np.linspace(NORMS[0], NORMS[-1], 40), setting.dim
    runs = lab.simulate(classes, *(replace(setting, mean_norm=m) for m in NORMS))
    figures.prediction(panel, fine, [edge_scores.product_auc_exact(m, d) for m in fine], "product")
    figures.measurement(panel, NORMS, np.stack([each["product"] for each in runs], 1), "product")
    figures.prediction(panel, fine, np.full(40, edge_scores.additive_auc()), "additive")
    figures.measurement(panel, NORMS, np.stack([each["additive"] for each in runs], 1), "additive")
    figures.prediction(panel, fine, [edge_scores.product_auc_approx(m, d) for m in fine], "product, Gaussian law")
    panel.labels(x="distance of a class from the middle m", y="area under the curve")
    plate.legend("below", columns=3)
    return plate


@paper.figure(
    "fig2",
    caption="Share of the right block, which alone holds two letters, against the number of blocks: a kernel of ones "
    "(always found), and "
    "attention to single matches (points: means and 95 % intervals over replicas; lines: the laws)",
    source="multi-token attention",
    setting=Scales(*(replace(each, n_draws=20, n_replicas=16) for each in (BLOCKS.smoke, BLOCKS.desk, BLOCKS.paper))),
    claims=("kernels_find_conjunctions",),
)
def conjunctions(setting: BlockSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate()
    panel, B = plate[0, 0], setting.block
    runs = lab.simulate(blocks, *(replace(setting, n_blocks=n) for n in SIZES))
    figures.prediction(panel, SIZES, np.ones(len(SIZES)), "kernel of ones")
    figures.measurement(panel, SIZES, np.stack([each["kernel"] for each in runs], 1), "kernel of ones")
    law = [multi_token.tied_accuracy_exact(n, B, 26, 100_000, 1).mean() for n in SIZES]
    figures.prediction(panel, SIZES, law, "single matches")
    figures.measurement(panel, SIZES, np.stack([each["tied"] for each in runs], 1), "single matches")
    panel.scale(x="log", y="log")
    panel.labels(x="number of blocks", y="share of the right block")
    plate.legend("below")
    return plate
