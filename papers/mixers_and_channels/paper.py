"""Attention-like mixers and channel gates: sources, statements and settings.

Letters: b a threshold, r half width of a kernel, k taps of a band, w_l taps of the truth, A amplitude of a pattern.
"""

from __future__ import annotations

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.mixers_and_channels.grids import BandSetting, CosineSetting, SupportSetting, WaveSetting

paper = Paper(
    key="mixers_and_channels",
    title="Attention-like mixers and channel gates",
    sources=[
        Source(
            authors="Jacob Fein-Ashley",
            title="The FFT Strikes Back: An Efficient Alternative to Self-Attention",
            year=2025,
            arxiv="2502.18394",
        ),
        Source(
            authors="Chenghao Li et al.",
            title="LKCA: Large Kernel Convolutional Attention",
            year=2024,
            arxiv="2401.05738",
        ),
        Source(authors="Meng-Hao Guo et al.", title="Visual Attention Network", year=2022, arxiv="2202.09741"),
        Source(
            authors="Harvie Zhang",
            title="HyperZ.Z.W Operator Connects Slow-Fast Networks for Full Context Interaction",
            year=2024,
            arxiv="2401.17948",
        ),
        Source(
            authors="Qilong Wang, Banggu Wu, Pengfei Zhu, Peihua Li, Wangmeng Zuo, Qinghua Hu",
            title="ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks",
            year=2020,
            arxiv="1910.03151",
        ),
        Source(
            authors="Zequn Qin, Pengyi Zhang, Fei Wu, Xi Li",
            title="FcaNet: Frequency Channel Attention Networks",
            year=2021,
            arxiv="2012.11879",
        ),
    ],
    statements={
        1: "The Fourier mixer is equivariant under circular shifts, with modReLU and with its filter that looks; without "
        "both it is a "
        "circular convolution.",
        2: "A threshold b zeroes 1 - exp(-b^2/s^2) of the frequencies of white tokens under the orthonormal transform.",
        3: "A large kernel is one block Toeplitz map of generic full rank for all inputs; ((H (2 r + 1) - r (r + 1))/H^2)^2 "
        "of its entries "
        "are not zero.",
        4: "The gate with kernels of 5 and 7 cells, steps of 3, sees 23 cells per side, all of them, and is of degree 2.",
        5: "An output of the hyper-kernel depends on a column, of its first version on a cross; the first is of degree 2, "
        "the present linear.",
        6: "A band of k taps explains sum_{|l| <= (k-1)/2} w_l^2/sum w_l^2 of the gate's logits, after a shuffle of "
        "channels w_0^2/sum "
        "w_l^2 for every k.",
        7: "A pattern of amplitude A has the coefficient A sqrt(HW)/2 in its own filter, none in the mean; it is told from "
        "noise with AUC "
        "Phi(A sqrt(HW)/(2 sqrt 2 s)).",
        8: "A dense kernel of 23 x 23 cells is fitted by the two kernels to a quarter of its energy.",
        9: "The published number of taps is 3 for 16 to 64 channels, 5 to 1024, then 7.",
    },
)
paper.not_testable(8, "the quarter is a fit of a bilinear family, of which no law is known to us")
paper.not_testable(9, "a convention; the table is a test of theory.mixers_and_channels.channel_band")

WAVES = Scales(
    smoke=WaveSetting(), desk=WaveSetting(n_tokens=2048, n_replicas=96), paper=WaveSetting(n_tokens=4096, n_replicas=64)
)
SUPPORTS = Scales(*(SupportSetting(),) * 3)
BANDS = Scales(
    smoke=BandSetting(n_samples=100),
    desk=BandSetting(n_channels=1024),
    paper=BandSetting(n_channels=1024, n_samples=1000, n_replicas=64),
)
COSINES = Scales(
    smoke=CosineSetting(), desk=CosineSetting(n_replicas=288), paper=CosineSetting(n_draws=20_000, n_replicas=64)
)
