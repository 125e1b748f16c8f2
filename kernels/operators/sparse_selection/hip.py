"""Hierarchically pruned attention: a search tree per query finds its keys through one representative per chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import Approximation, Cache, Facts, Limit, Parameters
from attnlab.kernels.operators.selection import Selecting, query_places


@dataclass(frozen=True)
class HiP(Selecting):
    r"""Split what query i sees into 2k chunks, score each by one key, keep k, halve them, until chunks are single keys.

    The last stage keeps the k best of 2k keys; softmax over them. The representative is the chunk's centre, or its first
    key in some versions. This file looks the scores up in the full product; the published kernel computes
    2k (log2(n/2k) + 1) of them per query, for blocks of queries and keys, and adds sinks and a window, left out here.
    Lee et al. 2024 (arXiv 2406.09827), algorithm 1.
    """

    keep: int = 2
    representative: str = "centre"
    source: ClassVar[str] = "lee2024"
    approximates: ClassVar[Approximation | str | None] = Approximation(
        lambda sizes: {"": tuple(HiP(max(2, sizes.n // part)) for part in (64, 32, 16, 8))}, lambda sizes: HiP(sizes.n)
    )
    facts: ClassVar[Facts] = Facts(
        row_sum=1.0, causal="mask", content="pair", equivariant=("rotation",), smooth=False,
        skips={"rank": "keys that no query finds have empty columns"},
    )  # fmt: skip
    limits: ClassVar[tuple[Limit, ...]] = (Limit("all keys are kept", lambda: HiP(99), lambda: DotProduct()),)

    def __post_init__(self):
        if self.keep < 1 or self.representative not in ("centre", "first"):
            raise ValueError(
                f"keep={self.keep!r} must be at least 1, representative={self.representative!r} centre or first"
            )

    @classmethod
    def variants(cls) -> dict[str, HiP]:
        """Both representatives."""
        return {each: cls(representative=each) for each in ("centre", "first")}

    def select(self, cache: Cache, parameters: Parameters, *, causal: bool = False) -> Tensor:
        q, k = cache.q, cache.k
        return self.found(q @ k.mT, causal)

    def found(self, score: Tensor, causal: bool) -> Tensor:
        """The search on scores (..., query, key): boolean of the same shape."""
        n_q, n = score.shape[-2:]
        length = query_places(n_q, n) + 1 if causal else torch.full((n_q,), n)
        edge = torch.arange(2 * self.keep + 1) * length[:, None] // (2 * self.keep)  # (query, chunk + 1)
        low = edge[:, :-1].expand(*score.shape[:-1], -1)
        high = edge[:, 1:].expand(*score.shape[:-1], -1)
        while True:
            at = (low + high - 1) // 2 if self.representative == "centre" else low
            worth = torch.where(low < high, score.gather(-1, at.clamp(0, n - 1)), -torch.inf)
            best = worth.argsort(dim=-1, descending=True, stable=True)[..., : self.keep]
            low, high = low.gather(-1, best), high.gather(-1, best)
            if not (high - low > 1).any():
                break
            middle = (low + high + 1) // 2
            low, high = torch.cat([low, middle], -1), torch.cat([middle, high], -1)
        seen = torch.zeros(*score.shape[:-1], n + 1, dtype=torch.bool, device=score.device)
        seen.scatter_(-1, torch.where(low < high, low, n), True)  # empty chunks fall into the last column
        return seen[..., :n]
