"""Perceiver: a fixed number of latents reads all tokens, then attends to itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.base_scores.self_attention import SelfAttention, weights_of
from attnlab.kernels.operators.operator import Facts, Operator, Parameters, Sizes, Tokens, checked, normal
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


@dataclass(frozen=True)
class Perceiver(Operator):
    r"""``n_latents`` M latents Z read n tokens.

    .. math:: Z' = Z + \sum_h \mathrm{softmax}(Z W^Q_h (x W^K_h)^\top/\sqrt d)\, x W^V_h W^O_h .

    Then ``n_blocks`` of self-attention among the latents (each added to its input). Output (replica, batch, M, D). The
    map shown is the reading one; latents and blocks follow it. Without perceptrons, norms, repeated reads and Fourier
    positions, which are details of the architecture. Jaegle et al. 2021 (arXiv 2103.03206), section 3.1.
    """

    n_latents: int = 4
    n_blocks: int = 1
    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "jaegle2021"
    facts: ClassVar[Facts] = Facts(
        1.0, causal="none", content="pair", equivariant=("permutation",),
        causal_reason="every latent reads all tokens",
    )  # fmt: skip
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        made = projections(sizes, generators, dtype)
        made["latents"] = normal(generators, (self.n_latents, sizes.d_model), 1.0, dtype)
        for block in range(self.n_blocks):
            made |= {f"block{block}_{name}": w for name, w in projections(sizes, generators, dtype).items()}
        return made

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        k = into_heads(inputs.x, parameters["key"])
        mixed = attention(self._queries(inputs, parameters), k, self.values(inputs, parameters))
        return self.post(mixed, inputs, parameters)

    def matrix(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        self.not_causal(causal)
        q, k = self._queries(inputs, parameters), into_heads(inputs.x, parameters["key"])
        return weights_of(q @ k.mT / q.shape[-1] ** 0.5, False)

    def values(self, inputs: Tokens, parameters: Parameters) -> Tensor:
        return into_heads(inputs.x, parameters["value"])

    def post(self, mixed: Tensor, inputs: Tokens, parameters: Parameters) -> Tensor:
        z = parameters["latents"][:, None] + out_of_heads(mixed, parameters["out"])
        for block in range(self.n_blocks):
            own = {name: parameters[f"block{block}_{name}"] for name in ("query", "key", "value", "out")}
            z = z + SelfAttention().apply(Tokens(z), own)
        return z

    @staticmethod
    def _queries(inputs, parameters):
        Z = parameters["latents"][:, None].expand(-1, inputs.x.shape[1], -1, -1)
        return into_heads(Z, parameters["query"])
