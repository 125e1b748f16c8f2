"""Group attention: k-means of the keys, and softmax over their centres with the counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Approximation, Facts, Limit, Operator, Parameters, checked


@dataclass(frozen=True)
class Groups(Operator):
    r"""Keys in N groups g with counts c_g, centres \bar k_g and mean values \bar v_g:

    .. math:: y_i = \frac{\sum_g c_g e^{q_i \cdot \bar k_g/\sqrt d}\, \bar v_g}{\sum_g c_g e^{q_i \cdot \bar k_g/\sqrt d}} .

    Groups come from ``rounds`` rounds of k-means that start from evenly spaced keys (the authors start at random); the
    assignment passes no gradient, the centres do. Softmax with the bias ln c_g, so nothing overflows (the authors'
    code does not shift by the maximum). The published scheduler of N is not built. Liang et al. 2023 (arXiv 2306.01926).
    """

    groups: int = 2
    rounds: int = 2
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "liang2023"
    approximates: ClassVar[Approximation | str | None] = Approximation(
        lambda sizes: {"": tuple(Groups(max(2, sizes.n // part)) for part in (64, 32, 16, 8))},
        lambda sizes: Groups(sizes.n),
    )
    limits: ClassVar[tuple[Limit, ...]] = (Limit("one group per key", lambda: Groups(99), lambda: DotProduct()),)

    def __post_init__(self):
        if self.groups < 1 or self.rounds < 1:
            raise ValueError(f"groups={self.groups!r} and rounds={self.rounds!r} must be at least 1")

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """The map goes through the centres."""
        return Facts(
            row_sum=1.0,
            causal="none",
            causal_reason="a centre holds keys behind the query",
            content="pair",
            equivariant=("rotation", "shift"),
            rank=lambda sizes: min(self.groups, sizes.n),
            smooth=False,
        )

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        member = self.assigned(inputs.k)  # (..., key, group), 0 or 1
        count = member.sum(-2)
        share = member.mT / count.clamp(min=1)[..., None]
        return attention(inputs.q, share @ inputs.k, share @ inputs.v, bias=count.log()[..., None, :])

    def assigned(self, k: Tensor) -> Tensor:
        """Zeros and ones (..., key, group); a group may be empty."""
        k = k.detach()
        n = k.shape[-2]
        N = min(self.groups, n)
        centres = k[..., torch.arange(N) * n // N, :]
        for turn in range(self.rounds):
            nearest = (k @ centres.mT - centres.square().sum(-1)[..., None, :] / 2).argmax(-1)
            member = torch.nn.functional.one_hot(nearest, N).to(k)
            if turn < self.rounds - 1:
                count = member.sum(-2)[..., None]
                centres = torch.where(count > 0, member.mT @ k / count.clamp(min=1), centres)
        return member
