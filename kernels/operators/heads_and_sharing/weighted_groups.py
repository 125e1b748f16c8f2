"""Weighted grouped queries: heads of a group share keys and values, a weighted sum of what they had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.heads_and_sharing.multi_head import MultiHead
from attnlab.kernels.operators.operator import QKV, Facts, Heads, Limit, Operator, Parameters, Sizes, checked
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


@dataclass(frozen=True)
class WeightedGroups(Operator):
    r"""``n_groups`` G sets of keys and values for H query heads, pooled from the H sets of a multi-head layer:

    .. math:: W^K_g = \sum_{h \in g} w^K_h W^K_h, \qquad W^V_g = \sum_{h \in g} w^V_h W^V_h .

    Weights are numbers per head (``key_weight``, ``value_weight``, (replica, head)) that start at the mean, G/H: grouped-query
    attention. After training they merge into the projections; the cache is H/G times smaller. G = H with weights 1 is multi-head
    attention, one-hot weights keep one head of each group. Weights per row or column of the projections are variants not built
    here. Chinnakonduru and Mohapatra 2024 (arXiv 2407.10855), equations 3 and 4.
    """

    n_groups: int = 1
    kind: ClassVar[str] = "heads"
    source: ClassVar[str] = "chinnakonduru2024"
    facts: ClassVar[Facts] = Facts(1.0, causal="mask", content="pair", equivariant=("permutation",))
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("a group per head, weights 1", lambda: WeightedGroups(2), lambda: MultiHead()),
    )

    def inner_operator(self) -> Operator:
        """What the heads do, unless the inputs say otherwise."""
        return DotProduct()

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        H = sizes.n_heads
        if self.n_groups < 1 or H % self.n_groups:
            raise ValueError(f"n_groups={self.n_groups!r} must divide the {H} heads")
        mean = torch.full((len(generators), H), self.n_groups / H, dtype=dtype)
        return projections(sizes, generators, dtype) | {"key_weight": mean, "value_weight": mean.clone()}

    def apply(
        self, inputs: Heads, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        return self.post(inputs.inner.apply(self._heads(inputs, parameters), {}, causal=causal), inputs, parameters)

    def matrix(
        self, inputs: Heads, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        return inputs.inner.matrix(self._heads(inputs, parameters), {}, causal=causal)

    def values(self, inputs: Heads, parameters: Parameters) -> Tensor:
        return self._shared("value", inputs.x, parameters)

    def post(self, mixed: Tensor, inputs: Heads, parameters: Parameters) -> Tensor:
        return out_of_heads(mixed, parameters["out"])

    def _heads(self, inputs, parameters):
        k, v = (self._shared(name, inputs.x, parameters) for name in ("key", "value"))
        return QKV(into_heads(inputs.x, parameters["query"]), k, v)

    def _shared(self, name, x, parameters):
        """Keys or values of the groups, repeated for their heads."""
        weight = parameters[f"{name}_weight"][..., None, None] * parameters[name]  # (replica, head, D, d)
        per_group = weight.shape[1] // self.n_groups
        pooled = weight.unflatten(1, (self.n_groups, per_group)).sum(2)
        return into_heads(x, pooled).repeat_interleave(per_group, 2)
