"""Latent attention (Latte): every query mixes latents, every latent is a softmax over the past."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlab.kernels.operators.axes import past
from attnlab.kernels.operators.operator import QKV, Facts, Operator, Parameters, State, checked


@dataclass(frozen=True)
class LatentMixture(Operator):
    r"""Through L latents, each a softmax over the visible tokens.

    .. math:: W_{ts} = \sum_{l=1}^{L} p(l \mid t)\, \frac{e^{k_{sl}}}{\sum_{r \le t} e^{k_{rl}}}, \quad
              p(\cdot \mid t) = \mathrm{softmax}(q_t),

    q, k (..., token, L): the width of queries and keys is the number of latents. Normalised per latent, not per row:
    causal, it is not linear attention with exponential features. Without a mask it is efficient attention. Dolga, Maystre
    and others 2024 (arXiv 2402.17512), equations 9 and 13; without the factor d^{-1/2} that one variant of their code
    has.
    """

    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "dolga2024"
    facts: ClassVar[Facts] = Facts(
        1.0, "prefix", "pair", ("permutation",), rank=lambda sizes: min(sizes.n, sizes.d)
    )  # causal, every block below the diagonal has that rank

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        if causal:
            return self.matrix(inputs, parameters, causal=True) @ inputs.v
        return inputs.q.softmax(-1) @ (inputs.k.softmax(-2).mT @ inputs.v)

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        P, k = inputs.q.softmax(-1), inputs.k
        log_z = k.logcumsumexp(-2) if causal else k.logsumexp(-2, keepdim=True)
        if causal:  # one row per query, the last at the last key; those before the first key see none
            log_z = pad(log_z, (0, 0, P.shape[-2] - k.shape[-2], 0))
        gap = k[..., None, :, :] - log_z[..., :, None, :]  # (..., query, key, latent), at most 0 in the past
        if causal:
            gap = torch.where(past(P.shape[-2], k.shape[-2], k.device)[..., None], gap, -torch.inf)
        return (P[..., :, None, :] * gap.exp()).sum(-1)

    def start(self, token: Any) -> State:
        return {
            "top": torch.full_like(token.k, -torch.inf),
            "mass": torch.zeros_like(token.k),
            "read": torch.zeros_like(token.k[..., None] * token.v[..., None, :]),
        }

    def step(self, state: State, token: Any, parameters: Parameters) -> tuple[State, Tensor]:
        top = torch.maximum(state["top"], token.k)
        old, new = (state["top"] - top).exp(), (token.k - top).exp()  # (..., latent)
        mass = old * state["mass"] + new
        read = old[..., None] * state["read"] + new[..., None] * token.v[..., None, :]
        y = (token.q.softmax(-1)[..., None, :] @ (read / mass[..., None])).squeeze(-2)
        return {"top": top, "mass": mass, "read": read}, y
