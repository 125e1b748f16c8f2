"""Hyper-kernels: a network of coordinates makes a matrix that multiplies the grid, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlab.kernels.operators.grids import places
from attnlab.kernels.operators.operator import Facts, Grid, Operator, Parameters, Sizes, checked, normal


@dataclass(frozen=True)
class HyperKernel(Operator):
    r"""The global operator of HyperZZW per channel, x the matrix of the grid, W of a network of coordinates (side x side):

    ``version=1`` (first public code): :math:`y = (x \odot W)\, x`, degree 2, from the row and the column of the
    output; ``version=2`` (present code): :math:`y = W x`, linear, from its column. Both are members: they are
    different operators. Grids that are not square are padded with zeros for version 1. W = sin(coordinates A) B,
    "coordinates" A (replica, 2, width), "channels" B (replica, width, d_model), coordinates in (-1, 1]. Zhang 2024
    (arXiv 2401.17948).
    """

    version: int = 2
    width: int = 8
    kind: ClassVar[str] = "grid"
    source: ClassVar[str] = "zhang2024"

    def __post_init__(self):
        if self.version not in (1, 2) or self.width < 1:
            raise ValueError(f"version={self.version!r} must be 1 or 2 and width={self.width!r} at least 1")

    @classmethod
    def variants(cls) -> dict[str, HyperKernel]:
        """Both versions of the public code."""
        return {"first": cls(1), "present": cls(2)}

    @property
    def no_matrix(self) -> str:  # type: ignore[override]
        """Version 1 multiplies the grid by itself."""
        return "the grid is multiplied by itself" if self.version == 1 else ""

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """A column, or a row and a column."""

        def reach(sizes):
            rows, columns = sizes.shape
            return max((rows - 1) * columns, columns - 1 if self.version == 1 else 0)

        return Facts(
            row_sum="free",
            causal="none",
            causal_reason="rows of the grid are mixed in both directions",
            content="nonlinear" if self.version == 1 else "none",
            reach=reach,
        )

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        return {
            "coordinates": normal(generators, (2, self.width), 3.0, dtype),
            "channels": normal(generators, (self.width, sizes.d_model), self.width**-0.5, dtype),
        }

    def apply(
        self, inputs: Grid, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        rows, columns = inputs.shape
        x = inputs.x.mT.unflatten(-1, (rows, columns))  # (replica, batch, channel, row, column)
        if self.version == 2:
            return (self.kernel(inputs, parameters, rows) @ x).flatten(-2).mT
        side = max(rows, columns)
        x = pad(x, (0, side - columns, 0, side - rows))
        y = (x * self.kernel(inputs, parameters, side)) @ x
        return y[..., :rows, :columns].flatten(-2).mT

    def kernel(self, inputs: Grid, parameters: Parameters, side: int) -> Tensor:
        """W (replica, batch, channel, side, side)."""
        at = torch.stack(places((side, side)), -1).to(inputs.x)
        at = 2 * (at + 1) / side - 1
        at = at.expand(*inputs.x.shape[:2], -1, -1)
        W = (at @ parameters["coordinates"][:, None] + 0.5).sin() @ parameters["channels"][:, None]
        return W.mT.unflatten(-1, (side, side))

    def values(self, inputs: Grid, parameters: Parameters) -> Tensor:
        """Every channel is a head of width 1."""
        return inputs.x.mT[..., None]

    def matrix(
        self, inputs: Grid, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        self.has_matrix()
        row, column = places(inputs.shape)
        W = self.kernel(inputs, parameters, inputs.shape[0])
        return torch.where(column[:, None] == column[None], W[..., row[:, None], row[None]], 0.0)

    def post(self, mixed: Tensor, inputs: Grid, parameters: Parameters) -> Tensor:
        return mixed.squeeze(-1).mT
