"""Sources, statements, and the settings that claims and figures share."""

from __future__ import annotations

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.heads_and_sharing.key_cache import KeyCacheSetting
from attnlab.simulators.linear_variants.exact_forms import FlatSetting, GrowthSetting, OrderSetting
from attnlab.simulators.sparse_selection.corrections import AnchorSetting, DeltaSetting, DirectionSetting


def _source(authors: str, title: str, year: int, arxiv: str) -> Source:
    return Source(authors=authors, title=title, year=year, arxiv=arxiv)


paper = Paper(
    key="linear_and_exact_variants",
    title="Efficient Attention, Cottention, Loki, Slim attention, Delta Attention",
    sources=[
        _source("Zhuoran Shen et al.", "Efficient Attention: Attention with Linear Complexities", 2021, "1812.01243"),
        _source(
            "Gabriel Mongaras, Trevor Dohm, Eric C. Larson",
            "Cottention: Linear Transformers With Cosine Attention",
            2024,
            "2409.18747",
        ),
        _source("Prajwal Singhania et al.", "Loki: Low-rank Keys for Efficient Sparse Attention", 2024, "2406.02542"),
        _source(
            "Nils Graef, Andrew Wasielewski",
            "Slim attention: cut your context memory in half without loss -- K-cache is all you need for MHA",
            2025,
            "2503.05840",
        ),
        _source(
            "Jeffrey Willette et al.",
            "Delta Attention: Fast and Accurate Sparse Attention Inference by Delta Correction",
            2025,
            "2505.11254",
        ),
    ],
    statements={
        1: "Efficient attention with scaling equals dot-product attention with weights Q K^T / n.",
        2: "With softmax over features and over tokens its implied map is row-stochastic and positive, of rank at most d_k.",
        3: "It needs O(n d_k + d_k d_v) memory: the map is never formed.",
        4: "Cosine attention is exact in linear time, when causal a recurrence with a state d_k x d_v.",
        5: "Its weights lie in [-1, 1] and do not sum to 1; the power of the count keeps outputs from growing.",
        6: "Loki with all directions is exact.",
        7: "Keys of trained models are low-dimensional.",
        8: "A quarter of the directions and a quarter of the keys lose little.",
        9: "A step moves r/d + k_f + k_f of what full attention moves as 2.",
        10: "Slim attention computes values from cached keys exactly, V = K W_K^-1 W_V.",
        11: "It halves the cache, and more where projections are wider than the token.",
        12: "Delta attention is exact at its anchors.",
        13: "With an anchor every 64 tokens about 98.5 % of the sparsity is kept.",
        14: "It recovers most of the accuracy of dense attention; replacing the anchors alone helps far less.",
    },
)
paper.not_testable(7, "it is about the keys of trained language models")

ORDERS = Scales(*(OrderSetting(n_replicas=n) for n in (4, 16, 64)))
FLAT = Scales(
    smoke=FlatSetting(n_replicas=24), desk=FlatSetting(n_replicas=64), paper=FlatSetting(n_keys=65_536, n_replicas=128)
)
GROWTH = Scales(
    smoke=GrowthSetting(lengths=(16, 64), n_draws=400, n_replicas=24),
    desk=GrowthSetting(n_replicas=48),
    paper=GrowthSetting(lengths=(16, 64, 256, 1024), n_draws=1000, n_replicas=64),
)
ROTATIONS = Scales(*(DirectionSetting(dim=8, directions=(2,), n_replicas=n) for n in (4, 16, 64)))
DIRECTIONS = Scales(
    smoke=DirectionSetting(directions=(4, 16), n_replicas=24),
    desk=DirectionSetting(n_draws=16, n_replicas=48),
    paper=DirectionSetting(n_keys=32_768, n_draws=32, n_replicas=64),
)
CACHES = Scales(*(KeyCacheSetting(n_replicas=n) for n in (24, 64, 256)))
ANCHORED = Scales(*(DeltaSetting(n_replicas=n) for n in (4, 16, 64)))
ANCHORS = Scales(*(AnchorSetting(n_replicas=n) for n in (24, 24, 128)))
paper.scales(smoke=ORDERS.smoke, desk=ORDERS.desk, paper=ORDERS.paper)
