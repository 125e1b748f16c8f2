"""The paper, and the settings that its claims and figures share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.polynomial_attention.match3 import MatchSetting, PairwiseSetting
from attnlab.simulators.polynomial_attention.tensor import HardSetting, TensorSetting
from attnlab.simulators.polynomial_attention.trained import BestSetting, TrainedSetting
from attnlab.theory.polynomial_attention import match3 as theory
from attnlab.theory.polynomial_attention.tensor import hardest_counts

TITLE = "How to Capture Higher-order Correlations? Generalizing Matrix Softmax Attention to Kronecker Computation"
paper = Paper(
    key="tensor_attention",
    title=TITLE,
    sources=[
        Source(
            authors="Josh Alman, Zhao Song",
            year=2024,
            arxiv="2310.04064",
            title=TITLE,
            venue="International Conference on Learning Representations",
        ),
        Source(
            authors="Clayton Sanford, Daniel Hsu, Matus Telgarsky",
            year=2023,
            arxiv="2306.02896",
            title="Representational Strengths and Limitations of Transformers",
            venue="Advances in Neural Information Processing Systems",
        ),
    ],
    statements={
        1: "Tensor attention weighs pairs of keys by the exponential of a trilinear form and averages products of two values.",
        2: "It captures relations of three tokens that ordinary attention units cannot, such as Match3.",
        3: "With entries of size o((log n)^(1/3)) its output is approximated in almost linear time, by polynomials.",
        4: "With larger entries no algorithm takes much less than n^3 steps, under the strong exponential time hypothesis.",
        5: "At order k the threshold on entries is (log n)^(1/k).",
    },
)
paper.not_testable(4, "it is about all algorithms and rests on a hypothesis of complexity theory")
paper.not_testable(5, "it is about the growth with n of what the best algorithm can do")


@dataclass(frozen=True)
class ForAllSetting:
    """``n_keys`` pairs with scores up to B^3 and values up to B^2, B = ``entry_bound``; ``degree``; ``budget``: evaluations
    of a search."""

    n_keys: int = 2
    entry_bound: float = 1.0
    degree: int = 3
    budget: int = 20_000

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_keys", "entry_bound", "degree", "budget")


def hard(entry_bound: float, degree: int, n_keys: int = 2_000) -> HardSetting:
    """Keys that nearly attain the bound."""
    n_high, at_high, at_low = hardest_counts(degree, entry_bound, n_keys)
    return HardSetting(n_keys, n_high, at_high, at_low, entry_bound, degree)


def planted(
    n_tokens: int, modulus: int, multiples: tuple[float, ...], n_draws: int = 0, n_replicas: int = 1
) -> MatchSetting:
    """The head by hand at multiples of its threshold."""
    query, first, second = (tuple(map(float, x.ravel())) for x in theory.features(np.arange(modulus), modulus))
    beta = theory.least_inverse_temperature_exact(n_tokens, modulus)
    return MatchSetting(
        n_tokens, modulus, query, first, second, theory.null_score(modulus), tuple(m * beta for m in multiples),
        n_draws, n_replicas,
    )  # fmt: skip


#: Entry bounds and degrees at which the sharp bound is finite.
CASES = tuple((B, g) for B in (0.5, 1.0, 1.2) for g in (2, 3, 4, 6) if (B, g) != (1.2, 3))
#: Sizes of Match3 tried on every sequence, and shares of the threshold.
SIZES = ((3, 5), (3, 7), (4, 5), (3, 9), (2, 11))
AROUND = (0.999, 1.001)

FOR_ALL = Scales(ForAllSetting(budget=10_000), ForAllSetting(), ForAllSetting(n_keys=4, budget=200_000))
SERIES = Scales(TensorSetting(n_replicas=8), TensorSetting(), TensorSetting(n_tokens=64, n_replicas=64))
RANKS = Scales(
    *(replace(each, dim=2, entry_bound=1.5, degrees=(1, 2, 3)) for each in (SERIES.smoke, SERIES.desk, SERIES.paper))
)
HARD = Scales(*(hard(1.0, 2),) * 3)
MATCH = Scales(*(planted(*SIZES[0], AROUND),) * 3)
PAIRWISE = Scales(*(PairwiseSetting(),) * 3)
RANDOM = Scales(*(planted(6, 41, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2), n, 8) for n in (500, 1_500, 5_000)))
TRAINED = Scales(
    TrainedSetting(n_steps=300, n_replicas=8),
    TrainedSetting(),
    TrainedSetting(modulus=23, n_steps=5_000, n_replicas=64),
)
BEST = Scales(BestSetting((2, 3, 4, 5)), BestSetting(), BestSetting((2, 3, 4, 5, 6, 7, 8)))
paper.scales(smoke=SERIES.smoke, desk=SERIES.desk, paper=SERIES.paper)
