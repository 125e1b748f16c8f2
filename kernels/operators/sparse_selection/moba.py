"""Mixture of block attention: the own block, and the other blocks whose mean key the query likes best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import Approximation, Cache, Facts, Limit, Parameters
from attnlab.kernels.operators.selection import Selecting, block_means, largest, of_blocks, query_places, visible_past


@dataclass(frozen=True)
class MoBA(Selecting):
    r"""The own block and the ``keep`` - 1 blocks b of largest :math:`q \cdot \tfrac1B \sum_{j \in b} k_j`.

    Softmax over their union. The causal form chooses among earlier blocks and masks the own one. The choice does not change when
    q is scaled. Published with B = 512 and more, keep = 3 to 12. Lu et al. 2025 (arXiv 2502.13189), equations 3 to 6.
    """

    block: int = 2
    keep: int = 2
    source: ClassVar[str] = "lu2025"
    approximates: ClassVar[Approximation | str | None] = Approximation(
        lambda sizes: {"": tuple(MoBA(max(2, sizes.n // 32), keep) for keep in (2, 4, 8, 16))},
        lambda sizes: MoBA(2, sizes.n),
    )
    facts: ClassVar[Facts] = Facts(row_sum=1.0, causal="mask", content="pair", equivariant=("rotation",), smooth=False)
    limits: ClassVar[tuple[Limit, ...]] = (Limit("all blocks are kept", lambda: MoBA(2, 99), lambda: DotProduct()),)

    def __post_init__(self):
        if self.block < 1 or self.keep < 1:
            raise ValueError(f"block={self.block!r} and keep={self.keep!r} must be at least 1")

    def select(self, cache: Cache, parameters: Parameters, *, causal: bool = False) -> Tensor:
        n_q, n = cache.q.shape[-2], cache.k.shape[-2]
        own = query_places(n_q, n)[:, None] // self.block
        score = cache.q @ block_means(cache.k, self.block).mT  # (..., query, block)
        at = torch.arange(score.shape[-1])[None]
        chosen = largest(score, at < own if causal else at != own, self.keep - 1) | (at == own)
        return of_blocks(chosen, self.block, n) & visible_past(n_q, n, causal)
