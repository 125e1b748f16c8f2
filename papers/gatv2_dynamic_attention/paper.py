"""The paper, and the settings that its claims and figures share."""

from __future__ import annotations

from dataclasses import dataclass, replace

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.graph_attention.answers import AnswersSetting
from attnlab.simulators.graph_attention.constructions import HatsSetting, StaticLookupSetting, UnitsSetting
from attnlab.simulators.graph_attention.lookup import LookupSetting
from attnlab.simulators.graph_attention.maps import MapsSetting

TITLE = "How Attentive are Graph Attention Networks?"
paper = Paper(
    key="gatv2_dynamic_attention",
    title=TITLE,
    sources=[
        Source(
            authors="Shaked Brody, Uri Alon, Eran Yahav",
            year=2022,
            arxiv="2105.14491",
            title=TITLE,
            venue="International Conference on Learning Representations",
        ),
        Source(
            authors="Petar Velickovic, Guillem Cucurull, Arantxa Casanova, Adriana Romero, Pietro Lio, Yoshua Bengio",
            year=2018,
            arxiv="1710.10903",
            title="Graph Attention Networks",
            venue="International Conference on Learning Representations",
        ),
    ],
    statements={
        1: "GAT computes static attention only: all queries rank the keys alike.",
        2: "GATv2 computes dynamic attention: every map from queries to keys is reached by some parameters.",
        3: "Dot-product attention depends on the query, but does not reach all maps; GATv2 is more expressive than GAT.",
        4: "GAT cannot fit even the training set of DictionaryLookup, GATv2 with a single head reaches 100 % on "
        "training and test; several heads help GAT only partially.",
        5: "GATv2 is more robust to noise edges, and better on most benchmarks.",
    },
)
paper.not_testable(5, "it is about graph benchmarks, which are not part of the laboratory")


@dataclass(frozen=True)
class ForAllSetting:
    """``budget``: evaluations of each search; ``dim``: width of the nodes."""

    dim: int = 3
    budget: int = 20_000

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "dim", "budget")


FOR_ALL = Scales(ForAllSetting(budget=5_000), ForAllSetting(), ForAllSetting(dim=8))
LOOKUP = Scales(StaticLookupSetting(n_words=5, n_replicas=8), StaticLookupSetting(), StaticLookupSetting(n_words=7))
ANSWERS = Scales(AnswersSetting(n_draws=500), AnswersSetting(), AnswersSetting(n_words=8, n_draws=20_000))
UNITS = Scales(*(UnitsSetting(),) * 3)
HATS = Scales(HatsSetting(n_nodes=4), HatsSetting(), HatsSetting(n_nodes=6))
MAPS = Scales(MapsSetting(n_nodes=3), MapsSetting(), MapsSetting(n_nodes=5))
TRAINED = LookupSetting(n_words=5, dim=32, n_steps=1_500, n_replicas=16)
TRAINING = paper.scales(
    smoke=replace(TRAINED, n_words=4, n_steps=500),
    desk=TRAINED,
    paper=replace(TRAINED, n_words=7, dim=128, learning_rate=0.001, n_steps=20_000, n_replicas=32),
)
MANY = Scales(TRAINING.smoke, replace(TRAINED, n_replicas=64), replace(TRAINED, n_replicas=256))
