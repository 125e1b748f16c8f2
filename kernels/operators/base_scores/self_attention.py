"""Multi-head self-attention: the scaled dot product with projections of its own, which other operators on tokens come back to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.operator import Facts, Operator, Parameters, Sizes, Tokens, checked
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


@dataclass(frozen=True)
class SelfAttention(Operator):
    r"""Heads of one sequence: :math:`y = \sum_h \mathrm{softmax}(x W^Q_h (x W^K_h)^\top / \sqrt d)\, x W^V_h W^O_h`.

    Parameters ``query``, ``key``, ``value`` (replica, head, D, d) and ``out`` (replica, head, d, D), without biases.
    Vaswani et al. 2017 (arXiv 1706.03762), section 3.2.2.
    """

    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "vaswani2017"
    facts: ClassVar[Facts] = Facts(1.0, causal="mask", content="pair", equivariant=("permutation",))

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        return projections(sizes, generators, dtype)

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
        return out_of_heads(mixed, parameters["out"])


def attention_weights(x: Tensor, parameters: Parameters, causal: bool) -> Tensor:
    """The softmax maps of all heads, (replica, batch, head, n, n)."""
    q, k = (into_heads(x, parameters[name]) for name in ("query", "key"))
    return weights_of(q @ k.mT / q.shape[-1] ** 0.5, causal)


def weights_of(scores: Tensor, causal: bool) -> Tensor:
    """Softmax over the visible keys."""
    if causal:
        scores = scores.masked_fill(scores.new_ones(scores.shape[-2:]).triu(1).bool(), float("-inf"))
    return scores.softmax(-1)
