"""TaylorShift: the second-order Taylor polynomial of the exponential, row-normalised, in linear time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from attnlab.kernels.linear_attention import linear_attention
from attnlab.kernels.operators.axes import past, per_head
from attnlab.kernels.operators.convolutions import with_ones
from attnlab.kernels.operators.operator import QKV, Facts, Operator, Parameters, Sizes, State, checked
from attnlab.kernels.operators.selection import shares


def polynomial_features(x: Tensor, square: float, linear: float, constant: float) -> Tensor:
    r"""Features whose products are :math:`a s^2 + b s + c`, s = x . y: each pair of coordinates once, (d+1)(d+2)/2 of them."""
    i, j = torch.triu_indices(x.shape[-1], x.shape[-1], device=x.device)
    factor = torch.where(i == j, square, 2 * square).to(x).sqrt()
    return torch.cat([factor * x[..., i] * x[..., j], linear**0.5 * x, constant**0.5 * torch.ones_like(x[..., :1])], -1)


@dataclass(frozen=True)
class TaylorShift(Operator):
    r"""Weights :math:`w = a s^2 + b s + c`, s = tau cos(q, k), divided by their row sum.

    The linear form has symmetric features, half of the published d^2 + d + 1, and an extra column of values for the row
    sum; prefix sums give a causal form (not in the paper). ``temperature`` tau (replica, head) starts at 1. Needs a > 0
    and c >= b^2/(4a), so that no weight is negative. With unit keys one feature is redundant: sum k_i^2 = 1. An
    anti-aligned key gains weight for s < -b/(2a). Nauen, Palacio and Dengel 2024 (arXiv 2403.02920), equations 1 and 3,
    algorithm 1.
    """

    square: float = 0.5
    linear: float = 1.0
    constant: float = 1.0
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "nauen2024"
    facts: ClassVar[Facts] = Facts(
        1.0, causal="prefix", content="pair", equivariant=("permutation", "rotation"),
        rank=lambda sizes: min(sizes.n, (sizes.d + 1) * (sizes.d + 2) // 2 - 1),
    )  # fmt: skip
    budget: ClassVar[float] = 1e-4

    def __post_init__(self):
        if not (self.square > 0 and self.linear >= 0 and self.constant >= self.linear**2 / (4 * self.square)):
            raise ValueError(
                f"need square > 0, linear >= 0, constant >= linear^2 / (4 square) (no negative weight), got {self}"
            )

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        return {"temperature": torch.ones(len(generators), sizes.n_heads, dtype=dtype)}

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        q, k = self._features(inputs, parameters)
        v = with_ones(inputs.v)
        y = linear_attention(q, k, v)[0] if causal else q @ (k.mT @ v)
        return y[..., :-1] / y[..., -1:]

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        q, k = self._unit(inputs, parameters)
        s = q @ k.mT
        w = self.square * s.square() + self.linear * s + self.constant
        w = torch.where(past(*w.shape[-2:], w.device), w, 0.0) if causal else w
        return shares(w)

    def start(self, token: Any) -> State:
        d = token.k.shape[-1]
        return {"read": token.v.new_zeros(*token.v.shape[:-1], (d + 1) * (d + 2) // 2, token.v.shape[-1] + 1)}

    def step(self, state: State, token: Any, parameters: Parameters) -> tuple[State, Tensor]:
        q, k = self._features(token, parameters)
        read = state["read"] + k[..., None] * with_ones(token.v)[..., None, :]
        y = (q[..., None, :] @ read).squeeze(-2)
        return {"read": read}, y[..., :-1] / y[..., -1:]

    @staticmethod
    def _unit(inputs, parameters):
        q = normalize(inputs.q, dim=-1)
        return q * per_head(parameters["temperature"], q), normalize(inputs.k, dim=-1)

    def _features(self, inputs, parameters):
        numbers = (self.square, self.linear, self.constant)
        return tuple(polynomial_features(x, *numbers) for x in self._unit(inputs, parameters))
