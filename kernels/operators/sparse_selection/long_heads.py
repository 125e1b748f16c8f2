"""LongHeads: every head looks into a few chunks of the context, found by one key per chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import Approximation, Cache, Facts, Limit, Parameters
from attnlab.kernels.operators.selection import (
    Selecting,
    largest,
    of_blocks,
    one_query_per_key,
    query_places,
    visible_past,
)


@dataclass(frozen=True)
class LongHeads(Selecting):
    r"""``total`` chunks of l tokens per query: the first ``sinks``, the last ``recent`` (the own included), the best others.

    A chunk is scored by :math:`q \cdot \kappa_c`,

    .. math:: \kappa_c = \sum_{j \in c} \mathrm{softmax}_j(m_c \cdot k_j/\sqrt d)\, k_j,

    m_c the mean output of attention inside the chunk (causal, on its own queries and keys as values). Selected tokens are
    numbered anew from 0 (:meth:`renumbered`), so relative positions never exceed total l; that changes rotary angles, which
    belong to the preparation of q and k and are left to the caller. Published: l = 256, 16 chunks, one sink, two recent
    ones. Lu et al. 2024 (arXiv 2402.10685), section 2.
    """

    chunk: int = 2
    total: int = 2
    sinks: int = 0
    recent: int = 1
    source: ClassVar[str] = "lu2024"
    approximates: ClassVar[Approximation | str | None] = Approximation(
        lambda sizes: {"": tuple(LongHeads(max(2, sizes.n // 32), total) for total in (2, 4, 8, 16))},
        lambda sizes: LongHeads(2, sizes.n),
    )
    facts: ClassVar[Facts] = Facts(row_sum=1.0, causal="mask", content="pair", equivariant=("rotation",), smooth=False)
    limits: ClassVar[tuple[Limit, ...]] = (Limit("all chunks fit", lambda: LongHeads(2, 99), lambda: DotProduct()),)

    def __post_init__(self):
        if self.chunk < 1 or self.recent < 1 or self.sinks < 0 or self.total < self.sinks + self.recent:
            raise ValueError(
                f"chunk={self.chunk!r} and recent={self.recent!r} must be at least 1, total={self.total!r} at least "
                f"sinks={self.sinks!r} plus recent"
            )

    def select(self, cache: Cache, parameters: Parameters, *, causal: bool = False) -> Tensor:
        one_query_per_key(cache, "LongHeads")
        n = cache.k.shape[-2]
        own = (query_places(n, n) // self.chunk)[:, None]
        score = cache.q @ self.chunk_keys(cache).mT
        at = torch.arange(score.shape[-1])[None]
        forced = (at < self.sinks) | ((at <= own) & (at > own - self.recent))
        allowed = at <= own if causal else torch.ones_like(forced)
        forced = forced & allowed
        chosen = largest(torch.where(forced, torch.inf, score), allowed, self.total)
        return of_blocks(chosen, self.chunk, n) & visible_past(n, n, causal)

    def chunk_keys(self, cache: Cache) -> Tensor:
        """One key per chunk, (..., chunk, d)."""
        n, at = cache.k.shape[-2], torch.arange(cache.k.shape[-2]) // self.chunk
        inside = (at[:, None] == at[None]).tril()
        seen = attention(cache.q, cache.k, cache.k, mask=inside)
        mean = torch.stack([part.mean(-2) for part in seen.split(self.chunk, -2)], -2)
        return attention(mean, cache.k, cache.k, mask=torch.arange(-(-n // self.chunk))[:, None] == at[None])

    @staticmethod
    def renumbered(selected: Tensor) -> Tensor:
        """New places of the selected keys, (..., query, key): their order kept, gaps lost."""
        return selected.cumsum(-1) - 1
