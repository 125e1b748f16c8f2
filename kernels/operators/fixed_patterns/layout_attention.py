"""Skim attention: weights from the layout alone, used on whatever stands in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.grids import places
from attnlab.kernels.operators.operator import Facts, Grid, Operator, Parameters, Sizes, checked, normal
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


@dataclass(frozen=True)
class LayoutAttention(Operator):
    r"""Maps of a document's layout: :math:`A_h = \mathrm{softmax}(Q_h(l)\, K_h(l)^\top/\sqrt d)`, y = sum_h A_h V_h(x) W_h.

    Token i stands in cell (r, c) of the grid and has the layout embedding :math:`l_i = R_r + C_c`, two learned tables of
    ``side`` entries (the authors embed all corners and sides of the box; boxes of a grid differ in place only). The map is
    the same for every text, so y is linear in x. A stack of layers uses the map L times. Nguyen et al. 2021 (arXiv
    2109.01078), section 3.
    """

    side: int = 64
    kind: ClassVar[str] = "grid"
    source: ClassVar[str] = "nguyen2021"
    facts: ClassVar[Facts] = Facts(
        row_sum=1.0, causal="none", causal_reason="a layout is seen whole", content="none", equivariant=("layout",)
    )

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        made = projections(sizes, generators, dtype)
        for name in ("rows", "columns"):
            made[name] = normal(generators, (self.side, sizes.d_model), 1.0, dtype)
        return made

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
        n = inputs.x.shape[-2]
        unit = torch.eye(n, dtype=inputs.x.dtype, device=inputs.x.device)
        heads = parameters["query"].shape[1]
        return self._mix(inputs, parameters, unit.expand(*inputs.x.shape[:2], heads, n, n))

    def post(self, mixed: Tensor, inputs: Grid, parameters: Parameters) -> Tensor:
        return out_of_heads(mixed, parameters["out"])

    def _mix(self, inputs, parameters, values):
        if max(inputs.shape) > self.side:
            raise ValueError(
                f"shape={inputs.shape!r} is larger than the tables of side={self.side}; pass a larger side"
            )
        rows, columns = places(inputs.shape)
        layout = parameters["rows"][:, rows] + parameters["columns"][:, columns]  # (replica, n, d_model)
        layout = layout[:, None].expand(-1, inputs.x.shape[1], -1, -1)
        return attention(into_heads(layout, parameters["query"]), into_heads(layout, parameters["key"]), values)
