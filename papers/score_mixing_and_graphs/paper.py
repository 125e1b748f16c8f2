"""Score mixing and graph attention: sources, statements and settings.

Letters: kappa a kernel of scores, B letters of a block, m distance of class means, d width, m copies.
"""

from __future__ import annotations

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.score_mixing.mixing import BlockSetting, ClassSetting, CopySetting, KernelSetting

paper = Paper(
    key="score_mixing_and_graphs",
    title="Score mixing and graph attention",
    sources=[
        Source(authors="Olga Golovneva et al.", title="Multi-Token Attention", year=2025, arxiv="2504.00927"),
        Source(
            authors="Dongkwan Kim, Alice Oh",
            title="How to Find Your Friendly Neighborhood: Graph Attention Design with Self-Supervision",
            year=2021,
            arxiv="2204.04879",
        ),
        Source(
            authors="Markus J. Buehler",
            title="Graph-Aware Isomorphic Attention for Adaptive Dynamics in Transformers",
            year=2025,
            arxiv="2501.02393",
        ),
    ],
    statements={
        1: "Convolved scores have rank min(n, d rank(kappa)); a kernel of rank one is a short convolution of queries and keys.",
        2: "Uncorrelated scores grow in variance by |kappa|_F^2.",
        3: "A kernel of ones finds the block that holds two letters; attention to single matches gives it the share of its "
        "matches.",
        4: "Additive edge scores carry no information on whether two nodes are of one class, nor do mixed ones with generic "
        "weights.",
        5: "The product has AUC of about Phi(2 m^2/sqrt(2 (2 m^2 + d))).",
        6: "A mean of neighbours is blind to copies, a sum counts them; a norm after the sum takes the count away without a "
        "self weight.",
        7: "At homophily 1/2 supervision of edges teaches nothing on classes.",
    },
)
paper.not_testable(7, "needs training with supervised edges; what the scores can tell is judged by claims 4 and 5")

KERNELS = Scales(smoke=KernelSetting(), desk=KernelSetting(n_replicas=24), paper=KernelSetting(120, 8, n_replicas=64))
BLOCKS = Scales(
    smoke=BlockSetting(n_draws=100), desk=BlockSetting(n_draws=150), paper=BlockSetting(n_draws=4000, n_replicas=64)
)
CLASSES = Scales(
    smoke=ClassSetting(n_replicas=96),
    desk=ClassSetting(n_replicas=128),
    paper=ClassSetting(n_nodes=2000, n_replicas=256),
)
COPIES = Scales(*(CopySetting(),) * 3)
