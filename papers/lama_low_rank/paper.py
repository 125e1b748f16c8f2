"""Mehta, Rangwala and Ramakrishnan 2019: multi-head pooling with rank-one scores, its identities, counts and limits.

Letters: T states h_t of width d, m heads, context c; head i scores (p_i^T c)(q_i^T h_t). The variant checked divides the scores
(after tanh) by their Euclidean norm over heads, and takes the mean state as context.
"""

from __future__ import annotations

from dataclasses import replace

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.low_rank.counts import CountSetting
from attnlab.simulators.low_rank.pooling import PoolingSetting

TITLE = "Low Rank Factorization for Compact Multi-Head Self-Attention"
paper = Paper(
    key="lama_low_rank",
    title=TITLE,
    sources=[
        Source(authors="Sneha Mehta, Huzefa Rangwala, Naren Ramakrishnan", year=2019, arxiv="1912.00835", title=TITLE)
    ],
    statements={
        1: "Pooling attention with rank-one scores per head needs fewer parameters and operations than self-attention "
        "and additive pooling, at equal or better accuracy.",
        2: "Savings come from one factorised bilinear form for all heads, and from one context query instead of all pairs.",
        3: "The factorised score is a Hadamard product of two thin projections, and bounded scores bound the weights.",
    },
)
DESK = PoolingSetting()
paper.scales(smoke=DESK, desk=DESK, paper=replace(DESK, dim=512, n_heads=15, n_tokens=200, n_replicas=32))
COUNTS = Scales(smoke=CountSetting(), desk=CountSetting(), paper=CountSetting())
