"""Shared attention: the layers of a span use the maps of its first layer."""

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


def _one_layer(inputs, parameters):
    alone = {name: x[:, 0] if name in ("value", "out") else x for name, x in parameters.items()}
    return inputs, parameters, alone


@dataclass(frozen=True)
class SharedMaps(Operator):
    r"""What ``span`` layers with one set of maps A_h add to the residual stream:

    .. math:: x_{l+1} = x_l + \sum_h A_h\, x_l W^V_{l,h} W^O_{l,h}, \quad A_h = \text{map of } x_0, \quad y = x_{\rm span} - x_0 .

    Values and outputs stay per layer, ``value`` and ``out`` (replica, layer, head, ., .); later layers have no queries and keys,
    and save n d of the cache each. The perceptrons between layers are left out. A span of 1 is multi-head attention. Liao and
    Vargas 2024 (arXiv 2407.12866), section 3; their code keeps the unused query projections.
    """

    span: int = 2
    kind: ClassVar[str] = "heads"
    source: ClassVar[str] = "liao2024"
    facts: ClassVar[Facts] = Facts(1.0, causal="mask", content="pair", equivariant=("permutation",))
    no_matrix: ClassVar[str] = "later layers mix what earlier ones have mixed, by other values"
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("a span of one", lambda: SharedMaps(1), lambda: MultiHead(), _one_layer),
    )
    budget: ClassVar[float] = 1e-4

    def inner_operator(self) -> Operator:
        """What gives the maps, unless the inputs say otherwise."""
        return DotProduct()

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        if not self.span >= 1:
            raise ValueError(f"span={self.span!r} must be at least 1")
        made = projections(sizes, generators, dtype, ("query", "key"))
        layers = [projections(sizes, generators, dtype, ("value", "out")) for _ in range(self.span)]
        return made | {name: torch.stack([each[name] for each in layers], 1) for name in ("value", "out")}

    def apply(
        self, inputs: Heads, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        x = inputs.x
        q, k = (into_heads(x, parameters[name]) for name in ("query", "key"))
        A = inputs.inner.matrix(QKV(q, k, q), {}, causal=causal)
        for layer in range(self.span):
            v = into_heads(x, parameters["value"][:, layer])
            x = x + out_of_heads(A @ v, parameters["out"][:, layer])
        return x - inputs.x
