"""Figure: who finds a planted key, and the zone in which full attention sees it and routing by means does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import figures
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.sparse_selection.paper import HITS, paper
from attnlab.simulators.sparse_selection.rows import HitSetting, hits
from attnlab.theory.sparse_selection import hip, native_sparse, retained_mass, routing_hits

SCORES = (2.0, 5.0, 8.0, 11.0, 14.0, 17.0, 20.0, 24.0)


@paper.figure(
    "fig1",
    caption="Share of rows in which a key of score A among n = 4096 standard normal ones lies in the one block of 64 that is "
    "taken (points: means and 95 % intervals over replicas, by MoBA's choice, sharp sums of halves as in NSA, and the largest "
    "score; lines: exact probabilities), recall of hierarchical pruning to 64 keys, and the weight of the key in full "
    "attention. Between the dashed lines full attention gives it more than half and routing by means mostly misses it",
    source="figure of the sheet",
    setting=HITS,
    claims=("routing_hits", "dilution"),
)
def blind_zone(setting: HitSetting, lab: Lab) -> figures.Plate:
    plate = figures.Plate(width=5.4)
    panel, B, m, k = plate[0, 0], setting.block, setting.n_blocks, setting.keep
    runs = lab.simulate(hits, *(replace(setting, score=A, n_draws=100, n_replicas=8) for A in SCORES))
    fine = np.linspace(SCORES[0], SCORES[-1], 60)
    laws = {
        "largest": ("largest score", lambda A: routing_hits.max_hit_exact(A, 1.0, B, m, k)),
        "sharp": ("sharp sums of halves", lambda A: native_sparse.sharpest_hit_exact(A, 1.0, B // 2, 2, m, k)),
        "mean": ("mean of the block", lambda A: routing_hits.mean_hit_exact(A, 1.0, B, m, k)),
    }
    for name, (label, law) in laws.items():
        figures.prediction(panel, fine, [law(A) for A in fine], label)
        figures.measurement(panel, SCORES, np.stack([each[name] for each in runs], 1), label)
    half = retained_mass.half_weight_score(1.0, B * m)
    figures.prediction(panel, fine, 1 / (1 + np.exp(half - fine)), "weight in full attention")
    figures.prediction(panel, fine, np.full(fine.size, hip.needle_recall(B * m, B)), "hierarchical pruning")
    for edge in routing_hits.blind_zone(1.0, B, m):
        panel.axes.axvline(edge, color="0.5", linestyle="--", linewidth=0.8)
    panel.limits(y=(-0.03, 1.03))
    panel.labels(x="score A of the planted key", y="share of rows that find it, or its weight")
    plate.legend("below", columns=2)
    return plate
