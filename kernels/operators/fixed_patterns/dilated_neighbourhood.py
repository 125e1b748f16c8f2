"""Dilated neighbourhood attention: the nearest cells of a comb of steps, at the price of the undilated window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from attnlab.kernels.operators.fixed_patterns.neighbourhood import Neighbourhood, windows
from attnlab.kernels.operators.grids import GridAttention
from attnlab.kernels.operators.operator import Facts, Limit


@dataclass(frozen=True)
class DilatedNeighbourhood(GridAttention):
    r"""Neighbourhood attention inside each residue class: cell i sees the ``size`` nearest of the cells :math:`i + \delta z`.

    Per axis of n cells the step is :math:`\delta = \max(1, \min(\text{dilation}, \lfloor n/\text{size} \rfloor))`, the largest
    that leaves a whole window, and the window is pushed inside per class. Cost does not depend on the step. The causal form
    keeps the half of the comb that looks back. Hassani and Shi 2022 (arXiv 2209.15001), section 3.
    """

    size: int = 3
    dilation: int = 2
    kind: ClassVar[str] = "grid"
    source: ClassVar[str] = "hassani2022"
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("dilation 1", lambda: DilatedNeighbourhood(3, 1), lambda: Neighbourhood(3)),
    )

    def __post_init__(self):
        if self.size < 1 or self.size % 2 == 0 or self.dilation < 1:
            raise ValueError(f"size={self.size!r} must be odd and positive, dilation={self.dilation!r} at least 1")

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """The reach is that of the numbers chosen."""
        return Facts(
            row_sum=1.0,
            causal="mask",
            content="pair",
            equivariant=("interior shift",),
            reach=lambda sizes: self.farthest_token(sizes.shape),
        )

    def farthest(self) -> int:
        return (self.size - 1) * self.dilation

    def visible(self, shape: tuple[int, int], causal: bool) -> Tensor:
        return windows(shape, self.size, self.steps(shape), causal)

    def steps(self, shape: tuple[int, int]) -> tuple[int, int]:
        """The step per axis that still leaves a whole window."""
        rows, columns = (max(1, min(self.dilation, n // self.size)) for n in shape)
        return rows, columns

    def farthest_token(self, shape: tuple[int, int]) -> int:
        """Distance in row-major order of the farthest cell that a cell sees."""
        rows, columns = ((min(self.size, n) - 1) * step for n, step in zip(shape, self.steps(shape), strict=True))
        return rows * shape[1] + columns
