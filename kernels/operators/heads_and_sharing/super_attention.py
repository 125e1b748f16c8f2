"""Super attention: efficient attention with a learned matrix over positions between map and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.heads_and_sharing.absorbed_projections import AbsorbedProjections, slices
from attnlab.kernels.operators.operator import QKV, Facts, Heads, Limit, Operator, Parameters, Sizes, checked
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


@dataclass(frozen=True)
class SuperAttention(Operator):
    r"""Slices as keys and values, mixed over positions first: :math:`y = \sum_h A_h W_A\, x_{[h]} W^O_h`.

    W_A (n, n) is shared by heads (``positions``, starts at 1, where it is efficient attention), so the length is fixed; rows of
    A W_A have any sum and sign. With ``causal`` its lower triangle is used: a full W_A would show later tokens.
    Hosseini and Hosseini 2024 (arXiv 2403.01643), equation 11.
    """

    kind: ClassVar[str] = "heads"
    source: ClassVar[str] = "hosseini2024"
    facts: ClassVar[Facts] = Facts("free", causal="mask", content="pair")
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("W_A = 1, its start", lambda: SuperAttention(), lambda: AbsorbedProjections("efficient")),
    )
    budget: ClassVar[float] = 1e-4

    def inner_operator(self) -> Operator:
        """What the heads do, unless the inputs say otherwise."""
        return DotProduct()

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        unit = torch.eye(sizes.n, dtype=dtype).repeat(len(generators), 1, 1)
        return projections(sizes, generators, dtype, ("query", "out")) | {"positions": unit}

    def apply(
        self, inputs: Heads, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        x = self.values(inputs, parameters)
        mixed = self._positions(inputs, parameters, causal) @ x
        heads = QKV(into_heads(inputs.x, parameters["query"]), x, mixed)
        return self.post(inputs.inner.apply(heads, {}, causal=causal), inputs, parameters)

    def matrix(
        self, inputs: Heads, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        x = self.values(inputs, parameters)
        A = inputs.inner.matrix(QKV(into_heads(inputs.x, parameters["query"]), x, x), {}, causal=causal)
        return A @ self._positions(inputs, parameters, causal)

    def values(self, inputs: Heads, parameters: Parameters) -> Tensor:
        return slices(inputs.x, parameters["query"].shape[1])

    def post(self, mixed: Tensor, inputs: Heads, parameters: Parameters) -> Tensor:
        return out_of_heads(mixed, parameters["out"])

    @staticmethod
    def _positions(inputs, parameters, causal):
        W, n = parameters["positions"][:, None, None], inputs.x.shape[-2]
        if W.shape[-1] != n:
            raise ValueError(f"x has {n} tokens, W_A was made for {W.shape[-1]}; initialise with n={n}")
        return W.tril() if causal else W
