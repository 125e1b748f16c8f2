"""The large-kernel gate of visual attention networks: x times a linear map of its surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.convolutions import depthwise
from attnlab.kernels.operators.operator import Facts, Grid, Operator, Parameters, Sizes, checked, normal


@dataclass(frozen=True)
class LargeKernelGate(Operator):
    r"""A gate of degree 2: :math:`y = x \odot (\mathrm{DWD}(\mathrm{DW}(x))\, M)`.

    DW is a depthwise kernel of 2 d - 1 cells, DWD one of ceil(K/d) cells in steps of d = ``dilation``, together a kernel of
    (2 d - 1) + (ceil(K/d) - 1) d cells (23 at the published K = 21, d = 3). "near" and "far" (replica, channel, ., .), "mix" M
    (replica, d_model, d_model); no biases, which the published block has, nor its norms. Guo et al. 2022 (arXiv 2202.09741),
    section 3.1.
    """

    kernel: int = 6
    dilation: int = 2
    kind: ClassVar[str] = "grid"
    source: ClassVar[str] = "guo2022"
    no_matrix: ClassVar[str] = "every token is multiplied by a linear map of its surroundings"

    def __post_init__(self):
        if self.kernel < 1 or self.dilation < 1 or self.far_side % 2 == 0:
            raise ValueError(
                f"kernel={self.kernel!r} and dilation={self.dilation!r} must be at least 1 and ceil(kernel/dilation)="
                f"{self.far_side} odd"
            )

    @property
    def far_side(self) -> int:
        """Cells per side of the dilated kernel."""
        return -(-self.kernel // self.dilation)

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """The reach is that of both kernels together."""
        half = self.dilation - 1 + self.far_side // 2 * self.dilation
        return Facts(
            row_sum="free",
            causal="none",
            causal_reason="kernels look to all sides",
            content="nonlinear",
            equivariant=("interior shift",),
            reach=lambda sizes: min(half, sizes.shape[0] - 1) * sizes.shape[1] + min(half, sizes.shape[1] - 1),
        )

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        near, D = 2 * self.dilation - 1, sizes.d_model
        return {
            "near": normal(generators, (D, near, near), 1 / near, dtype),
            "far": normal(generators, (D, self.far_side, self.far_side), 1 / self.far_side, dtype),
            "mix": normal(generators, (D, D), D**-0.5, dtype),
        }

    def apply(
        self, inputs: Grid, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        around = depthwise(inputs.x, parameters["near"], inputs.shape)
        around = depthwise(around, parameters["far"], inputs.shape, self.dilation)
        return inputs.x * (around @ parameters["mix"][:, None])
