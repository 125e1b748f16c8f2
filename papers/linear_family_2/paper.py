"""Linear, low-rank and bottleneck attention, second part: sources, statements and settings.

Letters: n tokens, d width of a head, m mediators, L latents, T timescale, r slots, G a global query.
"""

from __future__ import annotations

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.linear_variants.gates import BranchSetting, GateSetting, GlobalSetting, SlotSetting
from attnlab.simulators.linear_variants.maps import (
    BottleneckSetting,
    LatentSetting,
    MediatorSetting,
    ParabolaSetting,
    RectifiedSetting,
    RowSetting,
)

paper = Paper(
    key="linear_family_2",
    title="Linear, low-rank and bottleneck attention, second part",
    sources=[
        Source(
            authors="Tobias Christian Nauen, Sebastian Palacio, Andreas Dengel",
            title="TaylorShift: Shifting the Complexity of Self-Attention from Squared to Linear (and Back) using Taylor-Softmax",
            year=2024,
            arxiv="2403.02920",
        ),
        Source(
            authors="Dongchen Han et al.",
            title="Agent Attention: On the Integration of Softmax and Linear Attention",
            year=2024,
            arxiv="2312.08874",
        ),
        Source(
            authors="Rares Dolga et al.",
            title="Latte: Latent Attention for Linear Time Transformers",
            year=2024,
            arxiv="2402.17512",
        ),
        Source(
            authors="Andrew Jaegle et al.",
            title="Perceiver: General Perception with Iterative Attention",
            year=2021,
            arxiv="2103.03206",
        ),
        Source(
            authors="Chuanyang Zheng",
            title="The Linear Attention Resurrection in Vision Transformer",
            year=2025,
            arxiv="2501.16182",
        ),
        Source(authors="Peng Lu et al.", title="ReGLA: Refining Gated Linear Attention", year=2025, arxiv="2502.01578"),
        Source(
            authors="Jun Zhang et al.", title="Linear Attention via Orthogonal Memory", year=2023, arxiv="2312.11135"
        ),
        Source(
            authors="Zicheng Liu et al.",
            title="Short-Long Convolutions Help Hardware-Efficient Linear Attention to Focus on Long Sequences",
            year=2024,
            arxiv="2406.08128",
        ),
        Source(
            authors="Abdelrahman Shaker et al.",
            title="SwiftFormer: Efficient Additive Attention for Transformer-based Real-time Mobile Vision Applications",
            year=2023,
            arxiv="2303.15446",
        ),
        Source(
            authors="Subhajit Maity et al.",
            title="Kolmogorov-Arnold Attention: Is Learnable Attention Better For Vision Transformers?",
            year=2025,
            arxiv="2503.10632",
        ),
    ],
    statements={
        1: "TaylorShift's direct and linear forms are one; its map has rank (d+1)(d+2)/2.",
        2: "An aligned key never outweighs an opposite one by more than (1 + sqrt 2)^2.",
        3: "Half of the mass on one key among n - 1 of cosine 0 needs the temperature -1 + sqrt(1 + 2 (n - 2)), softmax "
        "ln(n - 1).",
        4: "The map through m mediators has |1 - P|^2 >= n - m, no weight above the largest of collecting, and Dobrushin "
        "coefficients that multiply.",
        5: "Causal latent attention weighs the newest of t exchangeable tokens 1/t on average; blocks below the diagonal "
        "have rank L.",
        6: "M latents that read n tokens R times leave a share 1 - min(1, R M/n) of independent values unexplained.",
        7: "L2ViT's rows have n E P^2 - 1 = pi (pi - 1)/d.",
        8: "Its clamp scales short sequences down to row sums tau n d/(200 pi).",
        9: "Its module reaches (2 k - 1)^2 cells.",
        10: "The refined gate reaches a timescale at half the logit, with at most twice the gradient.",
        11: "Without the output norm the state's variance is (1 - g^2t)/(1 - g^2).",
        12: "Orthogonal slots know the mean of a context alone, lose 1 - r/d of an isotropic one, and show a marked token for "
        "t < |b.x|/s tokens.",
        13: "Parallel linear branches are one kernel, by direct sums or by the Fourier transform.",
        14: "Chunked linear attention costs C (d_k + d_v)/2 + 2 d_k d_v multiply-adds per token.",
        15: "SwiftFormer's global query is a step of power iteration and grows like sqrt(n/D).",
        16: "Learned rows have rank r; on a whole period e^x is fitted with a relative squared error .634/G only.",
    },
)
paper.not_testable(
    14, "counted multiply-adds are held against the formula by the one test of the atlas; a time is not a law"
)

PARABOLAS = Scales(smoke=ParabolaSetting(n_replicas=4), desk=ParabolaSetting(), paper=ParabolaSetting(8, 128))
MEDIATORS = Scales(*(MediatorSetting(),) * 3)
LATENTS = Scales(
    smoke=LatentSetting(n_draws=10_000),
    desk=LatentSetting(n_draws=10_000, n_replicas=96),
    paper=LatentSetting(n_draws=40_000, n_replicas=64),
)
BOTTLENECKS = Scales(*(BottleneckSetting(),) * 3)
RECTIFIED = Scales(
    smoke=RectifiedSetting(n_keys=300, n_draws=60),
    desk=RectifiedSetting(n_keys=2000, n_replicas=256),
    paper=RectifiedSetting(128, 2000, 4, 400, 64),
)
GATES = Scales(*(GateSetting(),) * 3)
SLOTS = Scales(
    smoke=SlotSetting(n_draws=200), desk=SlotSetting(n_replicas=2048), paper=SlotSetting(n_draws=4000, n_replicas=64)
)
BRANCHES = Scales(*(BranchSetting(),) * 3)
GLOBALS = Scales(
    smoke=GlobalSetting(n_replicas=16),
    desk=GlobalSetting(n_replicas=96),
    paper=GlobalSetting(n_tokens=32_768, n_replicas=64),
)
ROWS = Scales(*(RowSetting(),) * 3)
