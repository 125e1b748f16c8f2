"""Extractors: a causal convolution of the past, multiplied by a linear map of the current token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.axes import linear, past
from attnlab.kernels.operators.convolutions import causal_depthwise
from attnlab.kernels.operators.operator import Facts, Operator, Parameters, Sizes, Tokens, checked, normal


@dataclass(frozen=True)
class Extractor(Operator):
    r"""The past by fixed weights, gated by the present.

    .. math:: y_t = (x_t W) \odot \frac{1}{\sqrt t} \sum_{i \le t} w_{t-i} \odot x_i .

    One weight per channel and lag (the paper's HE; SHE has a matrix per lag), as many lags as the parameters' length: a
    longer sequence is an error. Indexed by the lag as in the paper; third-party code indexes by the absolute place, which
    is a cumulative sum. The map (replica, batch, channel, n, n) reads no token. Only the past is known: ``causal``
    changes nothing. Chen 2023 (arXiv 2308.07661), equations 5 and 6.
    """

    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "chen2023"
    facts: ClassVar[Facts] = Facts("free", causal="prefix", content="none", equivariant=("shift",))
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        D = sizes.d_model
        return {"lag": normal(generators, (D, sizes.n), 1.0, dtype), "gate": normal(generators, (D, D), D**-0.5, dtype)}

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        n, taps = inputs.x.shape[-2], parameters["lag"].shape[-1]
        if n > taps:
            raise ValueError(f"x has {n} tokens, there are weights for {taps} lags; initialise with n={n}")
        count = torch.arange(1, n + 1, dtype=inputs.x.dtype, device=inputs.x.device)[:, None]
        extracted = causal_depthwise(inputs.x, parameters["lag"]) / count.sqrt()
        return linear(inputs.x, parameters["gate"]) * extracted

    def values(self, inputs: Tokens, parameters: Parameters) -> Tensor:
        return inputs.x.mT[..., None]  # (replica, batch, channel, n, 1)

    def matrix(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        replicas, batch, n, _ = inputs.x.shape
        at = torch.arange(n, device=inputs.x.device)
        lag = (at[:, None] - at[None]).clamp(min=0)
        toeplitz = torch.where(past(n, n, at.device), parameters["lag"][..., lag], 0.0)
        M = toeplitz / (at[:, None] + 1).to(toeplitz).sqrt()
        return M[:, None].expand(replicas, batch, *M.shape[1:])

    def post(self, mixed: Tensor, inputs: Tokens, parameters: Parameters) -> Tensor:
        return linear(inputs.x, parameters["gate"]) * mixed.squeeze(-1).mT
