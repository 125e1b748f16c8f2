"""The paper, its settings, and what its claims share."""

from __future__ import annotations

from dataclasses import dataclass, replace

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.hashing.sampled_attention import (
    CausalSetting,
    ErrorSetting,
    IdentitySetting,
    MapSetting,
    SampleSetting,
)

TITLE = "HyperAttention: Long-context Attention in Near-Linear Time"
paper = Paper(
    key="hyperattention",
    title=TITLE,
    sources=[Source(authors="Insu Han and others", year=2024, arxiv="2310.05869", title=TITLE)],
    statements={
        1: "The output is to be near in the spectral norm: |Att - O|_op <= eps |P|_op |V|_op.",
        2: "Two numbers govern the hardness: alpha = n max_j |P e_j|^2 and kappa, the spread of row sums without heavy entries.",
        3: "kappa^7 alpha^2 eps^-6 log n column samples give the row sums within eps / 2, in the spectral norm of (D~^-1 - "
        "D^-1) A.",
        4: "Sampling eps^-2 d srank(V) rows of V by their squared length gives the product within eps |P|_op |V|_op.",
        5: "The time is d n^(1 + o(1)) if alpha and kappa are n^o(1).",
        6: "Heavy entries are found by sorted hashes: near tokens land in equal blocks after sorting by Gray codes of "
        "hyperplanes.",
        7: "Causal masks are split recursively: two causal halves and one unmasked square.",
    },
)

_MAPS = MapSetting(n_tokens=1024, n_replicas=128)
MAPS = Scales(_MAPS, _MAPS, replace(_MAPS, n_tokens=4096))
_EXTREMES = MapSetting(n_tokens=16 * 1024, n_replicas=512)
EXTREMES = Scales(_EXTREMES, _EXTREMES, replace(_EXTREMES, n_tokens=64 * 1024))
SAMPLES = Scales(
    smoke=SampleSetting(n_replicas=64),
    desk=SampleSetting(n_replicas=512),
    paper=SampleSetting(n_draws=20_000, n_replicas=512),
)
FLAT = Scales(*[SampleSetting(spread=0.25, n_draws=100, n_replicas=n) for n in (8, 16, 16)])
COPIES = Scales(*[IdentitySetting(n_replicas=n) for n in (16, 32, 32)])
ERRORS = Scales(
    smoke=ErrorSetting(numbers=(64, 128, 256, 512), n_replicas=16),
    desk=ErrorSetting(numbers=(64, 128, 256, 512)),
    paper=ErrorSetting(n_tokens=2048, block=128, numbers=(128, 256, 512, 1024), n_replicas=64),
)
_ROOT = ErrorSetting(numbers=(64, 128, 256, 512, 1024, 2048), n_replicas=96)
ROOT = Scales(replace(_ROOT, n_replicas=32), _ROOT, replace(_ROOT, n_replicas=256))
PLANTED = Scales(
    *[
        replace(each, data="planted", n_replicas=n)
        for each, n in ((ERRORS.smoke, 16), (ERRORS.desk, 32), (ERRORS.paper, 32))
    ]
)
CAUSAL = Scales(*[CausalSetting()] * 3)


@dataclass(frozen=True)
class SearchSetting:
    """``budget``: evaluations of each search over maps of four tokens; ``bits`` of the longest code that is listed."""

    budget: int = 5_000
    bits: int = 10
    n_replicas: int = 1

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "budget", "bits")


SEARCHES = Scales(SearchSetting(2_000), SearchSetting(), SearchSetting())
paper.scales(smoke=MAPS.smoke, desk=MAPS.desk, paper=MAPS.paper)
