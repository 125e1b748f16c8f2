"""Rank-augmented linear attention (RALA): weighted keys in the buffer, and a gate on the output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import elu

from attnlab.kernels.operators.operator import Facts, Operator, Parameters, Sizes, Tokens, checked, normal
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


def log_kappa(x: Tensor) -> Tensor:
    """ln (ELU(x) + 1): x below 0, ln(1 + x) above."""
    return torch.where(x > 0, x.clamp(min=0).log1p(), x)


@dataclass(frozen=True)
class RankAugmented(Operator):
    r"""Linear attention with a weight per key and a gate per output.

    .. math:: y_i = (x_i G + g) \odot
              \frac{\kappa(q_i) \sum_j \alpha_j \kappa(k_j)^\top v_j}{\kappa(q_i) \cdot \sum_j \alpha_j \kappa(k_j)}, \quad
              \alpha = n\, \mathrm{softmax}_j(\bar q \cdot \kappa(k_j) / \sqrt d), \quad \bar q = \overline{\kappa(q)},

    kappa = ELU + 1. The map has rank at most d whatever alpha is; the gate, an entrywise product, can lift the rank of the
    output to r s. Without the public module's rotary positions (in its numerator only, so that rows no longer sum to 1) and
    its 5 x 5 convolution of the values. Fan, Huang and He 2025 (arXiv 2411.07635), equations 8 to 11.
    """

    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "fan2025"
    facts: ClassVar[Facts] = Facts(
        1.0, causal="none", content="pair", equivariant=("permutation",), rank=lambda sizes: min(sizes.n, sizes.d),
        causal_reason="the weights of keys come from the mean query of all tokens",
    )  # fmt: skip
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        made = projections(sizes, generators, dtype, ("query", "key", "value", "gate", "out"))
        return made | {"gate_bias": normal(generators, (sizes.n_heads, sizes.d), 0.1, dtype)}

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        q, k = self._features(inputs, parameters)
        mixed = q @ (k.mT @ self.values(inputs, parameters)) / (q @ k.sum(-2)[..., None])
        return self.post(mixed, inputs, parameters)

    def matrix(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        self.not_causal(causal)
        q, k = self._features(inputs, parameters)
        w = q @ k.mT
        return w / w.sum(-1, keepdim=True)

    def values(self, inputs: Tokens, parameters: Parameters) -> Tensor:
        return into_heads(inputs.x, parameters["value"])

    def post(self, mixed: Tensor, inputs: Tokens, parameters: Parameters) -> Tensor:
        gate = into_heads(inputs.x, parameters["gate"]) + parameters["gate_bias"][:, None, :, None]
        return out_of_heads(gate * mixed, parameters["out"])

    @staticmethod
    def _features(inputs, parameters):
        """kappa(q), and alpha kappa(k), up to factors that cancel between them and in each row, so that nothing underflows."""
        q, k = (into_heads(inputs.x, parameters[name]) for name in ("query", "key"))
        scores = (elu(k) + 1) @ (elu(q) + 1).mean(-2)[..., None] / q.shape[-1] ** 0.5  # (..., key, 1)
        log_k = log_kappa(k) + scores.log_softmax(-2)
        top = log_k.detach().amax(-2, keepdim=True)  # (..., 1, channel)
        return (log_kappa(q) + top).softmax(-1), (log_k - top).exp()
