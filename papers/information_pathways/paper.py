"""The paper, its settings, and what its claims share."""

from __future__ import annotations

from dataclasses import replace

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.subsampling.blocks import BlockSetting, CostSetting
from attnlab.simulators.subsampling.subsets import ListedSetting, LocalSetting, SubsetSetting

TITLE = "The Information Pathways Hypothesis: Transformers are Dynamic Self-Ensembles"
paper = Paper(
    key="information_pathways",
    title=TITLE,
    sources=[Source(authors="Md Shamim Hussain and others", year=2023, arxiv="2306.01705", title=TITLE)],
    statements={
        1: "Between two tokens there are about n^(l-1) paths through l layers; random subsets keep a share c^(-l) of them.",
        2: "Every query attends to a random subset of n/c keys, drawn anew in every layer, with softmax over the subset; the "
        "cost "
        "of attention falls by c.",
        3: "The unbiased scheme takes uniform subsets (permuted tokens in c equal blocks), the locally biased one favours near "
        "tokens.",
        4: "A short dense training at the end removes the mismatch between training on subsets and attending to all keys.",
        5: "Averages over many sampled sub-networks (about 50) beat the dense model; a few samples already help.",
    },
)

ROW = SubsetSetting(n_keys=1024)
ROWS = Scales(smoke=replace(ROW, n_replicas=16), desk=replace(ROW, n_replicas=80), paper=replace(ROW, n_draws=16384))
MANY = SubsetSetting(n_draws=8192, ensembles=(1, 4, 256, 1024))  # few keys, as the bias is of order 1/n
ENSEMBLES = Scales(smoke=replace(MANY, n_replicas=16), desk=MANY, paper=replace(MANY, n_draws=65536))
PEAK = Scales(*[replace(ROW, n_keys=64, n_draws=8192, n_replicas=n) for n in (16, 64, 128)])
WIDE = Scales(
    smoke=replace(ROW, n_keys=512, reduction=16, n_draws=512, n_replicas=16),
    desk=replace(ROW, n_keys=512, reduction=16, n_draws=512),
    paper=replace(ROW, n_keys=512, reduction=16, n_draws=8192),
)
_LISTED = ListedSetting(spread=0.15)
LISTED = Scales(_LISTED, _LISTED, replace(_LISTED, n_keys=20))
BLOCKS = Scales(
    smoke=BlockSetting(64, 8, n_draws=100, n_replicas=16),
    desk=BlockSetting(64, 8, n_draws=100),
    paper=BlockSetting(256, 8, n_draws=500),
)
LOCAL = Scales(smoke=LocalSetting(n_replicas=16), desk=LocalSetting(), paper=LocalSetting(n_draws=40_000))
COSTS = Scales(*[CostSetting()] * 3)
paper.scales(smoke=ROWS.smoke, desk=ROWS.desk, paper=ROWS.paper)
