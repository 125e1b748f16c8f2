"""The papers, their settings, and what their claims share."""

from __future__ import annotations

from dataclasses import dataclass, replace

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.score_maps.idle import IdleSetting, RestSetting
from attnlab.simulators.score_maps.random_rows import HullSetting, LengthSetting, NothingSetting, RowSetting
from attnlab.simulators.score_maps.rules import RuleSetting

paper = Paper(
    key="normalisers",
    title="Attention normalisers beyond softmax",
    sources=[
        Source(
            authors="Bo Gao, Michael W. Spratling",
            year=2025,
            arxiv="2501.13428",
            title="Softplus Attention with Re-weighting Boosts Length Extrapolation in Large Language Models",
        ),
        Source(
            authors="Oliver Richter, Roger Wattenhofer",
            year=2020,
            arxiv="2005.09561",
            title="Normalized Attention Without Probability Cage",
        ),
        Source(
            authors="Zayd M. K. Zuhri and others",
            year=2025,
            arxiv="2504.20966",
            title="Softpick: No Attention Sink, No Massive Activations with Rectified Softmax",
        ),
        Source(
            authors="Yelysei Bondarenko, Markus Nagel, Tijmen Blankevoort",
            year=2023,
            arxiv="2306.12929",
            title="Quantizable Transformers: Removing Outliers by Helping Attention Heads Do Nothing",
        ),
        Source(
            authors="Biao Zhang, Ivan Titov, Rico Sennrich",
            year=2021,
            arxiv="2104.07012",
            title="Sparse Attention with Linear Units",
        ),
        Source(
            authors="Ang Lv and others",
            year=2024,
            arxiv="2411.07176",
            title="More Expressive Attention with Negative Weights",
        ),
        Source(
            authors="Zhixuan Lin and others",
            year=2025,
            arxiv="2503.02130",
            title="Forgetting Transformer: Softmax Attention with a Forget Gate",
        ),
    ],
    statements={
        1: "Softmax is a positive map followed by l1 normalisation; softplus is another positive map, a scale that grows with "
        "the length "
        "keeps the entropy of its rows constant, and a power re-weighting sharpens them.",
        2: "Standardised scores leave the convex hull of the values; at initialisation the output of softmax is n^(-1/2) of a "
        "value and "
        "that of standardised scores is not.",
        3: "Softpick is rectified and its rows do not sum to one: no sink is needed, and half of the weights vanish at "
        "symmetric scores.",
        4: "Clipped softmax and gated attention let a head do nothing at finite scores.",
        5: "Rectified scores with a norm on the output are sparse, and a row can attend to nothing.",
        6: "Signed weights sign(s) softmax(|s|): a head can add a value or take it away.",
        7: "A forget gate that depends on the data is an additive bias of the scores, fit for blockwise kernels; a constant "
        "one is ALiBi.",
        8: "Gradients, blockwise passes and statistics of rows at independent Gaussian scores have closed forms.",
    },
)

ROWS = Scales(smoke=RowSetting(n_rows=25, n_replicas=16), desk=RowSetting(n_replicas=96), paper=RowSetting(16384))
_SUMS = RowSetting(256, n_rows=2000, maps=("signed",))
SUMS = Scales(
    smoke=replace(_SUMS, n_replicas=16), desk=replace(_SUMS, n_replicas=96), paper=replace(_SUMS, n_rows=40_000)
)
HULL = Scales(smoke=HullSetting(n_replicas=16), desk=HullSetting(), paper=HullSetting(64))
LENGTHS = Scales(
    smoke=LengthSetting(n_replicas=16, n_rows=32),
    desk=LengthSetting(n_rows=48),
    paper=LengthSetting(dim=64, lengths=(1024, 4096, 16384)),
)
NOTHING = Scales(
    smoke=NothingSetting(n_replicas=16), desk=NothingSetting(n_replicas=256), paper=NothingSetting(n_rows=200_000)
)
_IDLE = IdleSetting()
IDLE = Scales(*[_IDLE] * 3)
CLIPPED = Scales(*[IdleSetting(score="clipped", step=0.5)] * 3)
RESTS = Scales(*[RestSetting()] * 3)
RULES = Scales(*[RuleSetting()] * 3)


@dataclass(frozen=True)
class SearchSetting:
    """``budget``: evaluations of each search over rows of four scores."""

    budget: int = 20_000

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "budget")


SEARCHES = Scales(SearchSetting(5_000), SearchSetting(), SearchSetting())
paper.scales(smoke=ROWS.smoke, desk=ROWS.desk, paper=ROWS.paper)
