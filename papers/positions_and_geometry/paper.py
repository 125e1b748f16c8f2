"""Positions and geometry: sources, statements and settings.

Letters: m reach of a table, b bonus of a score, L trained length, w window, g an element of a group, kappa concentration.
"""

from __future__ import annotations

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.positional_attention.geometry import CloudSetting, FrameSetting, SphereSetting
from attnlab.simulators.positional_attention.places import (
    AlternationSetting,
    OffsetSetting,
    ScoreSetting,
    ShiftSetting,
    WaveSetting,
)

paper = Paper(
    key="positions_and_geometry",
    title="Positions and geometry",
    sources=[
        Source(
            authors="Peter Shaw, Jakob Uszkoreit, Ashish Vaswani",
            title="Self-Attention with Relative Position Representations",
            year=2018,
            arxiv="1803.02155",
        ),
        Source(
            authors="Pengcheng He, Xiaodong Liu, Jianfeng Gao, Weizhu Chen",
            title="DeBERTa: Decoding-enhanced BERT with Disentangled Attention",
            year=2021,
            arxiv="2006.03654",
        ),
        Source(
            authors="Ermo Hua et al.",
            title="Fourier Position Embedding: Enhancing Attention's Periodic Extension for Length Generalization",
            year=2024,
            arxiv="2412.17739",
        ),
        Source(
            authors="Bowen Yang et al.",
            title="Rope to Nope and Back Again: A New Hybrid Attention Strategy",
            year=2025,
            arxiv="2501.18795",
        ),
        Source(
            authors="Takeru Miyato et al.",
            title="GTA: A Geometry-Aware Attention Mechanism for Multi-View Transformers",
            year=2024,
            arxiv="2310.10375",
        ),
        Source(authors="Boris Bonev et al.", title="Attention on the Sphere", year=2025, arxiv="2505.11157"),
        Source(
            authors="Matthew Spellings",
            title="Geometric Algebra Attention Networks for Small Point Clouds",
            year=2021,
            arxiv="2110.02393",
        ),
    ],
    statements={
        1: "A table of offsets, gathered, is a vector per pair; beyond its reach order is invisible and k near keys with "
        "bonus b hold "
        "k e^b/(k e^b + n - k).",
        2: "Disentangled scores have variance 1; without positions they are dot products over sqrt(3 d).",
        3: "Of d/2 rotary frequencies d/2 - ceil((d/2) ln(L/2pi)/ln theta) make less than one period on L tokens.",
        4: "What a fit of a score profile does beyond its range is decided by the slow frequencies and the regularisation.",
        5: "Pairs without a frequency count 2 q.k; with a gain scores are no function of i - j.",
        6: "A stack of alternating layers keeps 1/4 + (3/4) w/n of the cache, its windowed layers see L (w - 1) + 1 tokens.",
        7: "A needle of gap D holds half until n = 1 + e^D in a layer without positions, at most 1 + e^{2g} with unit "
        "queries and keys.",
        8: "Transported attention is invariant under a change of frame g_i to h g_i.",
        9: "Scores of transported Gaussian queries and keys grow with the relative translation as 1 + |t|^2.",
        10: "Weighted attention on the sphere is the integral: its response is coth kappa - 1/kappa; without weights the "
        "mean of z^2 is "
        "1/2 for 1/3.",
        11: "Outputs of geometric algebra attention turn with the cloud; pairs cannot tell a cloud from its mirror image, "
        "triples can.",
        12: "Trained models generalise in length according to these floors, windows and tables.",
    },
)
paper.not_testable(
    12, "needs trained models; the operators alone decide what cannot generalise, which claims 1 and 4 to 7 judge"
)

OFFSETS = Scales(*(OffsetSetting(),) * 3)
SCORES = Scales(smoke=ScoreSetting(), desk=ScoreSetting(n_replicas=2048), paper=ScoreSetting(256, 64, 64))
WAVES = Scales(
    smoke=WaveSetting(n_draws=100),
    desk=WaveSetting(n_draws=1000, n_replicas=768),
    paper=WaveSetting(n_draws=4000, n_replicas=64),
)
SHIFTS = Scales(*(ShiftSetting(),) * 3)
ALTERNATIONS = Scales(*(AlternationSetting(),) * 3)
FRAMES = Scales(
    smoke=FrameSetting(n_draws=6000),
    desk=FrameSetting(n_replicas=216),
    paper=FrameSetting(n_draws=40_000, n_replicas=64),
)
SPHERES = Scales(*(SphereSetting(),) * 3)
CLOUDS = Scales(*(CloudSetting(),) * 3)
