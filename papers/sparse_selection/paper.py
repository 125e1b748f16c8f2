"""Selection by content: sources, statements and settings.

Letters: n keys, scores of spread s, f the share kept, g the mass kept, rho a correlation, A a planted score, B keys of a block.
"""

from __future__ import annotations

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.sparse_selection.operators import IdentitySetting, MaskingSetting, ThresholdSetting, TiltSetting
from attnlab.simulators.sparse_selection.rows import (
    ClusterSetting,
    DilutionSetting,
    HitSetting,
    MassSetting,
    NeedleSetting,
    PredictorSetting,
    UnionSetting,
)


def _source(authors: str, title: str, year: int, arxiv: str) -> Source:
    return Source(authors=authors, title=title, year=year, arxiv=arxiv)


paper = Paper(
    key="sparse_selection",
    title="Selection of keys by content",
    sources=[
        _source(
            "Aurko Roy et al.", "Efficient Content-Based Sparse Attention with Routing Transformers", 2021, "2003.05997"
        ),
        _source(
            "Jiaming Liang et al.", "RITA: Group Attention is All You Need for Timeseries Analytics", 2023, "2306.01926"
        ),
        _source(
            "Heejun Lee et al.",
            "A Training-free Sub-quadratic Cost Transformer Model Serving Framework With Hierarchically Pruned Attention",
            2024,
            "2406.09827",
        ),
        _source(
            "Cong Wei et al.",
            "Sparsifiner: Learning Sparse Instance-Dependent Attention for Efficient Vision Transformers",
            2023,
            "2303.13755",
        ),
        _source(
            "Yizhao Gao et al.", "SeerAttention: Learning Intrinsic Sparse Attention in Your LLMs", 2024, "2410.13276"
        ),
        _source("Enzhe Lu et al.", "MoBA: Mixture of Block Attention for Long-Context LLMs", 2025, "2502.13189"),
        _source(
            "Jingyang Yuan et al.",
            "Native Sparse Attention: Hardware-Aligned and Natively Trainable Sparse Attention",
            2025,
            "2502.11089",
        ),
        _source(
            "Xunhao Lai et al.",
            "FlexPrefill: A Context-Aware Sparse Attention Mechanism for Efficient Long-Sequence Inference",
            2025,
            "2502.20766",
        ),
        _source(
            "Ruichen Chen et al.",
            "Re-ttention: Ultra Sparse Visual Generation via Attention Statistical Reshape",
            2025,
            "2505.22918",
        ),
        _source(
            "Amirkeivan Mohtashami, Martin Jaggi",
            "Landmark Attention: Random-Access Infinite Context Length for Transformers",
            2023,
            "2305.16300",
        ),
        _source(
            "Yi Lu et al.", "LongHeads: Multi-Head Attention is Secretly a Long Context Processor", 2024, "2402.10685"
        ),
        _source(
            "Yaniv Leviathan, Matan Kalman, Yossi Matias",
            "Selective Attention Improves Transformer",
            2024,
            "2410.02703",
        ),
        _source(
            "Mattia Opper et al.",
            "TRA: Better Length Generalisation with Threshold Relative Attention",
            2025,
            "2503.23174",
        ),
    ],
    statements={
        1: "Leaving keys out changes an output by the dropped mass times the distance of the two parts.",
        2: "The best keys of Gaussian rows, those of a proxy, and stale ones keep a mass that spread and correlation decide.",
        3: "A planted key is diluted by the others.",
        4: "Blocks are routed by their mean key (MoBA); by sums of compressed weights (NSA).",
        5: "Tokens near each other are sent to one cluster (Routing).",
        6: "Keys of a group share a centre (RITA), with bounded factors.",
        7: "Hierarchical pruning overlooks no token (HiP).",
        8: "Low-rank predictions of the scores choose the keys (Sparsifiner).",
        9: "Block gates retain what blocks hold (SeerAttention).",
        10: "The budget follows a cumulative weight gamma (FlexPrefill).",
        11: "A window rescaled by remembered ratios and residuals equals full attention while nothing moves (Re-ttention).",
        12: "A landmark gates its block (Landmark attention).",
        13: "Heads cover the context together (LongHeads).",
        14: "Tokens mask earlier ones for later queries (Selective attention).",
        15: "Keys below a threshold neither weigh nor count as distance (TRA).",
    },
)
_APPROXIMATE = (
    "the law takes sums of a block for log-normal, without a bound of the error; the tests of theory hold it within .02"
)
paper.not_testable(9, _APPROXIMATE)
paper.not_testable(10, _APPROXIMATE)

IDENTITIES = Scales(
    smoke=IdentitySetting(n_replicas=2), desk=IdentitySetting(n_replicas=16), paper=IdentitySetting(n_replicas=128)
)
MASSES = Scales(
    smoke=MassSetting(n_replicas=16), desk=MassSetting(n_rows=24), paper=MassSetting(n_rows=64, n_replicas=256)
)
DILUTIONS = Scales(
    smoke=DilutionSetting(n_replicas=16),
    desk=DilutionSetting(n_rows=64),
    paper=DilutionSetting(n_rows=64, n_replicas=512),
)
HITS = Scales(
    smoke=HitSetting(n_draws=1000, n_replicas=16), desk=HitSetting(n_draws=400, n_replicas=96),
    paper=HitSetting(n_draws=2000, n_replicas=256),
)  # fmt: skip
NEEDLES = Scales(
    smoke=NeedleSetting(n_replicas=128), desk=NeedleSetting(n_replicas=1536), paper=NeedleSetting(1024, 128, 256)
)
CLUSTERS = Scales(
    smoke=ClusterSetting(n_draws=8000, n_replicas=16), desk=ClusterSetting(n_draws=8000, n_replicas=48),
    paper=ClusterSetting(n_draws=40_000, n_replicas=256),
)  # fmt: skip
UNIONS = Scales(
    smoke=UnionSetting(n_replicas=128),
    desk=UnionSetting(n_replicas=1536),
    paper=UnionSetting(2048, 256, n_replicas=1024),
)
PREDICTORS = Scales(
    smoke=PredictorSetting(n_replicas=24), desk=PredictorSetting(n_rows=16, n_replicas=48),
    paper=PredictorSetting(n_rows=64, n_replicas=256),
)  # fmt: skip
TILTS = Scales(smoke=TiltSetting(), desk=TiltSetting(n_replicas=48), paper=TiltSetting(n_keys=100_000, n_replicas=256))
MASKINGS = Scales(smoke=MaskingSetting(), desk=MaskingSetting(n_tokens=192), paper=MaskingSetting(n_tokens=512))
THRESHOLDS = Scales(
    smoke=ThresholdSetting(n_draws=4000), desk=ThresholdSetting(n_draws=8000, n_replicas=64),
    paper=ThresholdSetting(n_draws=40_000, n_replicas=256),
)  # fmt: skip
