"""The paper, and the settings that its claims and figures share."""

from __future__ import annotations

from dataclasses import replace

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.positional_attention.gates import MatchingSetting, WindowSetting
from attnlab.simulators.positional_attention.heads import HeadsSetting, LayerSetting, UniformSetting

TITLE = "ConViT: Improving Vision Transformers with Soft Convolutional Inductive Biases"
paper = Paper(
    key="convit_gpsa",
    title=TITLE,
    sources=[
        Source(
            authors="Stéphane d'Ascoli, Hugo Touvron, Matthew Leavitt, Ari Morcos, Giulio Biroli, Levent Sagun",
            year=2021,
            arxiv="2103.10697",
            title=TITLE,
            venue="International Conference on Machine Learning",
        ),
        Source(
            authors="Jean-Baptiste Cordonnier, Andreas Loukas, Martin Jaggi",
            year=2020,
            arxiv="1911.03584",
            title="On the Relationship between Self-Attention and Convolutional Layers",
            venue="International Conference on Learning Representations",
        ),
    ],
    statements={
        1: "Positional self-attention with N heads and quadratic encodings can express any convolution with a kernel of N cells.",
        2: "Its heads are discrete Gaussians around an offset, of an inverse width alpha that measures locality.",
        3: "A gated layer mixes content and positional maps after their softmax, by a gate per head, and its rows sum to one.",
        4: "Started as a convolution, layers learn to escape locality where that is useful; first layers stay local.",
        5: "It needs fewer samples than a plain transformer, the more so the fewer there are.",
    },
)
paper.not_testable(5, "it is about accuracy on parts of ImageNet, which is not part of the laboratory")

HEADS = Scales(HeadsSetting(side=25, n_replicas=1), HeadsSetting(), HeadsSetting(side=41, n_heads=25))
EVEN = Scales(*(replace(each, n_heads=4) for each in (HEADS.smoke, HEADS.desk, HEADS.paper)))
UNIFORM = Scales(*(UniformSetting(),) * 3)
LAYERS = Scales(LayerSetting(n_replicas=8), LayerSetting(), LayerSetting(side=11, n_heads=9))
WINDOWS = Scales(
    WindowSetting(side=7, radius=1, n_steps=1_000, n_replicas=8),
    WindowSetting(side=7, radius=1),
    WindowSetting(side=11, radius=1, n_steps=10_000, n_replicas=64),
)
MATCHING = Scales(
    MatchingSetting(n_steps=8_000, n_replicas=8),
    MatchingSetting(n_steps=16_000),
    MatchingSetting(side=6, n_steps=50_000, n_replicas=32),
)
paper.scales(smoke=HEADS.smoke, desk=HEADS.desk, paper=HEADS.paper)
