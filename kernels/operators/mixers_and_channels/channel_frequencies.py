"""Frequency channel attention: channels gated by one cosine coefficient per group instead of their mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.grids import places
from attnlab.kernels.operators.operator import Facts, Grid, Operator, Parameters, Sizes, checked, normal


@dataclass(frozen=True)
class ChannelFrequencies(Operator):
    r"""Channels gated by cosine coefficients: :math:`y = x \odot \sigma(W_2\, \mathrm{relu}(W_1 f))`, f_c = sum_hw x_c B_{uv}.

    :math:`B_{uv} = c_u c_v \cos(\pi u (h + \tfrac12)/H) \cos(\pi v (w + \tfrac12)/W)`, orthonormal; channel c belongs to group
    floor(c n_f/D) with its (u, v) of ``frequencies``; (0, 0) alone is squeeze-excitation up to sqrt(HW). "into" (replica, D, h),
    "out" (replica, h, D), h = D/``reduction``, at least 1. The published pooling to 7 x 7 and its tables of indices are the
    caller's choice of frequencies. Qin et al. 2021 (arXiv 2012.11879), equations 8 to 11.
    """

    frequencies: tuple[tuple[int, int], ...] = ((0, 0), (0, 1), (1, 0), (1, 1))
    reduction: int = 2
    kind: ClassVar[str] = "grid"
    source: ClassVar[str] = "qin2021"
    no_matrix: ClassVar[str] = "a gate per channel, which reads coefficients of all tokens"
    facts: ClassVar[Facts] = Facts(
        row_sum="free", causal="none", causal_reason="coefficients are sums over all tokens", content="summary"
    )

    def __post_init__(self):
        if not self.frequencies or self.reduction < 1 or min(min(pair) for pair in self.frequencies) < 0:
            raise ValueError(
                f"frequencies={self.frequencies!r} must be pairs of at least 0, reduction={self.reduction!r} at least 1"
            )

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        D = sizes.d_model
        h = max(1, D // self.reduction)
        return {"into": normal(generators, (D, h), D**-0.5, dtype), "out": normal(generators, (h, D), h**-0.5, dtype)}

    def apply(
        self, inputs: Grid, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        f = (inputs.x * self.filters(inputs)).sum(-2, keepdim=True)  # (replica, batch, 1, channel)
        gate = ((f @ parameters["into"][:, None]).relu() @ parameters["out"][:, None]).sigmoid()
        return inputs.x * gate

    def filters(self, inputs: Grid) -> Tensor:
        """Cosine filters (token, channel)."""
        D = inputs.x.shape[-1]
        basis = [cosine(inputs.shape, *pair).to(inputs.x) for pair in self.frequencies]
        return torch.stack([basis[c * len(basis) // D] for c in range(D)], -1)


def cosine(shape: tuple[int, int], u: int, v: int) -> Tensor:
    """The orthonormal cosine of frequencies (u, v) on a grid, (token,) in float64."""
    made = torch.ones(shape[0] * shape[1], dtype=torch.float64)
    for at, n, each in zip(places(shape), shape, (u, v), strict=True):
        made = made * (math.pi * each * (at.double() + 0.5) / n).cos() * ((2 if each else 1) / n) ** 0.5
    return made
