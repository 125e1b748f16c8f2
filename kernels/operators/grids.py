"""Attention on a grid through a mask that the shape alone decides: projections, a table of relative positions, heads.

Members say which cells see each other (:meth:`GridAttention.visible`) and how far their table of relative positions goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.operator import Grid, Operator, Parameters, Sizes, checked
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


def places(shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Row and column of every token of a row-major grid."""
    at = torch.arange(shape[0] * shape[1])
    return at // shape[1], at % shape[1]


class GridAttention(Operator):
    r"""Softmax attention of heads on the visible cells: :math:`s_{ij} = q_i \cdot k_j/\sqrt d + b_{j - i}`.

    Parameters: query, key, value (replica, head, d_model, d), out (replica, head, d, d_model), and the table "position"
    (replica, head, 2 m + 1, 2 m + 1) of offsets up to m = :meth:`farthest`, zero at the start.
    """

    kind: ClassVar[str] = "grid"

    def visible(self, shape: tuple[int, int], causal: bool) -> Tensor:
        """Boolean (token, token) of the grid."""
        raise NotImplementedError(f"{type(self).__name__} does not say which cells see each other")

    def farthest(self) -> int:
        """The largest offset per axis with an entry of its own in the table."""
        raise NotImplementedError(f"{type(self).__name__} does not say how far its table goes")

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        made = projections(sizes, generators, dtype)
        side = 2 * self.farthest() + 1
        made["position"] = torch.zeros(len(generators), sizes.n_heads, side, side, dtype=dtype)
        return made

    def apply(
        self, inputs: Grid, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        mixed = self._mix(inputs, parameters, self.values(inputs, parameters), causal)
        return self.post(mixed, inputs, parameters)

    def values(self, inputs: Grid, parameters: Parameters) -> Tensor:
        return into_heads(inputs.x, parameters["value"])

    def matrix(
        self, inputs: Grid, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        n = inputs.x.shape[-2]
        unit = torch.eye(n, dtype=inputs.x.dtype, device=inputs.x.device)
        heads = parameters["query"].shape[1]
        return self._mix(inputs, parameters, unit.expand(*inputs.x.shape[:2], heads, n, n), causal)

    def post(self, mixed: Tensor, inputs: Grid, parameters: Parameters) -> Tensor:
        return out_of_heads(mixed, parameters["out"])

    def _mix(self, inputs, parameters, values, causal):
        q, k = into_heads(inputs.x, parameters["query"]), into_heads(inputs.x, parameters["key"])
        rows, columns = places(inputs.shape)
        m = self.farthest()
        down = (rows[None] - rows[:, None]).clamp(-m, m) + m
        right = (columns[None] - columns[:, None]).clamp(-m, m) + m
        bias = parameters["position"][..., down, right]  # (replica, head, query, key)
        seen = self.visible(inputs.shape, causal)
        return attention(q, k, values, bias=bias[:, None], mask=None if bool(seen.all()) else seen)
