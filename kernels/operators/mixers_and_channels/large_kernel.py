"""Large-kernel convolutional attention: the values of a head through one large convolution, no queries, no keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from attnlab.kernels.operators.grids import places
from attnlab.kernels.operators.operator import Facts, Grid, Operator, Parameters, Sizes, checked, normal
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


@dataclass(frozen=True)
class LargeKernel(Operator):
    r"""One map for all inputs: :math:`A_{(r,c),(r',c')} = K_{r'-r,\,c'-c}`, y = sum_h A_h (X W^V_h) W^O_h.

    "kernel" (replica, head, size, size), zero outside the grid: the map is block Toeplitz and the layer a convolution. One kernel
    per head (per channel in other readings: heads of width 1). Li et al. 2024 (arXiv 2401.05738), section 3 (code not public).
    """

    size: int = 3
    kind: ClassVar[str] = "grid"
    source: ClassVar[str] = "li2024"

    def __post_init__(self):
        if self.size < 1 or self.size % 2 == 0:
            raise ValueError(f"size={self.size!r} must be odd and positive")

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """The reach is that of the kernel."""
        half = self.size // 2
        return Facts(
            row_sum="free",
            causal="none",
            causal_reason="a kernel looks to all sides",
            content="none",
            equivariant=("interior shift",),
            reach=lambda sizes: min(half, sizes.shape[0] - 1) * sizes.shape[1] + min(half, sizes.shape[1] - 1),
        )

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        made = projections(sizes, generators, dtype, names=("value", "out"))
        made["kernel"] = normal(generators, (sizes.n_heads, self.size, self.size), 1 / self.size, dtype)
        return made

    def apply(
        self, inputs: Grid, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        v = into_heads(inputs.x, parameters["value"])  # (replica, batch, head, n, d)
        R, B, H, n, d = v.shape
        flat = v.permute(1, 4, 0, 2, 3).reshape(B * d, R * H, *inputs.shape)
        mixed = conv2d(flat, parameters["kernel"].flatten(0, 1)[:, None], padding=self.size // 2, groups=R * H)
        return self.post(mixed.reshape(B, d, R, H, n).permute(2, 0, 3, 4, 1), inputs, parameters)

    def values(self, inputs: Grid, parameters: Parameters) -> Tensor:
        return into_heads(inputs.x, parameters["value"])

    def matrix(
        self, inputs: Grid, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        half = self.size // 2
        down, right = (x[None] - x[:, None] for x in places(inputs.shape))
        inside = (down.abs() <= half) & (right.abs() <= half)
        taps = parameters["kernel"][..., down.clamp(-half, half) + half, right.clamp(-half, half) + half]
        return torch.where(inside, taps, 0.0)[:, None].expand(-1, inputs.x.shape[1], -1, -1, -1)

    def post(self, mixed: Tensor, inputs: Grid, parameters: Parameters) -> Tensor:
        return out_of_heads(mixed, parameters["out"])
