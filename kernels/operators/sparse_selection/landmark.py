"""Landmark attention: the last token of every block speaks for it, and gates what stands in the block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.operator import QKV, Approximation, Facts, Operator, Parameters, checked
from attnlab.kernels.operators.selection import largest, masked_softmax, one_query_per_key, query_places


@dataclass(frozen=True)
class Landmark(Operator):
    r"""Blocks of m tokens, the last one a landmark: :math:`W_{ij} = p_A(\text{landmark of } b)\, p_b(j)` for j in block b.

    p_A is the softmax over the ordinary tokens of the own block and the landmarks of the blocks before it; p_b that over
    the ordinary tokens of b. Landmarks have weight 0, the own block's, too (the sheet leaves that open: counted, it would
    give rows that sum to less than 1). The own block's tokens have weight p_A(j). ``keep`` retrieves only the blocks
    of the ``keep`` best landmarks per query, p_A normalised on these. Without the causal form, all complete blocks
    have a landmark to speak for them. Published with m = 50. Mohtashami and Jaggi 2023 (arXiv 2305.16300), section 3.
    """

    block: int = 3
    keep: int | None = None
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "mohtashami2023"
    approximates: ClassVar[Approximation | str | None] = "landmarks are trained tokens"

    def __post_init__(self):
        if self.block < 2 or (self.keep is not None and self.keep < 0):
            raise ValueError(f"block={self.block!r} must be at least 2 and keep={self.keep!r} None or at least 0")

    @classmethod
    def variants(cls) -> dict[str, Landmark]:
        """Training, on all blocks, and retrieval of one."""
        return {"training": cls(), "retrieval": cls(2, 1)}

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """Retrieval chooses; the columns of landmarks are empty."""
        skips = {} if self.keep is None else {"rank": "blocks that no query retrieves are seen from inside only"}
        return Facts(
            row_sum=1.0,
            causal="mask",
            content="pair",
            equivariant=("rotation",),
            rank=(lambda sizes: sizes.n - sizes.n // self.block) if self.keep is None else None,
            smooth=self.keep is None,
            skips=skips,
        )

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        return self.matrix(inputs, parameters, causal=causal) @ inputs.v

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        one_query_per_key(inputs, "Landmark")
        n = inputs.k.shape[-2]
        return self.weights(inputs.q @ inputs.k.mT / inputs.k.shape[-1] ** 0.5, query_places(n, n), causal)

    def weights(self, s: Tensor, at: Tensor, causal: bool) -> Tensor:
        """The map (..., token, token) of scores."""
        own = at // self.block
        marks = at % self.block == self.block - 1
        same, ordinary = own[:, None] == own[None], ~marks
        inside = same & ordinary[None]
        before = ~same & marks[None]
        if causal:
            inside, before = inside & (at[None] <= at[:, None]), before & (own[None] < own[:, None])
        if self.keep is not None:
            before = largest(s, before, self.keep)
        p_A = masked_softmax(s, inside | before)
        p_landmark = p_A[..., marks]  # (..., query, complete block)
        parts = []
        for b in range(int(own[-1]) + 1):
            tokens = slice(b * self.block, (b + 1) * self.block)
            within = masked_softmax(s[..., tokens], ordinary[tokens])
            if b < p_landmark.shape[-1]:
                parts.append(torch.where(same[:, tokens], 0.0, p_landmark[..., b : b + 1] * within))
            else:
                parts.append(torch.zeros_like(within))
        return torch.where(inside, p_A, 0.0) + torch.cat(parts, -1)
