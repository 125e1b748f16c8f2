"""Attention on the sphere: quadrature weights of the grid inside the softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.fixed_patterns.neighbourhood import Neighbourhood
from attnlab.kernels.operators.operator import Facts, Grid, Limit, Operator, Parameters, Sizes, checked
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


def _unweighted(inputs, parameters):
    """No weights, and the rival's table of positions at zero."""
    query = parameters["query"]
    table = torch.zeros(*query.shape[:2], 197, 197, dtype=query.dtype)
    return type(inputs)(inputs.x, inputs.shape), parameters, parameters | {"position": table}


@dataclass(frozen=True)
class Sphere(Operator):
    r"""A softmax that approximates an integral: :math:`y_i = \sum_j w_j e^{s_{ij}} v_j/\sum_j w_j e^{s_{ij}}`, w the
    grid's quadrature weights.

    That is softmax attention with bias ln w_j. Without ``weights`` all cells count alike, which on a grid of equal
    angles weights the poles too much at every resolution. Bonev et al. 2025 (arXiv 2505.11157), equation 8.
    """

    kind: ClassVar[str] = "grid"
    source: ClassVar[str] = "bonev2025"
    facts: ClassVar[Facts] = Facts(
        row_sum=1.0, causal="none", causal_reason="an integral over the sphere has no order", content="pair"
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("equal weights", lambda: Sphere(), lambda: Neighbourhood(99), _unweighted),
    )

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        return projections(sizes, generators, dtype)

    def apply(
        self, inputs: Grid, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        return self.post(self._mix(inputs, parameters, self.values(inputs, parameters)), inputs, parameters)

    def values(self, inputs: Grid, parameters: Parameters) -> Tensor:
        return into_heads(inputs.x, parameters["value"])

    def matrix(
        self, inputs: Grid, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        n, heads = inputs.x.shape[-2], parameters["query"].shape[1]
        unit = torch.eye(n, dtype=inputs.x.dtype, device=inputs.x.device)
        return self._mix(inputs, parameters, unit.expand(*inputs.x.shape[:2], heads, n, n))

    def post(self, mixed: Tensor, inputs: Grid, parameters: Parameters) -> Tensor:
        return out_of_heads(mixed, parameters["out"])

    def _mix(self, inputs, parameters, values):
        q, k = (into_heads(inputs.x, parameters[name]) for name in ("query", "key"))
        bias = None if inputs.weights is None else inputs.weights.log()[None]
        return attention(q, k, values, bias=bias)
