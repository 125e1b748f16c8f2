"""Mixers that are in no paper: what must succeed on a task, and what must fail, whatever operator is tested beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.axes import linear
from attnlab.kernels.operators.operator import QKV, Facts, Operator, Parameters, Sizes, Tokens, checked, normal


@dataclass(frozen=True)
class OneToken(Operator):
    """No mixing: every query sees the value of its own token only."""

    kind: ClassVar[str] = "qkv"
    facts: ClassVar[Facts] = Facts(
        1.0, causal="mask", content="none", equivariant=("permutation",), reach=lambda sizes: 0
    )

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        return inputs.v


@dataclass(frozen=True)
class Mean(Operator):
    """The mean of all values that a query sees: no content."""

    kind: ClassVar[str] = "qkv"
    facts: ClassVar[Facts] = Facts(1.0, causal="mask", content="none", equivariant=("permutation", "rotation"))

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        return attention(inputs.q, inputs.k, inputs.v, mask="causal" if causal else None, scale=0.0)


@dataclass(frozen=True)
class SigmoidSum(Operator):
    r"""Attention without a normaliser, :math:`y_i = \sum_j \sigma(q_i \cdot k_j/\sqrt d)\, v_j`: it counts."""

    kind: ClassVar[str] = "qkv"
    facts: ClassVar[Facts] = Facts("free", causal="mask", content="pair", equivariant=("permutation", "rotation"))

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        A = (inputs.q @ inputs.k.mT / inputs.k.shape[-1] ** 0.5).sigmoid()
        return (A.tril(A.shape[-1] - A.shape[-2]) if causal else A) @ inputs.v


@dataclass(frozen=True)
class GatedRecurrence(Operator):
    r"""A gated tanh recurrence: :math:`s_t = (1 - z_t) s_{t-1} + z_t \tanh(W x_t + U (r_t \odot s_{t-1}))`, gates z, r.

    ``of_token`` (replica, D, 3 D) and ``of_state`` (replica, D, 3 D) hold the maps of both gates and of the candidate. Cho et
    al. 2014 (arXiv 1406.1078), section 2.3, without biases. Only the past is known: ``causal`` changes nothing.
    """

    kind: ClassVar[str] = "tokens"
    facts: ClassVar[Facts] = Facts("free", causal="prefix", content="nonlinear")
    no_matrix: ClassVar[str] = "the state is a nonlinear function of the past"

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        D = sizes.d_model
        return {name: normal(generators, (D, 3 * D), D**-0.5, dtype) for name in ("of_token", "of_state")}

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        given, U = linear(inputs.x, parameters["of_token"]), parameters["of_state"]
        D = inputs.x.shape[-1]
        state, found = torch.zeros_like(inputs.x[..., 0, :]), []
        for token in given.unbind(-2):
            of_state = state @ U[..., : 2 * D]
            update, reset = (token[..., : 2 * D] + of_state).sigmoid().split(D, -1)
            candidate = (token[..., 2 * D :] + (reset * state) @ U[..., 2 * D :]).tanh()
            state = state + update * (candidate - state)
            found.append(state)
        return torch.stack(found, -2)


def controls() -> dict[str, Operator]:
    """The controls by name, ``controls/...`` beside the families of the atlas."""
    return {
        "controls/one_token": OneToken(),
        "controls/mean": Mean(),
        "controls/sigmoid_sum": SigmoidSum(),
        "controls/gated_recurrence": GatedRecurrence(),
    }
