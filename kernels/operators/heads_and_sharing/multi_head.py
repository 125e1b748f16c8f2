"""Multi-head combination of any operator on queries, keys and values: what shared and mixed heads are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Facts, Heads, Operator, Parameters, Sizes, checked
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


@dataclass(frozen=True)
class MultiHead(Operator):
    r"""Heads of an inner operator, summed: :math:`y = \sum_h \mathrm{inner}(x W^Q_h, x W^K_h, x W^V_h)\, W^O_h`.

    The inner operator (of kind "qkv", without parameters; by default the scaled dot product) comes with the inputs.
    Vaswani et al. 2017 (arXiv 1706.03762), section 3.2.2.
    """

    kind: ClassVar[str] = "heads"
    source: ClassVar[str] = "vaswani2017"
    facts: ClassVar[Facts] = Facts(1.0, causal="mask", content="pair", equivariant=("permutation",))

    def inner_operator(self) -> Operator:
        """What the heads do, unless the inputs say otherwise."""
        return DotProduct()

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        return projections(sizes, generators, dtype)

    def apply(
        self, inputs: Heads, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        return self.post(inputs.inner.apply(self.heads(inputs, parameters), {}, causal=causal), inputs, parameters)

    def matrix(
        self, inputs: Heads, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        return inputs.inner.matrix(self.heads(inputs, parameters), {}, causal=causal)

    def values(self, inputs: Heads, parameters: Parameters) -> Tensor:
        return self.heads(inputs, parameters).v

    def post(self, mixed: Tensor, inputs: Heads, parameters: Parameters) -> Tensor:
        return out_of_heads(mixed, parameters["out"])

    def heads(self, inputs: Heads, parameters: Parameters) -> QKV:
        """Queries, keys and values of all heads, (replica, batch, head, n, d)."""
        return QKV(*(into_heads(inputs.x, parameters[name]) for name in ("query", "key", "value")))
