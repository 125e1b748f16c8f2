"""The paper, its settings, and what its claims share."""

from __future__ import annotations

from dataclasses import dataclass

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.hashing.draws import HashSetting, PairSetting
from attnlab.simulators.hashing.slopes import SlopeSetting
from attnlab.simulators.hashing.tables import TableSetting

TITLE = "You Only Sample (Almost) Once: Linear Cost Self-Attention Via Bernoulli Sampling"
paper = Paper(
    key="yoso",
    title=TITLE,
    sources=[
        Source(
            authors="Zhanpeng Zeng, Yunyang Xiong, Sathya N. Ravi, Shailesh Acharya, Glenn Fung, Vikas Singh",
            year=2021,
            arxiv="2111.09714",
            title=TITLE,
            venue="International Conference on Machine Learning",
        )
    ],
    statements={
        1: "Weights are collision probabilities (1 - theta/pi)^tau, which rise with q . k like e^(tau (q . k - 1)).",
        2: "One hash of tau bits draws all n^2 Bernoulli numbers at once, and the mean output is W V.",
        3: "The cost is O(n m d): a bucket holds only a running sum of values.",
        4: "The variance of an entry is W (1 - W) / m; it vanishes both for W -> 0 and for W -> 1.",
        5: "The slope of the weight is unbounded at q . k = 1; the surrogate (tau/2) W bounds it from "
        "below and can be sampled with "
        "the same hashes.",
        6: "Outputs are divided by their Euclidean norm instead of the sum of their weights.",
    },
)

BITS = (1, 4, 8)
OUTPUTS = Scales(
    smoke=HashSetting(n_draws=20_000, n_replicas=16),
    desk=HashSetting(n_draws=60_000),
    paper=HashSetting(n_keys=64, dim=16),
)
PAIRS = Scales(
    smoke=PairSetting(n_draws=2000, n_replicas=16), desk=PairSetting(n_draws=16_000), paper=PairSetting(n_bits=8)
)
MANY = (8, 16, 32, 64, 128)  # hashes
FALLS = Scales(
    smoke=HashSetting(n_draws=300, n_replicas=16), desk=HashSetting(n_draws=800), paper=HashSetting(n_draws=4000)
)
NORMALISED = Scales(
    smoke=HashSetting(n_bits=2, n_hashes=64, n_draws=300, n_replicas=16),
    desk=HashSetting(n_bits=2, n_hashes=64, n_draws=2000),
    paper=HashSetting(n_bits=4, n_hashes=1024, n_draws=2000),
)
TABLES = Scales(*[TableSetting()] * 3)
SLOPES = Scales(*[SlopeSetting()] * 3)
NEAR = Scales(*[SlopeSetting(inners=(1 - 1e-5, 1 - 1e-6, 1 - 1e-7, 1 - 1e-8), bits=(4,))] * 3)


@dataclass(frozen=True)
class SearchSetting:
    """``budget``: evaluations of each search over the angle."""

    budget: int = 20_000

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "budget")


SEARCHES = Scales(SearchSetting(5_000), SearchSetting(), SearchSetting())
paper.scales(smoke=OUTPUTS.smoke, desk=OUTPUTS.desk, paper=OUTPUTS.paper)
