"""The paper, its settings, and what its claims share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.memorization.assumptions import AssumptionSetting
from attnlab.simulators.memorization.construction import ConstructionSetting
from attnlab.simulators.memorization.dimension import DimensionSetting
from attnlab.simulators.memorization.exact_ranks import ExactSetting
from attnlab.simulators.memorization.frozen import FrozenSetting
from attnlab.simulators.memorization.training import Setting

TITLE = "Memorization Capacity of Multi-Head Attention in Transformers"
paper = Paper(
    key="mahdavi2024_memorization",
    title=TITLE,
    sources=[
        Source(
            authors="Sadegh Mahdavi, Renjie Liao, Christos Thrampoulidis",
            year=2024,
            arxiv="2306.02010",
            title=TITLE,
            venue="International Conference on Learning Representations",
        ),
        Source(
            authors="Thomas M. Cover",
            year=1965,
            venue="IEEE Transactions on Electronic Computers",
            title="Geometrical and Statistical Properties of Systems of Linear Inequalities with Applications in "
            "Pattern "
            "Recognition",
        ),
    ],
    statements={
        1: "One attention layer memorises H (r - 1) + 1 examples with arbitrary real labels, r = min(n, d_h).",
        2: "There are key and query weights whose features have rank at least min(T, H (r - 1) + 1): heads saturate on all "
        "examples but r - 1 of their own. General position is not needed.",
        3: "If all examples share one context, the rank is at most H (n - 1) + 1: the count is tight.",
        4: "Memorisation grows linearly in H, grows with n, and grows with d_h up to d_h = n and then stops.",
        5: "For n of the order of d the count is optimal in order: H d^2 real numbers with as many parameters.",
        6: "Under the same assumptions a two-layer ReLU network is no more parameter-efficient than the attention layer.",
        7: "Tokens of vision transformers satisfy the assumptions approximately, though not general position.",
        8: "Heads of trained models specialise: on most examples most heads are saturated.",
        9: "Without softmax, heads on a shared context add nothing beyond rank d: growth in H is due to softmax.",
        10: "With frozen weights, residuals and the share of separable labellings follow from the rank alone.",
        11: "Where the assumptions fail, memorisation does: equal queries, contexts of lower rank.",
        12: "The assumptions can be tested: Kruskal ranks, and the test by random subsets.",
        13: "Trained key and query weights memorise more than frozen ones; the number of parameters bounds what they memorise.",
    },
)
paper.not_testable(
    6,
    "it compares the layer with an upper bound for ReLU networks whose constants are in a proof, not in an experiment",
)
paper.not_testable(7, "it needs the tokens of pretrained vision transformers, which are not part of this project")

TRAINED = Setting(n_examples=192, n_steps=1_500, n_replicas=16)
paper.scales(
    smoke=replace(TRAINED, n_examples=64, n_steps=150, n_replicas=16),
    desk=TRAINED,
    paper=Setting(
        dim=64,
        n_context=32,
        n_heads=20,
        head_dim=64,
        n_examples=20_000,
        n_classes=100,
        learning_rate=1e-3,
        n_steps=50_000,
        n_replicas=8,
    ),
)
EXACT = Scales(smoke=ExactSetting(n_replicas=2), desk=ExactSetting(), paper=ExactSetting(n_replicas=32))
CONSTRUCTION = Scales(
    smoke=ConstructionSetting(n_replicas=4),
    desk=ConstructionSetting(n_replicas=16),
    paper=ConstructionSetting(n_replicas=64),
)
FROZEN = Scales(
    smoke=FrozenSetting(n_replicas=32),
    desk=FrozenSetting(n_replicas=32),
    paper=FrozenSetting(
        n_context=16,
        dim=32,
        head_dim=16,
        head_dims=(1, 2, 4, 8, 16, 32),
        n_spectrum=200,
        examples=(40, 61, 90, 140, 200, 300),
        n_replicas=32,
    ),
)
DIMENSION = Scales(*[DimensionSetting(n_replicas=32)] * 3)
ASSUMPTIONS = Scales(
    smoke=AssumptionSetting(n_trials=50), desk=AssumptionSetting(n_replicas=32), paper=AssumptionSetting(n_replicas=64)
)


def cells(law, sizes, runs):
    """The predicted whole numbers of all cells, one row per replica."""
    return np.tile([law(*size) for size in sizes], (runs.n, 1))
