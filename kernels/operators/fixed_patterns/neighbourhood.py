"""Neighbourhood attention: every cell sees the window of nearest cells, pushed inside at the borders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention.masks import Neighbourhood as NeighbourhoodMask
from attnlab.kernels.operators.grids import GridAttention, places
from attnlab.kernels.operators.operator import Facts, Limit


@dataclass(frozen=True)
class Neighbourhood(GridAttention):
    r"""Softmax over the ``size`` x ``size`` nearest cells: :math:`N(i)` has exactly ``size`` cells per axis, at borders too.

    .. math:: y_i = \sum_{j \in N(i)} \mathrm{softmax}_j(q_i \cdot k_j/\sqrt d + b_{j - i})\, v_j .

    An axis shorter than ``size`` is seen whole. The causal form looks back only: per axis the ``size`` cells that end at the
    query, cut at the border. Published with size 7 and 13. Hassani et al. 2023 (arXiv 2204.07143), section 3.1.
    """

    size: int = 3
    kind: ClassVar[str] = "grid"
    source: ClassVar[str] = "hassani2023"
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("the window has the size of the grid", lambda: Neighbourhood(3), lambda: Neighbourhood(99)),
    )

    def __post_init__(self):
        if self.size < 1 or self.size % 2 == 0:
            raise ValueError(f"size={self.size!r} must be odd and positive: a window has a middle")

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """The reach is that of the window."""
        return Facts(
            row_sum=1.0,
            causal="mask",
            content="pair",
            equivariant=("interior shift",),
            reach=lambda sizes: farthest_token(sizes.shape, self.size),
        )

    def farthest(self) -> int:
        return self.size - 1

    def visible(self, shape: tuple[int, int], causal: bool) -> Tensor:
        return windows(shape, self.size, (1, 1), causal)


def windows(shape: tuple[int, int], size: int, dilation: tuple[int, int], causal: bool) -> Tensor:
    """Boolean (token, token): the neighbourhood per axis, or the ``size`` last cells of each axis's comb."""
    if causal:
        seen = torch.tensor(True)
        for at, step in zip(places(shape), dilation, strict=True):
            back = at[:, None] - at[None]
            seen = seen & (back >= 0) & (back < size * step) & (back % step == 0)
        return seen
    sizes = tuple(min(size, length) for length in shape)
    return NeighbourhoodMask(shape, sizes, dilation).visible(shape[0] * shape[1], shape[0] * shape[1])


def farthest_token(shape: tuple[int, int], size: int) -> int:
    """Distance in row-major order of the farthest cell that a cell sees: at a corner, the opposite corner of its window."""
    rows, columns = (min(size, length) - 1 for length in shape)
    return rows * shape[1] + columns
