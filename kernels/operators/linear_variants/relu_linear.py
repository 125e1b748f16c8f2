"""Linear attention of L2ViT: rectified features, a clamped normaliser, and a convolution that concentrates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from attnlab.kernels.operators.axes import beside_problems, per_head
from attnlab.kernels.operators.convolutions import depthwise
from attnlab.kernels.operators.operator import Facts, Grid, Operator, Parameters, Sizes, checked, normal
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


@dataclass(frozen=True)
class ReluLinear(Operator):
    r"""Rectified linear attention on a grid, and a local module after it.

    .. math:: o_i = \tau\, \frac{q_i^+ \sum_j k_j^{+\top} v_j}{\max(q_i^+ \cdot \sum_j k_j^+, 100)}, \qquad
              y = z + \mathrm{DW}_7(g \odot \mathrm{GELU}(\mathrm{DW}_7(\mathrm{LN}\, z)) + h), \quad z = \sum_h o W^O_h ,

    x^+ = relu(x). ``scale`` tau (replica, head) starts at d^{-1/2}. Below 100 the clamp makes rows smaller: an absolute
    number, so the size of the activations matters. The batch norm inside the module is its folded affine map g, h
    (replica, D); layer norm without affine. Without the windowed blocks that alternate with it. Zheng et al. 2025 (arXiv
    2501.16182), equations 5 and 7.
    """

    clamp: float = 100.0
    kernel: int = 7
    kind: ClassVar[str] = "grid"
    source: ClassVar[str] = "zheng2025"
    facts: ClassVar[Facts] = Facts(
        "free", causal="none", content="pair", equivariant=("shift",), smooth=False, rank=lambda sizes: min(sizes.n, sizes.d),
        causal_reason="on a grid every token sees all; prefix sums are possible and not published",
    )  # fmt: skip
    budget: ClassVar[float] = 1e-4

    def __post_init__(self):
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel={self.kernel!r} must be odd and positive: a kernel has a middle")

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        made, D = projections(sizes, generators, dtype), sizes.d_model
        made["scale"] = torch.full((len(generators), sizes.n_heads), sizes.d**-0.5, dtype=dtype)
        for name in ("first", "second"):
            made[name] = normal(generators, (D, self.kernel, self.kernel), 1 / self.kernel, dtype)
        return made | {
            name: torch.full((len(generators), D), start, dtype=dtype)
            for name, start in (("gain", 1.0), ("shift", 0.0))
        }

    def apply(
        self, inputs: Grid, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        q, k = self._features(inputs.x, parameters)
        normaliser = (q @ k.sum(-2)[..., None]).clamp(min=self.clamp)
        mixed = q @ (k.mT @ self.values(inputs, parameters))
        return self.post(per_head(parameters["scale"], mixed) * mixed / normaliser, inputs, parameters)

    def matrix(
        self, inputs: Grid, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        self.not_causal(causal)
        q, k = self._features(inputs.x, parameters)
        w = q @ k.mT
        return per_head(parameters["scale"], w) * w / w.sum(-1, keepdim=True).clamp(min=self.clamp)

    def values(self, inputs: Grid, parameters: Parameters) -> Tensor:
        return into_heads(inputs.x, parameters["value"])

    def post(self, mixed: Tensor, inputs: Grid, parameters: Parameters) -> Tensor:
        z = out_of_heads(mixed, parameters["out"])
        gain, shift = (beside_problems(parameters[name], z) for name in ("gain", "shift"))
        inner = gelu(depthwise(layer_norm(z, z.shape[-1:]), parameters["first"], inputs.shape))
        return z + depthwise(gain * inner + shift, parameters["second"], inputs.shape)

    @staticmethod
    def _features(x, parameters):
        return (into_heads(x, parameters[name]).relu() for name in ("query", "key"))
