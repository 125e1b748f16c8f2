"""Reversed attention: every token sends its value to the tokens that it would have read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.base_scores.self_attention import attention_weights
from attnlab.kernels.operators.operator import Facts, Operator, Parameters, Sizes, Tokens, checked, normal
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


@dataclass(frozen=True)
class Reversed(Operator):
    r"""Children send to parents: :math:`y_j = \sum_i A_{ij}\, p_i m_i v_i`, A the softmax map whose rows are the children.

    p_i is a softmax over heads of a linear form (``temperature``), which head the child sends through; m_i = sigmoid of a
    linear form, whether it sends at all (the paper multiplies these over layers, one layer is shown here). The map is A
    transposed: its columns sum to 1, so that totals are kept, sum_j y_j = sum_i p_i m_i v_i, where softmax keeps
    constants. After Ding et al. 2023, DependencyViT (arXiv 2304.03282); the authors' code was not found, this follows a
    re-implementation.
    """

    temperature: float = 1.0
    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "ding2023"
    facts: ClassVar[Facts] = Facts(
        "columns one", causal="none", content="pair", equivariant=("permutation",),
        causal_reason="what a token receives comes from all tokens that chose it; no masked form is published",
    )  # fmt: skip
    least_heads: ClassVar[int] = 2
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        made, D = projections(sizes, generators, dtype), sizes.d_model
        made["head"] = normal(generators, (sizes.n_heads, D, 1), D**-0.5, dtype)
        made["message"] = normal(generators, (1, D, 1), D**-0.5, dtype)
        return made

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        mixed = self.matrix(inputs, parameters, causal=causal) @ self.values(inputs, parameters)
        return self.post(mixed, inputs, parameters)

    def matrix(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        self.not_causal(causal)
        return attention_weights(inputs.x, parameters, False).mT

    def values(self, inputs: Tokens, parameters: Parameters) -> Tensor:
        """p m v, (replica, batch, head, n, d)."""
        chosen = (into_heads(inputs.x, parameters["head"]) / self.temperature).softmax(2)
        sent = torch.sigmoid(into_heads(inputs.x, parameters["message"]))
        return chosen * sent * into_heads(inputs.x, parameters["value"])

    def post(self, mixed: Tensor, inputs: Tokens, parameters: Parameters) -> Tensor:
        return out_of_heads(mixed, parameters["out"])
