"""SeerAttention: a learned gate on pooled queries and keys chooses blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import Approximation, Cache, Facts, Limit, Parameters, Sizes, normal
from attnlab.kernels.operators.rotary import rotated
from attnlab.kernels.operators.selection import (
    Selecting,
    block_means,
    largest,
    of_blocks,
    one_query_per_key,
    query_places,
    visible_past,
)


@dataclass(frozen=True)
class Seer(Selecting):
    r"""The own block and the ``keep`` - 1 others of largest gate :math:`\tilde q \cdot \tilde k_b/\sqrt{d_g}`.

    :math:`\tilde k_b = [\max; \min; \mathrm{mean}](K_b)\, W_K`, and ``form="prefill"``: :math:`\tilde q` is the mean query of the
    block times W_Q, so all queries of a block choose alike; ``"decode"``: each query for itself. Both rotated by their block's
    number. The gates are trained on the block maxima of the true map, not through the choice.

    Published as causal on blocks. Taken strictly the prefill form is not: queries of a block are pooled, later ones among
    them. The decode form is. Gao et al. 2024 (arXiv 2410.13276), section 3.
    """

    block: int = 2
    keep: int = 2
    width: int = 4
    form: str = "prefill"
    source: ClassVar[str] = "gao2024"
    approximates: ClassVar[Approximation | str | None] = "blocks are chosen by trained gates"
    frozen_parameters: ClassVar[tuple[str, ...]] = ("gate_query", "gate_key")
    limits: ClassVar[tuple[Limit, ...]] = (Limit("all blocks are kept", lambda: Seer(2, 99), lambda: DotProduct()),)

    def __post_init__(self):
        if self.block < 1 or self.keep < 1 or self.width < 1 or self.form not in ("prefill", "decode"):
            raise ValueError(
                f"block={self.block!r}, keep={self.keep!r}, width={self.width!r} must be at least 1, "
                f"form={self.form!r} prefill or decode"
            )

    @classmethod
    def variants(cls) -> dict[str, Seer]:
        """Both forms."""
        return {form: cls(form=form) for form in ("prefill", "decode")}

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """Only the decode form chooses from the past."""
        shared = {"row_sum": 1.0, "content": "pair", "smooth": False}
        if self.form == "decode":
            return Facts(causal="mask", **shared)
        return Facts(causal="none", causal_reason="the queries of a block are pooled, later ones among them", **shared)

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        return {
            "gate_query": normal(generators, (sizes.n_heads, sizes.d, self.width), sizes.d**-0.5, dtype),
            "gate_key": normal(generators, (sizes.n_heads, 3 * sizes.d, self.width), (3 * sizes.d) ** -0.5, dtype),
        }

    def select(self, cache: Cache, parameters: Parameters, *, causal: bool = False) -> Tensor:
        n_q, n = cache.q.shape[-2], cache.k.shape[-2]
        own = query_places(n_q, n) // self.block
        q = cache.q
        if self.form == "prefill":
            one_query_per_key(cache, "the prefill form")
            q = block_means(q, self.block)
            own_of_q = torch.arange(q.shape[-2])
        else:
            own_of_q = own
        parts = cache.k.split(self.block, -2)
        pooled = torch.stack([torch.cat([p.amax(-2), p.amin(-2), p.mean(-2)], -1) for p in parts], -2)
        gate_q = rotated(q @ parameters["gate_query"][:, None], own_of_q)
        gate_k = rotated(pooled @ parameters["gate_key"][:, None])
        score = gate_q @ gate_k.mT  # (..., query or block, block)
        at, mine = torch.arange(len(parts))[None], own_of_q[:, None]
        chosen = largest(score, at < mine if causal else at != mine, self.keep - 1) | (at == mine)
        if self.form == "prefill":
            chosen = of_blocks(chosen.mT, self.block, n).mT
        return of_blocks(chosen, self.block, n) & visible_past(n_q, n, causal)
