"""HiLo attention: some heads look into small windows, the others at the pooled grid."""

from __future__ import annotations

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


@dataclass(frozen=True)
class HiLo(Operator):
    r"""Heads of two kinds, windows of w x w cells: H - H_l see their own window, H_l = round(low_share H) the pooled grid.

    .. math:: y^{hi}_i = \sum_{j \in w(i)} \mathrm{softmax}_j(q_i \cdot k_j/\sqrt d)\, v_j, \qquad
              y^{lo}_i = \sum_c \mathrm{softmax}_c(q_i \cdot \bar k_c/\sqrt d)\, \bar v_c,

    the bars means over window c. Sides that w does not divide end in smaller windows, whose means are over the cells they
    have (the authors pad with zeros). Projections as in multi-head attention; the authors' two output matrices per branch
    are blocks of "out". Pan, Cai and Zhuang 2022 (arXiv 2205.13213), section 3.
    """

    window: int = 2
    low_share: float = 0.5
    kind: ClassVar[str] = "grid"
    source: ClassVar[str] = "pan2022"
    facts: ClassVar[Facts] = Facts(
        row_sum=1.0,
        causal="none",
        causal_reason="windows and pooled cells hold tokens behind the query",
        content="pair",
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("windows of one cell, all heads low", lambda: HiLo(1, 1.0), lambda: Neighbourhood(99)),
        Limit("one window holds the grid, all heads high", lambda: HiLo(8, 0.0), lambda: Neighbourhood(99)),
    )

    def __post_init__(self):
        if self.window < 1 or not 0 <= self.low_share <= 1:
            raise ValueError(f"window={self.window!r} must be at least 1 and low_share={self.low_share!r} in [0, 1]")

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        return projections(sizes, generators, dtype)

    def apply(
        self, inputs: Grid, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        return self.post(self._mix(inputs, parameters, None), inputs, parameters)

    def values(self, inputs: Grid, parameters: Parameters) -> Tensor:
        return into_heads(inputs.x, parameters["value"])

    def matrix(
        self, inputs: Grid, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        n = inputs.x.shape[-2]
        unit = torch.eye(n, dtype=inputs.x.dtype, device=inputs.x.device)
        return self._mix(inputs, parameters, unit.expand(*inputs.x.shape[:2], 1, n, n))

    def post(self, mixed: Tensor, inputs: Grid, parameters: Parameters) -> Tensor:
        return out_of_heads(mixed, parameters["out"])

    def low_heads(self, n_heads: int) -> int:
        """Heads of the pooled branch; halves round up."""
        return int(self.low_share * n_heads + 0.5)

    def _mix(self, inputs, parameters, values: Tensor | None):
        """Both branches, heads in order high, low; ``values`` replaces the projected values."""
        high = parameters["query"].shape[1] - self.low_heads(parameters["query"].shape[1])
        window = window_of(inputs.shape, self.window)
        parts = []
        for heads, x in ((slice(high), inputs.x), (slice(high, None), pooled(inputs.x, window))):
            weights = {name: parameters[name][:, heads] for name in ("query", "key", "value")}
            if weights["query"].shape[1] == 0:
                continue
            low = heads.start is not None
            if values is None:
                v = into_heads(x, weights["value"])
            else:
                v = pooled(values, window) if low else values
                v = v.expand(*v.shape[:2], weights["query"].shape[1], *v.shape[3:])
            mask = None if low else window[:, None] == window[None]
            mask = None if mask is None or bool(mask.all()) else mask
            parts.append(attention(into_heads(inputs.x, weights["query"]), into_heads(x, weights["key"]), v, mask=mask))
        return torch.cat(parts, 2)


def window_of(shape: tuple[int, int], side: int) -> Tensor:
    """Number of the window of every token of the grid."""
    rows, columns = places(shape)
    return rows // side * -(-shape[1] // side) + columns // side


def pooled(x: Tensor, window: Tensor) -> Tensor:
    """Means of tokens (..., n, width) over windows, (..., window, width)."""
    n_windows = int(window.max()) + 1
    count = torch.bincount(window, minlength=n_windows).to(x)
    total = x.new_zeros((*x.shape[:-2], n_windows, x.shape[-1])).index_add(x.ndim - 2, window, x)
    return total / count[:, None]
