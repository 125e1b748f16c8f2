"""FlexPrefill: the last block of queries tells which pattern a head needs, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.operator import Cache, Facts, Parameters
from attnlab.kernels.operators.selection import (
    Selecting,
    block_means,
    largest,
    masked_softmax,
    of_blocks,
    one_query_per_key,
    visible_past,
)


@dataclass(frozen=True)
class FlexPrefill(Selecting):
    r"""Blocks per head that should hold the mass gamma, judged by A^, the exact causal map of the last B queries.

    With a = softmax(mean query of these . mean keys of blocks) and v the column sums of A^ per block: if the
    Jensen-Shannon distance of a and v is below tau, the head is *query specific* and keeps the largest entries of the pooled
    map, all rows together, until they hold gamma of it. Else it is *vertical-slash*: the number of columns (and of
    diagonals) of A^ that hold gamma, over B, rounded down, plus one, is the number of blocks taken by their sums. First and
    diagonal block are always kept, and at least ``least`` tokens.

    Attention itself is causal, as in prefilling; but the choice for early rows depends on the last ones, so the operator
    has no causal form. gamma = 1 keeps all. Published: B = 128, tau = .1, gamma = .9 to .95, least = 1024. Lai et al. 2025
    (arXiv 2502.20766), section 3.
    """

    block: int = 1
    gamma: float = 0.8
    tau: float = 0.1
    least: int = 1
    source: ClassVar[str] = "lai2025"
    facts: ClassVar[Facts] = Facts(
        row_sum=1.0, causal="none", causal_reason="the last queries choose for all rows", content="pair",
        equivariant=("rotation",), smooth=False,
    )  # fmt: skip

    def __post_init__(self):
        if self.block < 1 or self.least < 1 or not 0 < self.gamma <= 1 or not self.tau >= 0:
            raise ValueError(
                f"block={self.block!r} and least={self.least!r} must be at least 1, gamma={self.gamma!r} in (0, 1], "
                f"tau={self.tau!r} at least 0"
            )

    def select(self, cache: Cache, parameters: Parameters, *, causal: bool = False) -> Tensor:
        one_query_per_key(cache, "FlexPrefill")
        q, k, B = cache.q, cache.k, self.block
        n, scale = k.shape[-2], k.shape[-1] ** -0.5
        last = q[..., -B:, :]
        probe = masked_softmax(scale * last @ k.mT, visible_past(last.shape[-2], n, True))  # (..., B, n)
        mean_k = block_means(k, B)
        columns = probe.mean(-2)
        sums = torch.stack([part.sum(-1) for part in columns.split(B, -1)], -1)  # (..., block)
        estimate = (scale * last.mean(-2, keepdim=True) @ mean_k.mT).softmax(-1).squeeze(-2)
        specific = jensen_shannon(estimate, sums).sqrt() < self.tau
        pooled = scale * block_means(q, B) @ mean_k.mT
        past = visible_past(pooled.shape[-1], pooled.shape[-1], True)
        blocks = torch.where(
            specific[..., None, None],
            self._query_specific(masked_softmax(pooled, past)),
            self._vertical_slash(probe, columns, sums),
        )
        at = torch.arange(blocks.shape[-1])
        floor = -(-self.least // B)
        kept = largest(torch.where(blocks, torch.inf, pooled), past, floor) | blocks
        kept = (kept | (at[None] == 0) | (at[:, None] == at[None])) & past
        return of_blocks(of_blocks(kept.mT, B, n).mT, B, n) & visible_past(n, n, True)

    def _query_specific(self, pooled: Tensor) -> Tensor:
        """The largest entries of the pooled map, together, that hold gamma of it."""
        return holding(pooled.flatten(-2), self.gamma).unflatten(-1, pooled.shape[-2:])

    def _vertical_slash(self, probe: Tensor, columns: Tensor, sums: Tensor) -> Tensor:
        """Boolean (..., block, block): columns of blocks, and diagonals of blocks."""
        n, rows = probe.shape[-1], probe.shape[-2]
        back = (torch.arange(n - rows, n)[:, None] - torch.arange(n)[None]).clamp(min=0)
        diagonals = torch.zeros_like(columns).scatter_add(
            -1, back.flatten().expand(*probe.shape[:-2], -1), (probe / rows).flatten(-2)
        )
        slashes = torch.stack([part.sum(-1) for part in diagonals.split(self.block, -1)], -1)
        at = torch.arange(sums.shape[-1])
        chosen_columns, chosen_slashes = (
            self._best(sum_of_blocks, holding(tokens, self.gamma).sum(-1) // self.block + 1)
            for sum_of_blocks, tokens in ((sums, columns), (slashes, diagonals))
        )
        offset = (at[:, None] - at[None]).clamp(min=0)
        return chosen_columns[..., None, :] | chosen_slashes[..., offset]

    @staticmethod
    def _best(score: Tensor, count: Tensor) -> Tensor:
        """The ``count`` (...) largest entries per row."""
        return score.argsort(dim=-1, descending=True, stable=True).argsort(-1) < count[..., None]


def holding(mass: Tensor, share: float) -> Tensor:
    """The fewest largest entries of the last axis that hold the share of its sum; all for share 1."""
    if share >= 1:
        return torch.ones_like(mass, dtype=torch.bool)
    order = mass.argsort(dim=-1, descending=True, stable=True)
    ranked = mass.gather(-1, order)
    before = ranked.cumsum(-1) - ranked
    return torch.zeros_like(mass, dtype=torch.bool).scatter(-1, order, before < share * mass.sum(-1, keepdim=True))


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence in nats, over the last axis."""
    m = (p + q) / 2
    return sum((torch.xlogy(x, x) - torch.xlogy(x, m)).sum(-1) for x in (p, q)).clamp(min=0) / 2
