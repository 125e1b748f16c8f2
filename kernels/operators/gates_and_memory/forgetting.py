"""The forgetting transformer: a forget gate per token, as a bias of the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.biases import ForgetGate
from attnlab.kernels.operators.axes import past, per_head
from attnlab.kernels.operators.base_scores.self_attention import SelfAttention
from attnlab.kernels.operators.operator import Facts, Limit, Operator, Parameters, Sizes, Tokens, checked, normal
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


def _never_forgets(inputs, parameters):
    shared = {name: x for name, x in parameters.items() if not name.startswith("gate")}
    gates = {"gate": 0 * parameters["gate"], "gate_bias": 0 * parameters["gate_bias"] + 60.0}
    return inputs, shared | gates, shared


@dataclass(frozen=True)
class Forgetting(Operator):
    r"""Softmax attention whose old keys fade.

    .. math:: W = \mathrm{softmax}(s_{ij} + c_i - c_j), \qquad c_i = \sum_{l \le i} \ln f_l .

    f_l = sigmoid(w . x_l + b) per head. The same weights as if at each step i all earlier ones were multiplied by f_i before the
    row is normalised. A constant gate is ALiBi of slope -ln f; f = 1 is causal softmax without positions. The gate is defined on
    the past alone: ``causal`` changes nothing. Lin et al. 2025 (arXiv 2503.02130), equations 7 and 8.
    """

    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "lin2025"
    facts: ClassVar[Facts] = Facts(1.0, causal="prefix", content="pair", equivariant=("shift",))
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("f = 1", lambda: Forgetting(), lambda: SelfAttention(), _never_forgets, causal=True),
    )
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        made = projections(sizes, generators, dtype)
        made["gate"] = normal(generators, (sizes.n_heads, sizes.d_model, 1), sizes.d_model**-0.5, dtype)
        return made | {"gate_bias": torch.full((len(generators), sizes.n_heads), 2.0, dtype=dtype)}

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        q, k, v = (into_heads(inputs.x, parameters[name]) for name in ("query", "key", "value"))
        fading = ForgetGate(self.log_gates(inputs.x, parameters))
        return self.post(attention(q, k, v, mask="causal", bias=fading), inputs, parameters)

    def matrix(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        q, k = (into_heads(inputs.x, parameters[name]) for name in ("query", "key"))
        c = self.log_gates(inputs.x, parameters).cumsum(-1)
        s = q @ k.mT / q.shape[-1] ** 0.5 + c[..., :, None] - c[..., None, :]
        return torch.where(past(*s.shape[-2:], s.device), s, -torch.inf).softmax(-1)

    def values(self, inputs: Tokens, parameters: Parameters) -> Tensor:
        return into_heads(inputs.x, parameters["value"])

    def post(self, mixed: Tensor, inputs: Tokens, parameters: Parameters) -> Tensor:
        return out_of_heads(mixed, parameters["out"])

    @staticmethod
    def log_gates(x: Tensor, parameters: Parameters) -> Tensor:
        """ln f (replica, batch, head, n)."""
        raw = into_heads(x, parameters["gate"])
        return logsigmoid(raw + per_head(parameters["gate_bias"], raw)).squeeze(-1)
