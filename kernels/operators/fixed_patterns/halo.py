"""Blocked local attention with a halo: all cells of a block share the block and its surroundings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from attnlab.kernels.operators.fixed_patterns.neighbourhood import Neighbourhood
from attnlab.kernels.operators.grids import GridAttention, places
from attnlab.kernels.operators.operator import Facts, Limit


@dataclass(frozen=True)
class Halo(GridAttention):
    r"""Cells of a ``block`` x ``block`` block see the block enlarged by ``halo`` cells on each side.

    .. math:: j \text{ visible to } i \iff b \lfloor i/b \rfloor - h \le j < b \lfloor i/b \rfloor + b + h \text{ on both axes}.

    Cells outside the grid are hidden; zero keys there would take weight e^0. One table of relative positions up to
    b + h - 1. Published with b = 8, h = 3. Vaswani et al. 2021 (arXiv 2103.12731), section 2.2.
    """

    block: int = 2
    halo: int = 1
    kind: ClassVar[str] = "grid"
    source: ClassVar[str] = "vaswani2021"
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("one block holds the grid", lambda: Halo(8, 0), lambda: Neighbourhood(99)),
        Limit("the halo reaches over the grid", lambda: Halo(1, 8), lambda: Neighbourhood(99)),
    )

    def __post_init__(self):
        if self.block < 1 or self.halo < 0:
            raise ValueError(f"block={self.block!r} must be at least 1 and halo={self.halo!r} at least 0")

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """The reach is that of the numbers chosen."""
        return Facts(
            row_sum=1.0,
            causal="none",
            causal_reason="a block sees cells behind all of its queries",
            content="pair",
            reach=lambda sizes: self.farthest_token(sizes.shape),
        )

    def farthest(self) -> int:
        return self.block + self.halo - 1

    def visible(self, shape: tuple[int, int], causal: bool) -> Tensor:
        seen = None
        for at in places(shape):
            first = at // self.block * self.block
            near = (at[None] >= first[:, None] - self.halo) & (at[None] < first[:, None] + self.block + self.halo)
            seen = near if seen is None else seen & near
        return seen

    def farthest_token(self, shape: tuple[int, int]) -> int:
        """Distance in row-major order of the farthest cell that a cell sees."""
        seen = self.visible(shape, False).nonzero()
        return int((seen[:, 0] - seen[:, 1]).abs().max())
