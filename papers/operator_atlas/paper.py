"""The atlas as a whole: exact limits between operators, decode state against recall.

Letters: m pairs, V values, r the width of a key, S = r V the numbers of a linear memory.
"""

from __future__ import annotations

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.operator_atlas.limits import LimitsSetting
from attnlab.simulators.operator_atlas.stored_pairs import MemorySetting, PairsSetting
from attnlab.simulators.task_matrix.cells import MatrixSetting

paper = Paper(
    key="operator_atlas",
    title="The atlas of attention operators",
    sources=[
        Source(
            authors="Simran Arora, Sabri Eyuboglu, Aman Timalsina, Isys Johnson, Michael Poli, James Zou, Atri Rudra, "
            "Christopher Ré",
            title="Zoology: Measuring and Improving Recall in Efficient Language Models",
            year=2023,
            arxiv="2312.04927",
        ),
        Source(
            authors="Simran Arora, Sabri Eyuboglu, Michael Zhang, Aman Timalsina, Silas Alberti, Dylan Zinsley, James Zou, "
            "Atri Rudra, Christopher Ré",
            title="Simple Linear Attention Language Models Balance the Recall-Throughput Tradeoff",
            year=2024,
            arxiv="2402.18668",
        ),
    ],
    statements={
        1: "Variants of attention are dot-product attention, or one another, at certain parameters (the operators' papers).",
        2: "What a model with a fixed state recalls grows with the size of its state, while attention recalls everything.",
        3: "What an operator's declared facts forbid, a small model with this operator does not learn; what they do not, "
        "it learns (the atlas's task matrix).",
    },
)

LIMITS = Scales(smoke=LimitsSetting(n_replicas=2), desk=LimitsSetting(n_replicas=8), paper=LimitsSetting(n_replicas=64))
MEMORY = Scales(
    smoke=MemorySetting(n_draws=2000, n_replicas=16), desk=MemorySetting(n_draws=2000, n_replicas=48),
    paper=MemorySetting(n_draws=2000, n_replicas=512),
)  # fmt: skip
PAIRS = Scales(
    smoke=PairsSetting(per_code=2, n_draws=16, n_replicas=4), desk=PairsSetting(n_replicas=6),
    paper=PairsSetting(n_replicas=64),
)  # fmt: skip
MATRIX = Scales(
    smoke=MatrixSetting(
        operators=(
            "base_scores/dot_product", "linear_variants/cosine_linear", "positional_attention/alternating_positions[windowed]",
            "controls/mean", "controls/one_token", "controls/sigmoid_sum",
        ),
        tasks=("recall_4", "regression", "count"), budget=0.8, retry=0.0,
    ),
    desk=MatrixSetting(), paper=MatrixSetting(operators=("controls", "all"), rates_from="family"),
)  # fmt: skip
