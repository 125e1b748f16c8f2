"""Gated positional self-attention: a content map and a positional map, mixed by a gate per head."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.fixed_patterns.neighbourhood import Neighbourhood
from attnlab.kernels.operators.grids import places
from attnlab.kernels.operators.operator import Facts, Grid, Limit, Operator, Parameters, Sizes, checked
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


def _content_only(inputs, parameters):
    """Gates of exactly 0, and the rival's table of positions at zero."""
    query = parameters["query"]
    table = torch.zeros(*query.shape[:2], 197, 197, dtype=query.dtype)
    own = parameters | {"gate": torch.full_like(parameters["gate"], -800.0)}
    return inputs, own, {name: parameters[name] for name in ("query", "key", "value", "out")} | {"position": table}


@dataclass(frozen=True)
class GatedPositions(Operator):
    r"""Maps mixed after their softmax, a gate per head:

    .. math:: A_h = (1 - \sigma(\lambda_h))\, \mathrm{softmax}(q k^\top/\sqrt d) +
              \sigma(\lambda_h)\, \mathrm{softmax}(a_h \cdot r_{ij}) .

    :math:`r_{ij} = (|\delta|^2, \delta_1, \delta_2)` of the offset from query to key. At the start
    :math:`a_h = -\alpha (1, -2 \Delta_1, -2 \Delta_2)`: the positional map is a Gaussian around the offset Delta_h, one cell of a
    floor(sqrt H) kernel per head (half-integers for even sides; heads left over look at their own cell), and lambda = 1.
    "position" (replica, head, 3), "gate" (replica, head) beside the projections. d'Ascoli et al. 2021 (arXiv 2103.10697),
    equations 7 to 10.
    """

    locality: float = 1.0
    kind: ClassVar[str] = "grid"
    source: ClassVar[str] = "dascoli2021"
    facts: ClassVar[Facts] = Facts(
        row_sum=1.0, causal="none", causal_reason="cells of an image are seen from all sides", content="pair"
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("gates closed", lambda: GatedPositions(), lambda: Neighbourhood(99), _content_only),
    )

    @classmethod
    def variants(cls) -> dict[str, GatedPositions]:
        """A wide Gaussian: at locality 1 borders fade to 1e-4 within three cells, and seem to leave shifts unbroken."""
        return {"wide": cls(0.1)}

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        made = projections(sizes, generators, dtype)
        a = torch.tensor(
            [(-self.locality, 2 * self.locality * x, 2 * self.locality * y) for x, y in centres(sizes.n_heads)]
        )
        made["position"] = a.to(dtype).expand(len(generators), -1, -1).clone()
        made["gate"] = torch.ones(len(generators), sizes.n_heads, dtype=dtype)
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
        n, heads = inputs.x.shape[-2], parameters["query"].shape[1]
        unit = torch.eye(n, dtype=inputs.x.dtype, device=inputs.x.device)
        return self._mix(inputs, parameters, unit.expand(*inputs.x.shape[:2], heads, n, n))

    def post(self, mixed: Tensor, inputs: Grid, parameters: Parameters) -> Tensor:
        return out_of_heads(mixed, parameters["out"])

    def positional(self, shape: tuple[int, int], position: Tensor) -> Tensor:
        """The positional maps (replica, head, query, key)."""
        rows, columns = (x[None] - x[:, None] for x in places(shape))
        r = torch.stack([rows**2 + columns**2, rows, columns], -1).to(position)  # (query, key, 3)
        return (r * position[..., None, None, :]).sum(-1).softmax(-1)

    def _mix(self, inputs, parameters, values):
        q, k = (into_heads(inputs.x, parameters[name]) for name in ("query", "key"))
        gate = parameters["gate"].sigmoid()[:, None, :, None, None]
        positional = self.positional(inputs.shape, parameters["position"])[:, None]
        return (1 - gate) * attention(q, k, values) + gate * (positional @ values)


def centres(n_heads: int) -> list[tuple[float, float]]:
    """Offsets that the heads look at, cells of a square kernel; heads left over look at 0."""
    side = math.isqrt(n_heads)
    cells = [(row - (side - 1) / 2, column - (side - 1) / 2) for row in range(side) for column in range(side)]
    return cells + [(0.0, 0.0)] * (n_heads - side * side)
