"""Patterns that do not look at content: sources, statements and settings.

Letters: k cells of a window, L layers, b cells of a block, h of a halo, f thinning factor, s spread of scores or cells of a pool.
"""

from __future__ import annotations

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.fixed_patterns.maps import EnergySetting, NormSetting, RegionSetting, SharedMapSetting
from attnlab.simulators.fixed_patterns.masks import DecaySetting, HaloSetting, StrideSetting, WaveSetting
from attnlab.simulators.fixed_patterns.stacks import CellSetting, CombSetting, ScaleSetting

paper = Paper(
    key="fixed_patterns",
    title="Patterns that do not look at content",
    sources=[
        Source(
            authors="Charles Condevaux, Sébastien Harispe",
            title="LSG Attention: Extrapolation of Pretrained Transformers to Long Sequences",
            year=2022,
            arxiv="2210.15497",
        ),
        Source(
            authors="Yixing Xu et al.",
            title="MSWA: Refining Local Attention with Multi-Scale Window Attention",
            year=2025,
            arxiv="2501.01039",
        ),
        Source(
            authors="Ali Hassani, Steven Walton, Jiachen Li, Shen Li, Humphrey Shi",
            title="Neighborhood Attention Transformer",
            year=2023,
            arxiv="2204.07143",
        ),
        Source(
            authors="Ali Hassani, Humphrey Shi",
            title="Dilated Neighborhood Attention Transformer",
            year=2022,
            arxiv="2209.15001",
        ),
        Source(
            authors="Ashish Vaswani, Prajit Ramachandran, Aravind Srinivas, Niki Parmar, Blake Hechtman, Jonathon Shlens",
            title="Scaling Local Self-Attention for Parameter Efficient Visual Backbones",
            year=2021,
            arxiv="2103.12731",
        ),
        Source(
            authors="Zizheng Pan, Jianfei Cai, Bohan Zhuang",
            title="Fast Vision Transformers with HiLo Attention",
            year=2022,
            arxiv="2205.13213",
        ),
        Source(
            authors="Xianming Li et al.",
            title="Recurrent Attention Networks for Long-text Modeling",
            year=2023,
            arxiv="2306.06843",
        ),
        Source(
            authors="Hongyu Ren, Hanjun Dai, Zihang Dai, Mengjiao Yang, Jure Leskovec, Dale Schuurmans, Bo Dai",
            title="Combiner: Full Attention Transformer with Sparse Computation Cost",
            year=2021,
            arxiv="2107.05768",
        ),
        Source(
            authors="Laura Nguyen et al.",
            title="Skim-Attention: Learning to Focus via Document Layout",
            year=2021,
            arxiv="2109.01078",
        ),
    ],
    statements={
        1: "Offsets that a stack reaches, and over how many paths, are those of the product of its layers' offsets; steps 1, k, "
        "k^2, ... reach k^L offsets by one path each.",
        2: "Receptive fields of neighbourhoods grow by k - 1 per layer; their influence is narrower.",
        3: "A causal window keeps the mass of near keys when weights fall with distance.",
        4: "LSG's sparse keys stand for what lies beyond the local blocks, at 5 b + g keys per query.",
        5: "LSG chooses sparse keys by their norm.",
        6: "Multi-scale windows see farther than equal ones at 7/8 of the cost.",
        7: "Blocks with halos see a neighbourhood at the cost (1 + 2h/b)^2.",
        8: "HiLo's pooled branch is a low pass, its windowed branch passes high frequencies.",
        9: "A recurrent attention network passes its windows on through a cell, and reviews all cells.",
        10: "Combiner has full support and is full attention on structured inputs.",
        11: "Skim attention makes one map from the layout for all layers and texts.",
        12: "Trained stacks copy up to their reach, not from holes of a schedule, and not by content through a fixed map.",
    },
)
paper.not_testable(
    12, "needs trained stacks; the masks alone decide what cannot be copied, and claims 1, 2 and 6 judge those"
)

COMBS = Scales(*(CombSetting(),) * 3)
SCALES = Scales(
    smoke=ScaleSetting(), desk=ScaleSetting(window=32, n_layers=8), paper=ScaleSetting(window=64, n_layers=8)
)
DECAYS = Scales(*(DecaySetting(),) * 3)
STRIDES = Scales(*(StrideSetting(),) * 3)
NORMS = Scales(
    smoke=NormSetting(n_draws=8, n_replicas=16),
    desk=NormSetting(n_draws=64, n_replicas=96),
    paper=NormSetting(n_draws=256, n_replicas=256),
)
HALOS = Scales(*(HaloSetting(),) * 3)
WAVES = Scales(*(WaveSetting(),) * 3)
ENERGIES = Scales(
    smoke=EnergySetting(n_draws=40_000), desk=EnergySetting(n_draws=100_000, n_replicas=32),
    paper=EnergySetting(n_draws=400_000, n_replicas=64),
)  # fmt: skip
CELLS = Scales(smoke=CellSetting(n_replicas=4), desk=CellSetting(n_replicas=16), paper=CellSetting(n_replicas=64))
REGIONS = Scales(
    smoke=RegionSetting(n_regions=16, n_replicas=32),
    desk=RegionSetting(n_replicas=96),
    paper=RegionSetting(n_replicas=512),
)
SHARED = Scales(
    smoke=SharedMapSetting(n_tokens=300), desk=SharedMapSetting(n_tokens=1000, n_replicas=24),
    paper=SharedMapSetting(n_tokens=1600, n_replicas=32),
)  # fmt: skip
