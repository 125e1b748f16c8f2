"""Localized filtering attention (Yuan 2.0): queries and keys see the two tokens before, values do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.axes import beside_problems, linear, root_mean_square
from attnlab.kernels.operators.base_scores.self_attention import SelfAttention, weights_of
from attnlab.kernels.operators.operator import Facts, Limit, Operator, Parameters, Sizes, Tokens, checked, normal
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


def before(x: Tensor) -> Tensor:
    """Every token's predecessor, zero for the first."""
    return pad(x, (0, 0, 1, 0))[..., :-1, :]


def _silent(inputs, parameters):
    """Filters 0, tokens of root mean square 1."""
    unit = Tokens(inputs.x / root_mean_square(inputs.x, 0.0))
    shared = {name: x for name, x in parameters.items() if name in ("query", "key", "value", "out")}
    return unit, {name: x if name in shared or name == "gain" else 0 * x for name, x in parameters.items()}, shared


@dataclass(frozen=True)
class LocalFiltering(Operator):
    r"""Attention whose queries and keys come from filtered tokens :math:`f = g \odot \mathrm{RMSNorm}(x + F_2 * (F_1 * x))`.

    F_1 (D to D/2) and F_2 (D/2 to D) are causal convolutions of two taps with biases and nothing between, so f sees x_t, x_{t-1}
    and x_{t-2} through taps of rank at most D/2, D, D/2. Values come from x itself. The filters look back even without a mask.
    Parameters ``first_now``, ``first_before``, ``second_now``, ``second_before`` and biases. Their rotary positions are left
    out (an operator of their own). Wu et al. 2023 (arXiv 2311.15786), figure 1.
    """

    epsilon: float = 1e-6
    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "wu2023"
    facts: ClassVar[Facts] = Facts(1.0, causal="mask", content="pair")
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("filters 0, tokens of size 1", lambda: LocalFiltering(0.0), lambda: SelfAttention(), _silent),
    )
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        made, D, half = projections(sizes, generators, dtype), sizes.d_model, max(sizes.d_model // 2, 1)
        for name in ("now", "before"):
            made[f"first_{name}"] = normal(generators, (D, half), (2 * D) ** -0.5, dtype)
            made[f"second_{name}"] = normal(generators, (half, D), (2 * half) ** -0.5, dtype)
        made["first_bias"], made["second_bias"] = (normal(generators, (w,), 0.02, dtype) for w in (half, D))
        return made | {"gain": torch.ones(len(generators), D, dtype=dtype)}

    def filtered(self, x: Tensor, parameters: Parameters) -> Tensor:
        """f (replica, batch, n, D)."""
        y = x
        for name in ("first", "second"):
            mixed = linear(y, parameters[f"{name}_now"]) + linear(before(y), parameters[f"{name}_before"])
            y = mixed + beside_problems(parameters[f"{name}_bias"], mixed)
        y = x + y
        return beside_problems(parameters["gain"], y) * y / root_mean_square(y, self.epsilon)

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        f = self.filtered(inputs.x, parameters)
        q, k = (into_heads(f, parameters[name]) for name in ("query", "key"))
        mixed = attention(q, k, self.values(inputs, parameters), mask="causal" if causal else None)
        return self.post(mixed, inputs, parameters)

    def matrix(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        f = self.filtered(inputs.x, parameters)
        q, k = (into_heads(f, parameters[name]) for name in ("query", "key"))
        return weights_of(q @ k.mT / q.shape[-1] ** 0.5, causal)

    def values(self, inputs: Tokens, parameters: Parameters) -> Tensor:
        return into_heads(inputs.x, parameters["value"])

    def post(self, mixed: Tensor, inputs: Tokens, parameters: Parameters) -> Tensor:
        return out_of_heads(mixed, parameters["out"])
