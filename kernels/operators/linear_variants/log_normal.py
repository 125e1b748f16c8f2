"""Linear log-normal attention: exponential features, whose products spread like softmax's weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.axes import past
from attnlab.kernels.operators.convolutions import with_ones
from attnlab.kernels.operators.operator import QKV, Facts, Operator, Parameters, State, checked
from attnlab.kernels.operators.selection import masked_softmax


@dataclass(frozen=True)
class LogNormal(Operator):
    r"""Weights :math:`w_{ij} = \sum_c e^{a q_{ic} + b k_{jc}}`, divided by their row sum.

    ``query_scale`` a and ``key_scale`` b are fixed before training so that the spread of the weights is softmax's (the
    paper fits a line for them; ``theory.linear_variants.log_normal.matching_scale`` derives one). Channels are shifted by
    their maximum over the keys before exp, which cancels: nothing overflows. The published model averages this with
    softmax within diagonal blocks; this is the linear part. Nahshan, Kampeas and Haleva 2024 (arXiv 2311.13541),
    equations 8 and 9.
    """

    query_scale: float = 1.0
    key_scale: float = 1.0
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "Nahshan2024"
    facts: ClassVar[Facts] = Facts(
        1.0, causal="prefix", content="pair", equivariant=("permutation",), rank=lambda sizes: min(sizes.n, sizes.d),
    )  # fmt: skip

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        if causal:
            return self.matrix(inputs, parameters, causal=True) @ inputs.v
        k = self.key_scale * inputs.k
        top = k.detach().amax(-2, keepdim=True)  # (..., 1, channel)
        phi = (self.query_scale * inputs.q + top).softmax(-1)
        y = phi @ ((k - top).exp().mT @ with_ones(inputs.v))
        return y[..., :-1] / y[..., -1:]

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        q, k = self.query_scale * inputs.q, self.key_scale * inputs.k
        s = (q[..., :, None, :] + k[..., None, :, :]).logsumexp(-1)
        return masked_softmax(s, past(*s.shape[-2:], s.device)) if causal else s.softmax(-1)

    def start(self, token: Any) -> State:
        read = torch.zeros_like(token.k[..., None] * with_ones(token.v)[..., None, :])
        return {"top": torch.full_like(token.k, -torch.inf), "read": read}

    def step(self, state: State, token: Any, parameters: Parameters) -> tuple[State, Tensor]:
        k = self.key_scale * token.k
        top = torch.maximum(state["top"], k)
        read = (state["top"] - top).exp()[..., None] * state["read"]
        read = read + (k - top).exp()[..., None] * with_ones(token.v)[..., None, :]
        y = ((self.query_scale * token.q + top).softmax(-1)[..., None, :] @ read).squeeze(-2)
        return {"top": top, "read": read}, y[..., :-1] / y[..., -1:]
