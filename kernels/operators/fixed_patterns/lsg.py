"""Local, sparse, global attention: near blocks whole, far ones thinned out, the first token for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Approximation, Facts, Limit, Operator, Parameters, checked

CHOICES = ("norm", "stride")


@dataclass(frozen=True)
class LSG(Operator):
    r"""One softmax over local, sparse and global keys of a query in block c (blocks of b tokens):

    blocks c - 1, c, c + 1 whole; of the next f blocks to each side every f-th key (b in all per side); and token 0, which
    sees every token itself. ``choice="stride"``: keys j with j mod f = h mod f in head h; ``"norm"``: the b/f keys of
    largest norm in each block, ties by position (no gradient through the choice). The causal form keeps what lies before
    the query. Pooled variants are not built. Published with b = 128. Condevaux and Harispe 2022 (arXiv 2210.15497).
    """

    block: int = 2
    factor: int = 2
    choice: str = "norm"
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "condevaux2022"
    approximates: ClassVar[Approximation | str | None] = "only the place of a key decides whether it is seen"
    facts: ClassVar[Facts] = Facts(
        row_sum=1.0,
        causal="mask",
        content="pair",
        equivariant=("rotation",),
        smooth=False,  # norms are ranked
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("two blocks hold all tokens", lambda: LSG(3, 3), lambda: DotProduct()),
        Limit("factor 1 and at most three blocks", lambda: LSG(2, 1), lambda: DotProduct()),
    )

    def __post_init__(self):
        if self.choice not in CHOICES or self.factor < 1 or self.block % self.factor:
            raise ValueError(
                f"choice={self.choice!r} must be one of {CHOICES} and factor={self.factor!r} divide block={self.block!r}"
            )

    @classmethod
    def variants(cls) -> dict[str, LSG]:
        """Both choices of sparse keys."""
        return {choice: cls(choice=choice) for choice in CHOICES}

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        return attention(inputs.q, inputs.k, inputs.v, mask=self.visible(inputs.q, inputs.k, causal))

    def visible(self, q: Tensor, k: Tensor, causal: bool) -> Tensor:
        """Boolean (..., query, key); queries are the last tokens."""
        n_q, n_k = q.shape[-2], k.shape[-2]
        i, j = torch.arange(n_k - n_q, n_k, device=k.device)[:, None], torch.arange(n_k, device=k.device)[None]
        gap = (j // self.block - i // self.block).abs()
        seen = (gap <= 1) | (self._chosen(k)[..., None, :] & (gap <= 1 + self.factor)) | (i == 0) | (j == 0)
        return seen & (j <= i) if causal else seen

    def _chosen(self, k: Tensor) -> Tensor:
        """Which keys stand for their block, (..., key)."""
        at = torch.arange(k.shape[-2], device=k.device)
        if self.choice == "stride":
            head = torch.arange(k.shape[-3], device=k.device)[:, None]
            return at % self.factor == head % self.factor
        norm = k.detach().square().sum(-1)
        larger = norm[..., None, :] > norm[..., :, None]
        before = (norm[..., None, :] == norm[..., :, None]) & (at[None] < at[:, None])
        same = at[None] // self.block == at[:, None] // self.block
        return ((larger | before) & same).sum(-1) < self.block // self.factor
