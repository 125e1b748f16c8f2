"""The paper, its statements and settings, and the models that several claims and figures share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.head_rank.farthest import FarthestSetting
from attnlab.simulators.head_rank.pairs import PairSetting
from attnlab.theory.head_rank.lower_bounds import error_lower_bound

TITLE = "On the Benefits of Rank in Attention Layers"
paper = Paper(
    key="amsel2024_rank_heads",
    title=TITLE,
    sources=[Source(authors="Noah Amsel, Gilad Yehudai, Joan Bruna", year=2024, arxiv="2407.16153", title=TITLE)],
    statements={
        1: "One head of full rank approximates the nearest of any number of points to any accuracy (Fact 1).",
        2: "Sums of heads of rank r need a number of heads that grows with a power of d/r, the higher the smaller the error, "
        "and exponentially in d for high accuracy, whatever the scores (Theorem 2).",
        3: "A sum of 2 d^2 + 1 biased nearest-point functions needs O(d^2) heads of full rank, and exponentially many of low "
        "rank unless values are huge (Theorem 3).",
        4: "Two layers of rank-one heads need only polynomially many heads on two points, by a majority vote (Theorem 5).",
        5: "For any number of points low rank fails at any depth (Conjecture 6).",
        6: "Transformers trained on the farthest point are better with heads of full rank than with many more heads of lower "
        "rank; depth narrows the gap and does not close it (experiments).",
        7: "Random rank-one hard-max heads: agreements in closed form, errors of the best values (experiments).",
        8: "Explicit lower bounds for scalar, matrix and generalised values, and the plateau that d + 1 rank-one heads reach.",
    },
)
paper.not_testable(
    3,
    "the norm condition and the error bound hold with constants that are not given, and the target is known to "
    "exist, not written down: no finite experiment can contradict it",
)
paper.not_testable(
    5,
    "a conjecture on all numbers of points and all depths; small trained networks of two layers are compared "
    "under statement 6",
)

DIM = 8
PAIR = PairSetting(dim=DIM, n_replicas=16)
CELLS = {
    "scalar": ((1, 2), (1, 4), (1, 8), (1, 16), (2, 4)),
    "matrix": ((1, 2), (1, 4), (1, 8), (2, 2), (2, 8), (4, 8)),
    "gated": ((1, 2), (2, 4)),
}
"""Kinds of values with the (rank, number of heads) of the models that are trained."""
BOUND = {"scalar": "scalar", "matrix": "matrix", "gated": "generalised"}
PAIRS = Scales(
    smoke=replace(PAIR, n_steps=300), desk=PAIR, paper=replace(PAIR, batch=512, n_steps=3_000, n_test=100_000)
)
FARTHEST = FarthestSetting(n_replicas=16)
SWEEPS = Scales(
    smoke=replace(FARTHEST, n_steps=64, n_test=200),
    desk=FARTHEST,
    paper=FarthestSetting(dim=64, n_points=16, rank=64, hidden=2_048, batch=256, n_steps=100_000, n_replicas=8),
)
paper.scales(smoke=PAIRS.smoke, desk=PAIRS.desk, paper=PAIRS.paper)
CONTEXTS = (4, 8, 16)


def ranks_of(setting):
    """The ranks of a sweep: the divisors of d."""
    return [rank for rank in range(1, setting.dim + 1) if setting.dim % rank == 0]


def copies_of(setting):
    """Copies of the attention in a sweep; at d = 64 the published ones, d^2, d^2.5 and d^3 parameters per layer."""
    return (1, 8, 64) if setting.dim >= 64 else (1, 4)


def deep(setting, n_layers=2):
    """The same with two layers, which need a lower rate and more steps; or with ``n_layers``, trained in the same way."""
    return replace(
        setting, n_layers=n_layers, learning_rate=0.6 * setting.learning_rate, n_steps=setting.n_steps * 5 // 4
    )


def pair_cells(setting, kind):
    """The settings of the trained models of one kind."""
    return [replace(setting, kind=kind, rank=rank, n_heads=n_heads) for rank, n_heads in CELLS[kind]]


def bound_of(setting):
    """The lower bound for the models of a setting."""
    return error_lower_bound(setting.dim, setting.rank, setting.n_heads, BOUND[setting.kind])


def per_replica(runs, values):
    """One value a cell, repeated for its replicas: ``(all replicas,)``."""
    return np.concatenate([np.full(each.n, value) for each, value in zip(runs, values, strict=True)])
