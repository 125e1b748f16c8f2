"""The paper, its settings, and what its claims share."""

from __future__ import annotations

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.score_statistics.bulk import BulkSetting, ClusterSetting, DecisionCostSetting, SumSetting

TITLE = "Unveiling Simplicities of Attention: Adaptive Long-Context Head Identification"
paper = Paper(
    key="second_moment_scores",
    title=TITLE,
    sources=[
        Source(
            authors="Konstantin Donhauser, Charles Arnal, Mohammad Pezeshki, Vivien Cabannes, David Lopez-Paz, Kartik Ahuja",
            year=2025,
            arxiv="2502.09647",
            title=TITLE,
        ),
        Source(
            authors="Bernard Derrida",
            year=1981,
            venue="Physical Review B",
            title="Random-Energy Model: An Exactly Solvable Model of Disordered Systems",
        ),
    ],
    statements={
        1: "Some heads of language models are always local, others switch between local and long context from query to query.",
        2: "A head may be truncated to its local keys for a query iff their mass A_L is at least a share tau of A_L + A_B.",
        3: "The mass A_B of the far keys is predicted without reading them: log A_B = log n_B + m + v / 2, from the mean and "
        "covariance of keys of another text.",
        4: "The adaptive criterion labels up to 90 % of heads local with little loss on benchmarks of long context.",
        5: "A decision costs O(d^2 + |L| d), whatever the length.",
        6: "The log-sum-exp of n Gaussian scores of spread s has mean s^2 / 2 up to freezing at sqrt(2 log n), and a standard "
        "deviation sqrt((e^(s^2) - 1) / n) well below it.",
        7: "For a mixture of clusters the exact law is log sum_g w_g e^(m_g + v_g / 2); one Gaussian falls short when "
        "a rare cluster "
        "aligns with the query.",
    },
)
paper.not_testable(1, "it is about heads of trained language models, which are not part of this project")
paper.not_testable(4, "it is a result on published benchmarks of long context")

SUMS = Scales(
    smoke=SumSetting(n_keys=256, n_rows=200, n_replicas=16),
    desk=SumSetting(n_replicas=160),
    paper=SumSetting(16384, n_replicas=64),
)
BULK = Scales(
    smoke=BulkSetting(n_bulk=512, n_fit=256, half_width=0.6, n_queries=200, n_replicas=16),
    desk=BulkSetting(n_replicas=80),
    paper=BulkSetting(dim=32, n_bulk=8192, n_fit=4096),
)
CLUSTERS = Scales(smoke=ClusterSetting(n_replicas=32), desk=ClusterSetting(), paper=ClusterSetting(n_keys=2**20))
COSTS = Scales(*[DecisionCostSetting()] * 3)
paper.scales(smoke=SUMS.smoke, desk=SUMS.desk, paper=SUMS.paper)
