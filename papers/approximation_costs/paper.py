"""Error against cost of approximations of softmax attention: sources, statements and settings.

Letters: n keys, scores of spread s in nu directions, m keys, samples or features, p the weight of a planted key of score h.
"""

from __future__ import annotations

from dataclasses import replace

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.score_ensembles.ensembles import EnsembleSetting

paper = Paper(
    key="approximation_costs",
    title="Error against cost of approximations of softmax attention",
    sources=[
        Source(
            authors="Yi Tay and others", title="Efficient Transformers: A Survey", year=2022, arxiv="2009.06732"
        ),
        Source(
            authors="Krzysztof Choromanski and others", title="Rethinking Attention with Performers", year=2021,
            arxiv="2009.14794",
        ),
        Source(
            authors="Insu Han and others", title="HyperAttention: Long-context Attention in Near-Linear Time", year=2024,
            arxiv="2310.05869",
        ),
        Source(
            authors="Armin Gerami and others", title="FAST: Factorizable Attention for Speeding up Transformers", year=2024,
            arxiv="2402.07901",
        ),
        Source(
            authors="Prajwal Singhania and others", title="Loki: Low-rank Keys for Efficient Sparse Attention", year=2024,
            arxiv="2406.02542",
        ),
        Source(
            authors="Enzhe Lu and others", title="MoBA: Mixture of Block Attention for Long-Context LLMs", year=2025,
            arxiv="2502.13189",
        ),
    ],
    statements={
        1: "Keys at random, for every query or shared by all, cost m/n of attention and err like sqrt(n/m).",
        2: "The best keys or blocks by a score err by the mass and the squares that they leave out.",
        3: "A truncated exponential series errs by its first missing term.",
        4: "Positive random features err like m^(-1/2) with a factor exponential in the lengths of queries and keys.",
        5: "A planted key decides the error: it is lost, kept alone, or flattened by the series.",
        6: "Keys of low rank are ranked exactly by as many directions.",
        7: "An approximation is of use where it errs less than the mean of all values, which reads no score.",
    },
)  # fmt: skip

_BASE = EnsembleSetting()


def scales(smoke: int = 12, desk: int = 32, **numbers: object) -> Scales:
    """Settings of one ladder: half the tokens at smoke, four times the replicas at paper scale."""
    desk_setting = replace(_BASE, n_replicas=desk, **numbers)  # type: ignore[arg-type]
    return Scales(
        replace(desk_setting, n_tokens=256, n_replicas=smoke), desk_setting, replace(desk_setting, n_replicas=4 * desk)
    )


RANDOM = scales(desk=64, operator="sparse_selection/random_keys")
SHARED = scales(desk=128, operator="hashing/hyper_attention", ladder="small blocks", rung=3, n_draws=4)
BEST = scales(operator="sparse_selection/loki", ladder="all directions")
BLOCKS = scales(operator="sparse_selection/moba")
SERIES = scales(desk=256, operator="polynomial_attention/fast", ladder="series", rung=0)
FEATURES = scales(desk=256, operator="positive_features/performer", ladder="independent rows", spread=0.1, n_draws=8)
PLANTED_RANDOM = scales(desk=96, operator="sparse_selection/random_keys", ensemble="planted")
PLANTED_BEST = scales(operator="sparse_selection/loki", ladder="all directions", ensemble="planted")
PLANTED_SERIES = scales(operator="polynomial_attention/fast", ladder="series", ensemble="planted")
FEW_DIRECTIONS = scales(
    desk=64, operator="sparse_selection/loki", ladder="a quarter of the directions", ensemble="low_rank"
)
FIGURE = Scales(replace(_BASE, n_tokens=128, n_replicas=2), replace(_BASE, n_replicas=4), replace(_BASE, n_replicas=32))
STOPS = Scales(
    replace(_BASE, n_tokens=128, n_replicas=2), replace(_BASE, n_tokens=256, n_replicas=8),
    replace(_BASE, n_replicas=32),
)  # fmt: skip
paper.scales(smoke=RANDOM.smoke, desk=RANDOM.desk, paper=RANDOM.paper)
