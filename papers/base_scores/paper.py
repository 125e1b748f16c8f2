"""The scores that attention began with: dot product, Luong, pointers, several sources, location-relative maps, routing.

Letters: n keys of width d, W_j the weights of a row, s the spread of its scores, v the read-out of an additive score.
"""

from __future__ import annotations

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.base_scores.dynamics import AdditiveSetting, RoutingSetting, WalkSetting
from attnlab.simulators.base_scores.planted import BellSetting, PointerSetting, SourcesSetting, WindowSetting
from attnlab.simulators.base_scores.rows import RowsSetting

paper = Paper(
    key="base_scores",
    title="The scores that attention began with",
    sources=[
        Source(
            authors="Ashish Vaswani, Noam Shazeer, Niki Parmar, Jakob Uszkoreit, Llion Jones, Aidan N. Gomez, Lukasz Kaiser, "
            "Illia Polosukhin",
            title="Attention Is All You Need",
            year=2017,
            arxiv="1706.03762",
        ),
        Source(
            authors="Minh-Thang Luong, Hieu Pham, Christopher D. Manning",
            title="Effective Approaches to Attention-based Neural Machine Translation",
            year=2015,
            arxiv="1508.04025",
        ),
        Source(
            authors="Oriol Vinyals, Meire Fortunato, Navdeep Jaitly",
            title="Pointer Networks",
            year=2015,
            arxiv="1506.03134",
        ),
        Source(
            authors="Jindřich Libovický, Jindřich Helcl",
            title="Attention Strategies for Multi-Source Sequence-to-Sequence Learning",
            year=2017,
            arxiv="1704.06567",
        ),
        Source(
            authors="Eric Battenberg, RJ Skerry-Ryan, Soroosh Mariooryad, Daisy Stanton, David Kao, Matt Shannon, Tom Bagby",
            title="Location-Relative Attention Mechanisms for Robust Long-Form Speech Synthesis",
            year=2020,
            arxiv="1910.10288",
        ),
        Source(
            authors="Deunsol Yoon, Dongbok Lee, SangKeun Lee",
            title="Dynamic Self-Attention: Computing Attention over Words Dynamically for Sentence Embedding",
            year=2018,
            arxiv="1808.07383",
        ),
    ],
    statements={
        1: "Dot products of unit Gaussian queries and keys have standard deviation sqrt(d); divided by it, rows of softmax "
        "stay spread over many keys.",
        2: "Without the division softmax is pushed to a few keys from the start.",
        3: "Local attention weighs a window around a predicted centre by a Gaussian that is not normalised again.",
        4: "Additive (concat) scores of queries and keys select by content.",
        5: "A pointer network's output distribution is a softmax over its inputs, of any number.",
        6: "Sources can be combined by one softmax over all their keys, or hierarchically by a second one.",
        7: "Location-relative mixtures are normalised by the area of their bells.",
        8: "Location-relative attention generalises to lengths never seen.",
        9: "Routing sharpens its weights with the number of rounds.",
    },
)

ROWS = Scales(
    smoke=RowsSetting(n_keys=1024, n_rows=16, n_replicas=16),
    desk=RowsSetting(n_rows=64, n_replicas=48),
    paper=RowsSetting(n_keys=16_384, n_rows=64, n_replicas=128),
)
FROZEN = Scales(
    smoke=RowsSetting(dim=64, n_keys=1024, divided=False, n_rows=256, n_replicas=48),
    desk=RowsSetting(dim=64, n_keys=1024, divided=False, n_rows=256, n_replicas=128),
    paper=RowsSetting(dim=64, n_keys=1024, divided=False, n_rows=1024, n_replicas=512),
)
WINDOWS = Scales(*(WindowSetting(),) * 3)
POINTERS = Scales(smoke=PointerSetting(n_draws=5), desk=PointerSetting(n_draws=10), paper=PointerSetting(n_draws=500))
SOURCES = Scales(*(SourcesSetting(),) * 3)
BELLS = Scales(*(BellSetting(),) * 3)
ADDITIVE = Scales(
    smoke=AdditiveSetting(n_tokens=128, hidden=32, n_replicas=32),
    desk=AdditiveSetting(n_tokens=192, hidden=64, n_replicas=48),
    paper=AdditiveSetting(n_tokens=800, hidden=64, n_replicas=256),
)
WALKS = Scales(
    smoke=WalkSetting(n_walks=500, n_replicas=16), desk=WalkSetting(n_walks=1000, n_replicas=32),
    paper=WalkSetting(n_walks=20_000, n_replicas=64),
)  # fmt: skip
ROUTING = Scales(
    smoke=RoutingSetting(n_replicas=16, log_gaps=(-100.0, -600.0)),
    desk=RoutingSetting(n_replicas=16, log_gaps=(-200.0, -1200.0)),
    paper=RoutingSetting(n_replicas=128, log_gaps=(-400.0, -8000.0)),
)
