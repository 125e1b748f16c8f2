"""Selective self-attention: each query has a temperature of its own, from its content and its position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.axes import per_head
from attnlab.kernels.operators.base_scores.self_attention import SelfAttention, weights_of
from attnlab.kernels.operators.operator import Facts, Limit, Operator, Parameters, Sizes, Tokens, checked, normal
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


def _plain(inputs, parameters):
    silent = {name: 0 * x if name.endswith("temperature") else x for name, x in parameters.items()}
    silent["slope"] = torch.full_like(parameters["slope"], -800.0)  # sigmoid(a) = 0: no logarithm of the position
    shared = {name: x for name, x in parameters.items() if name in ("query", "key", "value", "out")}
    return inputs, silent, shared


@dataclass(frozen=True)
class SelectiveTemperature(Operator):
    r"""Queries and values scaled by factors of their token before attention.

    .. math:: W = \mathrm{softmax}(\tau^q_i\, q_i \cdot k_j / \sqrt d), \quad y = \sum_j W_{ij}\, \tau^v_j v_j, \qquad
              \tau_i = \tanh(w \cdot x_i) + 1 + \sigma(a) \ln i,

    i = 1, 2, ... the position. Queries and values have a vector w per head each, and share the slope a; keys have no factor
    (the paper allows one; which of the three share weights is not said in what we could read). Rows sum to 1; the factor of
    a value belongs to the values. Zhang et al. 2024, selective attention (arXiv 2411.12892), section 3.
    """

    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "zhang2024selective"
    facts: ClassVar[Facts] = Facts(1.0, causal="mask", content="pair", equivariant=("shift",))
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("factors 1", lambda: SelectiveTemperature(), lambda: SelfAttention(), _plain),
    )
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        made = projections(sizes, generators, dtype)
        for name in ("query_temperature", "value_temperature"):
            made[name] = normal(generators, (sizes.n_heads, sizes.d_model, 1), sizes.d_model**-0.5, dtype)
        return made | {"slope": torch.zeros(len(generators), sizes.n_heads, dtype=dtype)}

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        q, k = self._queries(inputs, parameters), into_heads(inputs.x, parameters["key"])
        mixed = attention(q, k, self.values(inputs, parameters), mask="causal" if causal else None)
        return self.post(mixed, inputs, parameters)

    def matrix(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        q, k = self._queries(inputs, parameters), into_heads(inputs.x, parameters["key"])
        return weights_of(q @ k.mT / q.shape[-1] ** 0.5, causal)

    def values(self, inputs: Tokens, parameters: Parameters) -> Tensor:
        return self._factor("value", inputs.x, parameters) * into_heads(inputs.x, parameters["value"])

    def post(self, mixed: Tensor, inputs: Tokens, parameters: Parameters) -> Tensor:
        return out_of_heads(mixed, parameters["out"])

    def _queries(self, inputs, parameters):
        return self._factor("query", inputs.x, parameters) * into_heads(inputs.x, parameters["query"])

    @staticmethod
    def _factor(which, x, parameters):
        """tau (replica, batch, head, n, 1)."""
        of_token = into_heads(x, parameters[f"{which}_temperature"]).tanh()
        position = torch.arange(1, x.shape[-2] + 1, dtype=x.dtype, device=x.device)[:, None]
        return of_token + 1 + per_head(parameters["slope"].sigmoid(), of_token) * position.log()
