"""The paper, and the settings that its claims and figures share."""

from __future__ import annotations

from dataclasses import dataclass, replace

from attnlab.papers.lab.declare import Paper, Scales, Source
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.polynomial_attention.fast import CostSetting, TokenSetting
from attnlab.simulators.polynomial_attention.series_rows import BoundedRowSetting, RowSetting, TokenRowSetting
from attnlab.theory.polynomial_attention.series_weights import hardest_row

TITLE = "FAST: Factorizable Attention for Speeding up Transformers"
paper = Paper(
    key="fast_factorizable",
    title=TITLE,
    sources=[
        Source(
            authors="Armin Gerami, Monte Hoover, Pranav S. Dulepet, Ramani Duraiswami",
            year=2024,
            arxiv="2402.07901",
            title=TITLE,
        )
    ],
    statements={
        1: "Weights f_p(s), the exponential series up to order p, keep every pair of tokens and cost O(n d^(p+1)).",
        2: "Queries and keys are standardised over their features, which bounds the scores: no maximum need be subtracted.",
        3: "Weights of order 2 are positive, those of order 1 can be negative.",
        4: "Gradients of the normalised weights stay bounded and are computed by the same factorisation.",
        5: "Accuracy is comparable to softmax's on images and long sequences.",
    },
)
paper.not_testable(
    5, "it is about networks trained on data sets; how sharp and how far from softmax rows are is claimed"
)


@dataclass(frozen=True)
class SearchSetting:
    """Searches over ``dim`` features, ``n_keys`` keys and scores up to ``score_bound``; ``budget``: evaluations of each."""

    dim: int = 4
    n_keys: int = 3
    score_bound: float = 1.0
    order: int = 2
    budget: int = 10_000

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "score_bound", "order", "budget")
        require_at_least(self, 2, "n_keys")
        require_at_least(self, 3, "dim")


def hard(
    score_bound: float, order: int, n_keys: int = 2_000, n_rows: int = 20, n_replicas: int = 1
) -> BoundedRowSetting:
    """A row of two kinds of keys that nearly attains the sharp bound."""
    return BoundedRowSetting(
        score_bound, order, n_keys, *hardest_row(order, score_bound, n_keys), n_rows=n_rows, n_replicas=n_replicas
    )


#: Bounds on scores and orders at which the sharp bound is finite.
CASES = tuple(
    (B, p) for B in (0.5, 1.0, 1.96) for p in (1, 2, 3, 4, 6) if (B, p) not in ((1.0, 1), (1.96, 1), (1.96, 3))
)
#: Spreads of normal scores at which sharpness is claimed, and those at which the distance from softmax is.
SPREADS, NEAR = (0.5, 1.0, 2.0, 8.0), (0.75, 1.0)

SEARCHES = Scales(SearchSetting(budget=3_000), SearchSetting(), SearchSetting(budget=100_000))
TOKENS = Scales(TokenSetting(n_replicas=4), TokenSetting(), TokenSetting(n_tokens=256, n_replicas=32))
WIDE = Scales(*(replace(each, n_tokens=128) for each in (TOKENS.smoke, TOKENS.desk, TOKENS.paper)))
COSTS = Scales(*[CostSetting()] * 3)
ROWS = Scales(
    smoke=RowSetting(n_rows=8, n_replicas=24),
    desk=RowSetting(n_rows=16, n_replicas=64),
    paper=RowSetting(n_keys=100_000, n_rows=16, n_replicas=256),
)
TOKEN_ROWS = Scales(
    smoke=TokenRowSetting(n_replicas=24), desk=TokenRowSetting(n_draws=16, n_replicas=64),
    paper=TokenRowSetting(n_keys=100_000, n_draws=16, n_replicas=256),
)  # fmt: skip
HARD = Scales(*[hard(1.0, 2)] * 3)
paper.scales(smoke=ROWS.smoke, desk=ROWS.desk, paper=ROWS.paper)
