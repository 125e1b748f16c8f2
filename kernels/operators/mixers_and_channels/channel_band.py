"""Efficient channel attention: a gate per channel from its neighbours in the order of channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import conv1d

from attnlab.kernels.operators.operator import Facts, Grid, Operator, Parameters, Sizes, checked, normal


@dataclass(frozen=True)
class ChannelBand(Operator):
    r"""Channels gated by a band of means: :math:`y = x \odot \sigma(\kappa * \bar x)`, xbar the mean token, kappa
    ``size`` taps, zero-padded.

    "kernel" (replica, size), shared by all channels, no bias. Published size: the odd number at or above
    int((log2 D + 1)/2). The order of channels matters, that of tokens does not. Wang et al. 2020 (arXiv 1910.03151), equations
    6 to 9.
    """

    size: int = 3
    kind: ClassVar[str] = "grid"
    source: ClassVar[str] = "wang2020"
    no_matrix: ClassVar[str] = "a gate per channel, which reads the mean of all tokens"
    facts: ClassVar[Facts] = Facts(
        row_sum="free", causal="none", causal_reason="the mean is over all tokens", content="summary",
        equivariant=("permutation",),
    )  # fmt: skip

    def __post_init__(self):
        if self.size < 1 or self.size % 2 == 0:
            raise ValueError(f"size={self.size!r} must be odd and positive")

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        return {"kernel": normal(generators, (self.size,), self.size**-0.5, dtype)}

    def apply(
        self, inputs: Grid, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        mean = inputs.x.mean(-2).transpose(0, 1)  # (batch, replica, channel)
        kernel = parameters["kernel"][:, None]
        gate = conv1d(mean, kernel, padding=self.size // 2, groups=kernel.shape[0]).sigmoid()
        return inputs.x * gate.transpose(0, 1)[:, :, None]
