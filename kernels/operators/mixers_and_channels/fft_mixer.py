"""A mixer by the Fourier transform over tokens: a filter that reads the mean token, and a threshold per frequency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.operator import Facts, Operator, Parameters, Sizes, Tokens, checked, normal


@dataclass(frozen=True)
class FFTMixer(Operator):
    r"""Tokens filtered in frequency: :math:`y = \mathrm{Re}\,F^{-1}(\mathrm{modReLU}_b(w(\bar x) \odot F x))`, F orthonormal.

    :math:`w = w_0 (1 + \tanh(\bar x W_1) W_2)` per frequency, w_0 complex per frequency and channel, xbar the mean token, and
    :math:`\mathrm{modReLU}_b(z) = \mathrm{relu}(|z| + b)\, z/|z|`, b <= 0 per channel at the start. |z| is smoothed by
    epsilon. The filter has one entry per frequency, so parameters belong to one length. Circular shifts of the tokens
    shift the output: |F x| and the mean do not change. Fein-Ashley 2025 (arXiv 2502.18394), section 3 (from the
    abstract and memory; the public code has since been replaced by a successor).
    """

    width: int = 4
    threshold: float = -0.1
    epsilon: float = 1e-6
    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "feinashley2025"
    no_matrix: ClassVar[str] = "modReLU acts on sums over tokens, and the filter reads their mean"
    facts: ClassVar[Facts] = Facts(
        row_sum="free", causal="none", causal_reason="every frequency holds all tokens", content="nonlinear",
        equivariant=("circular shift",), skips={"cost": "the Fourier transform has no registered count"},
    )  # fmt: skip
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        D, n = sizes.d_model, sizes.n
        return {
            "real": 1 + normal(generators, (n, D), 0.3, dtype),
            "imaginary": normal(generators, (n, D), 0.3, dtype),
            "into": normal(generators, (D, self.width), D**-0.5, dtype),
            "out": normal(generators, (self.width, n), self.width**-0.5, dtype),
            "threshold": torch.full((len(generators), D), self.threshold, dtype=dtype),
        }

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        x, n = inputs.x, parameters["real"].shape[1]
        if x.shape[-2] != n:
            raise ValueError(
                f"x has {x.shape[-2]} tokens and the filter {n} frequencies; parameters belong to one length"
            )
        if not x.numel():  # an empty batch, which the transform refuses
            return x * parameters["real"][:, None]
        read = (x.mean(-2, keepdim=True) @ parameters["into"][:, None]).tanh() @ parameters["out"][:, None]
        w = torch.complex(parameters["real"], parameters["imaginary"])[:, None] * (1 + read.mT)
        z = w * torch.fft.fft(x, dim=-2, norm="ortho")
        size = (z.real.square() + z.imag.square() + self.epsilon).sqrt()
        kept = (size + parameters["threshold"][:, None, None]).relu() / size
        return torch.fft.ifft(kept * z, dim=-2, norm="ortho").real
