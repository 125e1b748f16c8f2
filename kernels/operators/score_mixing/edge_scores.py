"""Edge scores on graphs: additive, dot-product and mixed attention between neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.operator import Facts, Graph, Operator, Parameters, Sizes, checked, normal
from attnlab.kernels.operators.projections import into_heads
from attnlab.kernels.operators.selection import masked_softmax

FORMS = ("additive", "product", "scaled_product", "mixed")


@dataclass(frozen=True)
class EdgeScores(Operator):
    r"""Softmax over neighbours of :math:`\mathrm{LeakyReLU}_{0.2}(e_{ij})`, values h = W x per head, heads side by side.

    "additive" (GO): :math:`e = a \cdot [h_i; h_j]`, the score of GAT, one ranking of keys for all queries. "product" (DP):
    :math:`h_i \cdot h_j`; "scaled_product" (SD): that over sqrt d; "mixed" (MX):
    :math:`\mathrm{GO} \cdot \sigma(\mathrm{DP})`. Parameters "value" W (replica, head, d_model, d) and, for GO and MX,
    "left", "right" (replica, head, d). The supervision of edges belongs to training. A node without neighbours gets 0;
    the sheet's recipe adds self loops to the edges. Kim and Oh 2021 (arXiv 2204.04879), equations 4 to 6.
    """

    form: str = "mixed"
    kind: ClassVar[str] = "graph"
    source: ClassVar[str] = "kim2021"

    def __post_init__(self):
        if self.form not in FORMS:
            raise ValueError(f"form={self.form!r} is unknown; use one of {', '.join(FORMS)}")

    @classmethod
    def variants(cls) -> dict[str, EdgeScores]:
        """All four scores."""
        return {form: cls(form) for form in FORMS}

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """Additive scores rank the keys alike for every query."""
        return Facts(
            row_sum=1.0,
            causal="none",
            causal_reason="edges of a graph have no order",
            content="key" if self.form == "additive" else "pair",
        )

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        made = {"value": normal(generators, (sizes.n_heads, sizes.d_model, sizes.d), sizes.d_model**-0.5, dtype)}
        if self.form in ("additive", "mixed"):
            for name in ("left", "right"):
                made[name] = normal(generators, (sizes.n_heads, sizes.d), sizes.d**-0.5, dtype)
        return made

    def apply(
        self, inputs: Graph, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        h = self.values(inputs, parameters)
        return self.post(self._map(h, inputs, parameters, causal) @ h, inputs, parameters)

    def values(self, inputs: Graph, parameters: Parameters) -> Tensor:
        checked(inputs, self)
        return into_heads(inputs.x, parameters["value"])

    def matrix(
        self, inputs: Graph, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        return self._map(self.values(inputs, parameters), inputs, parameters, causal)

    def post(self, mixed: Tensor, inputs: Graph, parameters: Parameters) -> Tensor:
        return mixed.transpose(2, 3).flatten(3)

    def scores(self, h: Tensor, parameters: Parameters) -> Tensor:
        """Raw scores (replica, batch, head, node, node) of features h (replica, batch, head, node, d)."""
        if self.form != "additive":
            product = h @ h.mT
        if self.form == "product":
            return product
        if self.form == "scaled_product":
            return product / h.shape[-1] ** 0.5
        own, other = ((h * parameters[name][:, None, :, None]).sum(-1) for name in ("left", "right"))
        additive = own[..., :, None] + other[..., None, :]
        return additive if self.form == "additive" else additive * product.sigmoid()

    def _map(self, h, inputs, parameters, causal):
        self.not_causal(causal)
        e = torch.nn.functional.leaky_relu(self.scores(h, parameters), 0.2)
        return masked_softmax(e, inputs.edges[None, :, None])
