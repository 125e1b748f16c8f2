"""Sparsifiner: a low-rank predictor of the map chooses which entries are computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import Approximation, Cache, Facts, Limit, Parameters, Sizes, normal
from attnlab.kernels.operators.selection import Selecting, largest, query_places


@dataclass(frozen=True)
class Sparsifiner(Selecting):
    r"""The largest ``keep`` entries per row of the prediction C B, C = softmax(q' (k'^T E)/sqrt c), q' = q W_q, k' = k W_k.

    "into_query", "into_key" (replica, head, d, c) with c = d/2 (at least 1), token projection "tokens" (replica, head, n_max, r)
    and "basis" (replica, head, r, n_max) are trained on the true map (by its reconstruction), not through the choice. Row 0,
    the class token's, is dense: that of the query at key 0. Fixed length. The scale of the prediction is 1/sqrt c (the code's is
    that of its own head width). Wei et al. 2023 (arXiv 2303.13755), section 3.
    """

    keep: int = 3
    rank: int = 2
    n_max: int = 16
    source: ClassVar[str] = "wei2023"
    approximates: ClassVar[Approximation | str | None] = "keys are chosen by trained low-rank scores"
    frozen_parameters: ClassVar[tuple[str, ...]] = ("into_query", "into_key", "tokens", "basis")
    limits: ClassVar[tuple[Limit, ...]] = (Limit("every entry is kept", lambda: Sparsifiner(99), lambda: DotProduct()),)

    def __post_init__(self):
        if self.keep < 1 or self.rank < 1 or self.n_max < 1:
            raise ValueError(f"keep={self.keep!r}, rank={self.rank!r} and n_max={self.n_max!r} must be at least 1")

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """The projections of tokens fix the greatest length."""
        return Facts(
            row_sum=1.0,
            causal="none",
            causal_reason="the prediction mixes keys behind the query",
            content="pair",
            smooth=False,
            n_max=self.n_max,
            skips={"rank": "keys that no prediction keeps are seen by the first row only"},
        )

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        c, H = max(1, sizes.d // 2), sizes.n_heads
        made = {name: normal(generators, (H, sizes.d, c), sizes.d**-0.5, dtype) for name in ("into_query", "into_key")}
        made["tokens"] = normal(generators, (H, self.n_max, self.rank), self.n_max**-0.5, dtype)
        made["basis"] = normal(generators, (H, self.rank, self.n_max), 1.0, dtype).softmax(-1)
        return made

    def select(self, cache: Cache, parameters: Parameters, *, causal: bool = False) -> Tensor:
        seen = largest(self.predicted(cache, parameters), torch.tensor(True), self.keep)
        first = query_places(*seen.shape[-2:])[:, None] == 0
        return seen | first

    def predicted(self, cache: Cache, parameters: Parameters) -> Tensor:
        """The predicted map (..., query, key), of rank at most r."""
        n = cache.k.shape[-2]
        q, k = (x @ parameters[name][:, None] for x, name in ((cache.q, "into_query"), (cache.k, "into_key")))
        coefficients = q @ (k.mT @ parameters["tokens"][:, None, :, :n, :]) / q.shape[-1] ** 0.5
        return coefficients.softmax(-1) @ parameters["basis"][:, None, :, :, :n]
