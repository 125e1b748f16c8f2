"""Gated attention: a gate per head and token lets a head do nothing without extreme scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.axes import per_head
from attnlab.kernels.operators.base_scores.self_attention import SelfAttention, attention_weights
from attnlab.kernels.operators.operator import Facts, Limit, Operator, Parameters, Sizes, Tokens, checked, normal
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


def _open(inputs, parameters):
    opened = parameters | {"gate": 0 * parameters["gate"], "gate_bias": 0 * parameters["gate_bias"] + 60.0}
    return inputs, opened, {name: x for name, x in parameters.items() if not name.startswith("gate")}


@dataclass(frozen=True)
class GatedAttention(Operator):
    r"""Softmax attention times a gate of the query's token, :math:`\sigma(g_h \cdot x_i + b_h) \sum_j W_{ij} v_j` per head.

    The row sum times the gate is at most 1, and near 0 for a head that does nothing, at finite scores. ``gate`` starts at random,
    ``gate_bias`` at 0 (half open; the paper starts between .25 and .9). Bondarenko et al. 2023 (arXiv 2306.12929), equation 5,
    linear gate.
    """

    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "bondarenko2023"
    facts: ClassVar[Facts] = Facts(1.0, causal="mask", content="pair", equivariant=("permutation",))
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("gate open", lambda: GatedAttention(), lambda: SelfAttention(), _open),
    )

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        made = projections(sizes, generators, dtype)
        made["gate"] = normal(generators, (sizes.n_heads, sizes.d_model, 1), sizes.d_model**-0.5, dtype)
        return made | {"gate_bias": torch.zeros(len(generators), sizes.n_heads, dtype=dtype)}

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        q, k = (into_heads(inputs.x, parameters[name]) for name in ("query", "key"))
        mixed = attention(q, k, self.values(inputs, parameters), mask="causal" if causal else None)
        return self.post(mixed, inputs, parameters)

    def matrix(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        return attention_weights(inputs.x, parameters, causal)

    def values(self, inputs: Tokens, parameters: Parameters) -> Tensor:
        return into_heads(inputs.x, parameters["value"])

    def post(self, mixed: Tensor, inputs: Tokens, parameters: Parameters) -> Tensor:
        gate = into_heads(inputs.x, parameters["gate"])
        gate = torch.sigmoid(gate + per_head(parameters["gate_bias"], gate))
        return out_of_heads(gate * mixed, parameters["out"])
