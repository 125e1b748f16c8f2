"""The paper, its settings, and what its claims share."""

from __future__ import annotations

from dataclasses import replace

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.sketching.projections import CountSetting, SketchSetting, SpectrumSetting, StepSetting
from attnlab.theory.sketching.projected_softmax import published_width

TITLE = "Linformer: Self-Attention with Linear Complexity"
paper = Paper(
    key="linformer",
    title=TITLE,
    sources=[
        Source(
            authors="Sinong Wang, Belinda Z. Li, Madian Khabsa, Han Fang, Hao Ma",
            year=2020,
            arxiv="2006.04768",
            title=TITLE,
        )
    ],
    statements={
        1: "A head is softmax(Q (E K)^T / sqrt(d)) (F V), of cost O(n k).",
        2: "For any Q, K, V and any column w of the values a matrix of rank Theta(log n) is within eps |P w| of P w, with high "
        "probability: P R^T R, R of k = 5 log n / (eps^2 - eps^3) Gaussian rows.",
        3: "With E = delta R, F = e^(-delta) R and such k, projected attention is within eps of softmax attention.",
        4: "The singular values of P are skewed: few carry most of it.",
        5: "Sharing projections between heads, keys and values, and layers costs little.",
    },
)
paper.not_testable(5, "it is about pretrained language models, which are not part of this project")

ERROR = 0.5
SKETCHES = Scales(
    smoke=SketchSetting(n_draws=500, n_replicas=16), desk=SketchSetting(), paper=SketchSetting(n_draws=20_000)
)


def at_published_width(setting: SketchSetting) -> SketchSetting:
    """The setting with the width of the proof of theorem 1 at eps = 1/2."""
    return replace(setting, n_projected=published_width(setting.n_tokens, ERROR))


PUBLISHED = Scales(
    smoke=at_published_width(SketchSetting(512, n_draws=4, n_replicas=16)),
    desk=at_published_width(SketchSetting(1024, n_draws=4, n_replicas=16)),
    paper=at_published_width(SketchSetting(4096, n_draws=4, n_replicas=16)),
)
ADDITIVE = Scales(
    smoke=at_published_width(SketchSetting(256, n_values=1, n_draws=8, n_replicas=32)),
    desk=at_published_width(SketchSetting(512, n_values=1, n_draws=10, n_replicas=32)),
    paper=at_published_width(SketchSetting(4096, n_values=1, n_draws=10)),
)
STEPS = Scales(
    smoke=StepSetting(n_draws=1500, n_replicas=16), desk=StepSetting(), paper=StepSetting(1024, 256, n_draws=4000)
)
SPECTRA = Scales(
    smoke=SpectrumSetting(n_replicas=64), desk=SpectrumSetting(n_replicas=128), paper=SpectrumSetting(n_replicas=512)
)
VALUES = Scales(*[SketchSetting(n_replicas=1)] * 3)
COUNTS = Scales(*[CountSetting()] * 3)
paper.scales(smoke=SKETCHES.smoke, desk=SKETCHES.desk, paper=SKETCHES.paper)
