"""Heads combined and shared: sources, statements and settings.

Letters: H heads, c_h amplitudes, e noise, r a correlation, s the spread of scores, K active heads, m heads per key.
"""

from __future__ import annotations

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.heads_and_sharing.sharing import (
    BasisSetting,
    BorrowSetting,
    KeySetting,
    MixtureSetting,
    PoolSetting,
)

paper = Paper(
    key="heads_and_sharing",
    title="Heads combined and shared",
    sources=[
        Source(
            authors="Sai Sena Chinnakonduru, Astarag Mohapatra",
            title="Weighted Grouped Query Attention in Transformers",
            year=2024,
            arxiv="2407.10855",
        ),
        Source(
            authors="Bingli Liao, Danilo Vasconcellos Vargas",
            title="Beyond KV Caching: Shared Attention for Efficient LLMs",
            year=2024,
            arxiv="2407.12866",
        ),
        Source(
            authors="Peyman Hosseini, Mehran Hosseini",
            title="You Need to Pay Better Attention: Rethinking the Mathematics of Attention Mechanism",
            year=2024,
            arxiv="2403.01643",
        ),
        Source(
            authors="Peng Jin et al.",
            title="MoH: Multi-Head Attention as Mixture-of-Head Attention",
            year=2024,
            arxiv="2410.11842",
        ),
    ],
    statements={
        1: "Pooling values V_h = c_h V_0 + noise by their mean loses 1 - ((sum c)^2/H + e^2)/(sum c^2 + H e^2) of their energy.",
        2: "The best pool has weights c_h and captures (sum c^2 + e^2)/(sum c^2 + H e^2); the mean with a fitted output "
        "captures less "
        "where signs differ.",
        3: "Scores by the pooled key of m heads of correlation r correlate with a head's own by sqrt((1 + (m - 1) r)/m).",
        4: "Layers of a span use the map of the first one, with values and outputs of their own.",
        5: "A map borrowed over k layers errs by 2 (1 - e^{-(1 - r^k) s^2}) on independent values, its rows have cosine "
        "e^{-(1 - r^k) s^2}.",
        6: "Optimised attention is multi-head attention in the basis x W^V, for one layer; one efficient head loses nothing.",
        7: "In a residual stack the gap of optimised attention grows with the number of heads and vanishes after a linear layer.",
        8: "Rows of super attention sum to A r; a triangular matrix over positions shows no later token; numbers are 4, 3, "
        "2 D^2 and "
        "2 D^2 + n^2.",
        9: "Gates of a mixture of heads average 1: shared ones over H_s, active ones over K; the other heads get no gradient.",
        10: "If gates rank heads by norm and log-norms have spread s_g the best K of H_r keep Phi(2 s_g - t) of the energy.",
        11: "With m query heads per key a step needs 1 - (1 - K/H_r)^m of the cached heads.",
        12: "The balance loss is K for uniform use and H_r when all tokens use the same K heads.",
    },
)
paper.not_testable(7, "needs trained stacks; for one layer claim bases_absorb_values gives the exact change of basis")
paper.not_testable(
    12,
    "the loss is a training term that no operator computes; its two ends are a test of theory.heads_and_sharing.head_mixture",
)

POOLS = Scales(smoke=PoolSetting(), desk=PoolSetting(n_replicas=48), paper=PoolSetting(width=64, n_replicas=256))
KEYS = Scales(
    smoke=KeySetting(), desk=KeySetting(n_replicas=288), paper=KeySetting(width=64, n_keys=1000, n_replicas=64)
)
BORROWS = Scales(
    smoke=BorrowSetting(n_rows=192),
    desk=BorrowSetting(n_rows=256, n_replicas=72),
    paper=BorrowSetting(n_keys=16_384, n_rows=512, n_replicas=64),
)
BASES = Scales(*(BasisSetting(),) * 3)
MIXTURES = Scales(
    smoke=MixtureSetting(n_tokens=100),
    desk=MixtureSetting(n_replicas=48),
    paper=MixtureSetting(n_tokens=4000, n_replicas=64),
)
