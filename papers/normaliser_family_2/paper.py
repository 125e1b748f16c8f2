"""Normalisers, second part: sources, statements and settings.

Letters: K ratio of gains, rho correlation of noises, D margin of a parent, s spread, T a plan, C width of a bell.
"""

from __future__ import annotations

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.score_maps.plans_and_trees import BellSetting, NoiseSetting, PlanSetting, TreeSetting

paper = Paper(
    key="normaliser_family_2",
    title="Normalisers, second part",
    sources=[
        Source(
            authors="Haoyuan Wu et al.",
            title="Efficient OpAmp Adaptation for Zoom Attention to Golden Contexts",
            year=2025,
            arxiv="2502.12502",
        ),
        Source(
            authors="Mingyu Ding et al.",
            title="Visual Dependency Transformers: Dependency Tree Emerges from Reversed Attention",
            year=2023,
            arxiv="2304.03282",
        ),
        Source(
            authors="Kwanyoung Kim, Yujin Oh, Jong Chul Ye",
            title="OTSeg: Multi-prompt Sinkhorn Attention for Zero-Shot Semantic Segmentation",
            year=2024,
            arxiv="2403.14183",
        ),
        Source(
            authors="Georgios Ioannides, Aman Chadha, Aaron Elkins",
            title="Gaussian Adaptive Attention Is All You Need: Robust Contextual Representations Across Multiple Modalities",
            year=2024,
            arxiv="2401.11143",
        ),
    ],
    statements={
        1: "The operational amplifier is (K + 1/2) (M_+ - lambda M_-), lambda = (K - 1/2)/(K + 1/2), with rows of sum 1.",
        2: "Its power signal to noise ratio over M_+ alone is (K + 1/2)^2/(2 K^2 (1 - rho) + (1 + rho)/2).",
        3: "The best ratio is K = (1 + rho)/(2 (1 - rho)), with gain 1/(1 - rho^2).",
        4: "Reversed attention conserves totals: sum_j y_j = sum_i p_i m_i v_i.",
        5: "The mass received from independent Gaussian logits has variance (e^{s^2} - 1)/n.",
        6: "With c children of logit D a parent receives (c e^D + n - c)/(e^D + n - 1).",
        7: "With noise s parents are recovered with probability E_z Phi((D + s z)/s)^{n-1}.",
        8: "Sinkhorn iterations contract by sigma_2^2 of D_mu^-1/2 T D_nu^-1/2 per full iteration; each key gets its share "
        "of mass.",
        9: "A product of Gaussians is one Gaussian, 1/C^2 = sum 1/c_i^2.",
        10: "A bell gate has n sum g^2 = (1 + C^-2)/sqrt(1 + 2 C^-2) on Gaussian channels; it is invariant under shifts, "
        "under scaling "
        "only with centre 0.",
        11: "Gates of one and of several Gaussians reach the same losses.",
    },
)
paper.not_testable(11, "needs training; claim products_are_one_bell shows that both are the same functions")

NOISES = Scales(
    smoke=NoiseSetting(n_weights=60_000),
    desk=NoiseSetting(n_weights=100_000),
    paper=NoiseSetting(n_weights=400_000, n_replicas=64),
)
TREES = Scales(smoke=TreeSetting(n_draws=2), desk=TreeSetting(), paper=TreeSetting(n_draws=100, n_replicas=64))
PLANS = Scales(smoke=PlanSetting(), desk=PlanSetting(n_replicas=32), paper=PlanSetting(n_replicas=64))
BELLS = Scales(smoke=BellSetting(), desk=BellSetting(n_tokens=4000), paper=BellSetting(n_tokens=40_000, n_replicas=64))
