"""A mixer without scores: each token sees its predecessor and the running mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import gelu

from attnlab.kernels.operators.axes import linear
from attnlab.kernels.operators.gates_and_memory.local_filtering import before
from attnlab.kernels.operators.operator import Facts, Operator, Parameters, Sizes, State, Tokens, checked, normal


@dataclass(frozen=True)
class PreviousTokenMean(Operator):
    r"""A perceptron of the token, the one before and the mean so far: :math:`y_t = W_2\, \mathrm{gelu}(W_1 [x_t, x_{t-1}, c_t])`.

    :math:`c_t = \frac1t \sum_{s \le t} x_s`; the first token's predecessor is 0. Without the mean a layer reaches one
    token back, with it all far tokens enter through one sum, alike. Only the past is known: ``causal`` changes nothing.
    Hilsenbek 2024 (arXiv 2406.10906) describes the class in words; this function is our choice within it.
    """

    widening: int = 2
    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "hilsenbek2024"
    facts: ClassVar[Facts] = Facts("free", causal="prefix", content="nonlinear")
    no_matrix: ClassVar[str] = "a perceptron mixes token, predecessor and mean"
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        D, h = sizes.d_model, self.widening * sizes.d_model
        return {
            "into_hidden": normal(generators, (3 * D, h), (3 * D) ** -0.5, dtype),
            "out_of_hidden": normal(generators, (h, D), h**-0.5, dtype),
        }

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        x = inputs.x
        count = torch.arange(1, x.shape[-2] + 1, dtype=x.dtype, device=x.device)[:, None]
        return self._perceptron(torch.cat([x, before(x), x.cumsum(-2) / count], -1), parameters)

    def start(self, token: Any) -> State:
        return {
            "previous": torch.zeros_like(token.x),
            "sum": torch.zeros_like(token.x),
            "count": torch.zeros_like(token.x[..., 0]),
        }

    def step(self, state: State, token: Any, parameters: Parameters) -> tuple[State, Tensor]:
        count, total = state["count"] + 1, state["sum"] + token.x
        seen = torch.cat([token.x, state["previous"], total / count[..., None]], -1)[..., None, :]
        return {"previous": token.x, "sum": total, "count": count}, self._perceptron(seen, parameters).squeeze(-2)

    @staticmethod
    def _perceptron(seen, parameters):
        return linear(gelu(linear(seen, parameters["into_hidden"])), parameters["out_of_hidden"])
