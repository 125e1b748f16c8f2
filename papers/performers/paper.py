"""The paper, its settings, and what its claims share."""

from __future__ import annotations

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.positive_features.attention import AttentionSetting
from attnlab.simulators.positive_features.cost import CostSetting, MemorySetting
from attnlab.simulators.positive_features.draws import BallSetting, DrawSetting
from attnlab.simulators.positive_features.planes import PlaneSetting
from attnlab.simulators.positive_features.spheres import SphereSetting
from attnlab.theory.positive_features.uniform import published_number_of_features

TITLE = "Rethinking Attention with Performers"
paper = Paper(
    key="performers",
    title=TITLE,
    sources=[
        Source(
            authors="Krzysztof Choromanski, Valerii Likhosherstov, David Dohan, Xingyou Song, Andreea Gane, Tamas Sarlos, "
            "Peter Hawkins, Jared Davis, Afroz Mohiuddin, Lukasz Kaiser, David Belanger, Lucy Colwell, Adrian Weller",
            year=2021,
            arxiv="2009.14794",
            title=TITLE,
            venue="International Conference on Learning Representations",
        )
    ],
    statements={
        1: "Trigonometric, positive and hyperbolic estimators of e^(x . y) are unbiased for Gaussian projections.",
        2: "Their mean squared errors with m independent projections have closed forms.",
        3: "As the kernel vanishes, the error of trigonometric features diverges and that of positive ones vanishes.",
        4: "The hyperbolic estimator's error is (1 - e^(-|x + y|^2)) / 2 times the positive one's.",
        5: "Orthogonal projections reduce the error of positive features in every dimension, by a stated amount, for m <= d.",
        6: "Rows on the sphere of radius sqrt(d) give a kernel below softmax's, by a ratio of at least 1 - 2 d^(-1/3).",
        7: "For the largest error over all queries and keys of length R, m ~ d log d projections suffice, whatever the length "
        "of the sequence.",
        8: "Attention costs O(L m d) time and O(L m + L d + m d) memory; causal attention by prefix sums.",
    },
)

PLANES = Scales(*[PlaneSetting()] * 3)
GROWTH = Scales(*[PlaneSetting(lengths=(1.0, 3.0, 4.0), angles=(100.0, 110.0, 135.0, 150.0))] * 3)
CROSSINGS = Scales(*[PlaneSetting(lengths=(0.5, 1.0, 1.5, 2.0), angles=())] * 3)
PAIRS = Scales(
    smoke=SphereSetting(dims=(2, 4, 16), squares=(0.05, 1.0)),
    desk=SphereSetting(dims=(2, 3, 4, 8, 16, 64), squares=(0.05, 0.25, 1.0, 4.0)),
    paper=SphereSetting(dims=(2, 3, 4, 8, 16, 64), squares=(0.05, 0.25, 1.0, 4.0, 9.0)),
)
CURVE_OF_PAIRS = Scales(*[SphereSetting(dims=(2, 4, 8, 16), squares=(1.0, 4.0, 8.0, 12.0, 15.0))] * 3)
HURTING = Scales(
    smoke=SphereSetting(dims=(4, 8)), desk=SphereSetting(dims=(3, 4, 8, 16)), paper=SphereSetting(dims=(3, 4, 5, 8, 16))
)
BOUNDED = Scales(*[SphereSetting(dims=(16, 64, 256, 1024, 4096), squares=(0.25, 1.0, 4.0))] * 3)
#: x and y at right angles, d long in square: e^(x . y) = 1 in every dimension, |x + y|^2 = 2 d.
UNBOUNDED = Scales(*[SphereSetting(dims=(16, 64, 128), squares=(32.0, 128.0, 256.0))] * 3)
DRAWN = Scales(
    smoke=DrawSetting(n_draws=3000),
    desk=DrawSetting(n_draws=20_000, n_replicas=32),
    paper=DrawSetting(dim=16, n_features=16),
)
BALL = Scales(
    smoke=BallSetting(dim=16, n_features=128, n_draws=60, n_steps=60, n_replicas=16),
    desk=BallSetting(n_draws=60),
    paper=BallSetting(dim=64, n_features=1024),
)
RADIUS, ERROR = 1.5, 0.5  # of the published number of features


def published(dim: int, n_replicas: int = 16) -> BallSetting:
    """Orthogonal rows as many as the theorem with constant 1 asks for, at the radius and error above."""
    m = published_number_of_features(dim, RADIUS, ERROR)
    return BallSetting(dim, m, RADIUS * dim**-0.25, orthogonal=True, n_draws=4, n_steps=100, n_replicas=n_replicas)


SUFFICES = Scales(smoke=published(8), desk=published(16), paper=published(64))
OUTPUTS = Scales(
    smoke=AttentionSetting(n_draws=160, n_replicas=16),
    desk=AttentionSetting(n_draws=600),
    paper=AttentionSetting(n_keys=128, numbers_of_features=(1024,)),
)
SIGNS = Scales(
    smoke=AttentionSetting(4, 16, spread=1.0, numbers_of_features=(64,), n_draws=2000, n_replicas=16),
    desk=AttentionSetting(4, 16, spread=1.0, numbers_of_features=(64,), n_draws=3000),
    paper=AttentionSetting(4, 16, spread=1.0, numbers_of_features=(64,), n_draws=40_000),
)
NUMBERS = (16, 32, 64, 128, 256, 512, 1024)
CURVES = Scales(
    smoke=AttentionSetting(spread=0.5, numbers_of_features=NUMBERS[:4], n_draws=2, n_replicas=8),
    desk=AttentionSetting(n_keys=512, spread=0.5, numbers_of_features=NUMBERS, n_draws=4, n_replicas=16),
    paper=AttentionSetting(n_keys=4096, spread=0.5, numbers_of_features=NUMBERS, n_draws=4, n_replicas=16),
)
COSTS = Scales(*[CostSetting()] * 3)
MEMORY = Scales(*[MemorySetting()] * 3)
paper.scales(smoke=PLANES.smoke, desk=PLANES.desk, paper=PLANES.paper)
