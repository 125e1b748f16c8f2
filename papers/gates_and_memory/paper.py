"""Gates, decay and memories of fixed size: sources, statements and settings.

Letters: N pairs in a memory, s the spread of keys, g the gain of a needle, q the factor of an average per token, L layers.
"""

from __future__ import annotations

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.gates_and_memory.memories import NeedleSetting, RecallSetting, RepeatSetting, SegmentSetting
from attnlab.simulators.gates_and_memory.mixers import (
    AverageSetting,
    CopySetting,
    ExtractSetting,
    FadingSetting,
    FilterSetting,
    NeighbourSetting,
)

paper = Paper(
    key="gates_and_memory",
    title="Gates, decay and memories of fixed size",
    sources=[
        Source(
            authors="Tsendsuren Munkhdalai, Manaal Faruqui, Siddharth Gopal",
            title="Leave No Context Behind: Efficient Infinite Context Transformers with Infini-attention",
            year=2024,
            arxiv="2404.07143",
        ),
        Source(
            authors="Xuezhe Ma, Chunting Zhou, Xiang Kong, Junxian He, Liangke Gui, Graham Neubig, Jonathan May, "
            "Luke Zettlemoyer",
            title="Mega: Moving Average Equipped Gated Attention",
            year=2022,
            arxiv="2209.10655",
        ),
        Source(
            authors="Shaohua Wu et al.",
            title="YUAN 2.0: A Large Language Model with Localized Filtering-based Attention",
            year=2023,
            arxiv="2311.15786",
        ),
        Source(authors="Kalle Hilsenbek", title="Breaking the Attention Bottleneck", year=2024, arxiv="2406.10906"),
        Source(authors="Zhe Chen", title="Attention Is Not All You Need Anymore", year=2023, arxiv="2308.07661"),
    ],
    statements={
        1: "Infini-attention's memory is linear attention over all earlier segments and none of the current one; with its gate "
        "shut it is attention within segments.",
        2: "A stored pair weighs g(s)/N in the memory of N pairs, g < pi: no scaling of queries and keys sharpens it further.",
        3: "Recall by the nearest value needs N ln N below (g - 1)^2 d_v / 4 and wide keys.",
        4: "With the delta update a pair written once per segment is read with half its value from the second write on.",
        5: "Within a segment all differences use the same old memory: a pair twice in one segment is written twice.",
        6: "Mega's damped average is a convolution with the taps h^-1/2 sum_h gamma p beta q^l, q = 1 - p delta.",
        7: "Half-lives are ln 2/(-ln q), 2.41 tokens at the start; across chunks influence falls as q to the distance.",
        8: "Localized filters see three tokens through taps of rank D/2, D, D/2.",
        9: "One filtered layer copies what followed the same letter, or the same two letters; no unfiltered one does.",
        10: "Layers of token and predecessor see L + 1 tokens.",
        11: "With a running mean all far tokens enter alike, at 1/t of the mean's effect.",
        12: "On a chain of order m the loss reaches the entropy rate iff L + 1 >= m.",
        13: "Extractors are linear in the past.",
        14: "The factor 1/sqrt t keeps the variance for independent tokens; it grows as 1 + rho (t - 1) for correlated ones.",
    },
)
paper.not_testable(
    12, "needs trained layers; what they can see is claim fields_of_neighbours, and no layer uses what it cannot see"
)

NEEDLES = Scales(
    smoke=NeedleSetting(n_draws=20), desk=NeedleSetting(n_draws=50), paper=NeedleSetting(1.0, 1024, 1024, 100, 64)
)
RECALLS = Scales(
    smoke=RecallSetting(n_draws=150),
    desk=RecallSetting(),
    paper=RecallSetting(16, 128, 1024, n_draws=2000, n_replicas=64),
)
SEGMENTS = Scales(*(SegmentSetting(),) * 3)
REPEATS = Scales(*(RepeatSetting(),) * 3)
AVERAGES = Scales(*(AverageSetting(),) * 3)
FADINGS = Scales(*(FadingSetting(),) * 3)
FILTERS = Scales(*(FilterSetting(),) * 3)
COPIES = Scales(*(CopySetting(),) * 3)
NEIGHBOURS = Scales(*(NeighbourSetting(),) * 3)
EXTRACTS = Scales(
    smoke=ExtractSetting(n_draws=6400), desk=ExtractSetting(n_draws=10_000), paper=ExtractSetting(n_draws=40_000)
)
