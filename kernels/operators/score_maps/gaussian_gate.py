"""Gaussian adaptive attention: each channel is gated by how near a token lies to the channel's mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.axes import beside_problems
from attnlab.kernels.operators.operator import Facts, Limit, Operator, Parameters, Sizes, Tokens, checked, normal


def _one_bell(inputs, parameters):
    """Two bells off their start, and the one that their product is."""
    two = {"centre": parameters["centre"] + torch.tensor([0.3, -0.1]).double(), "log_width": parameters["log_width"]}
    precision = (-2 * two["log_width"]).exp()
    width2 = 1 / precision.sum(-1, keepdim=True)
    one = {"centre": width2 * (precision * two["centre"]).sum(-1, keepdim=True), "log_width": width2.log() / 2}
    return inputs, two, one


@dataclass(frozen=True)
class GaussianGate(Operator):
    r"""A gate per channel along the tokens, the product of ``n_gaussians`` bells, summing to 1 over the tokens.

    .. math:: g_t \propto \prod_i \exp\Bigl(-\frac{(x_t - \mu - \delta_i)^2}{2 c_i^2 (s^2 + \epsilon)}\Bigr), \quad y_t = g_t x_t,

    mu and s^2 the mean and unbiased variance of the channel over the tokens; delta (replica, Gaussian) starts at 0, c at e^z. The
    map is diagonal and differs between channels: ``matrix`` (replica, batch, channel, n, n). A product of bells is one bell:
    more than one adds nothing. This is one head of the paper, whose heads gate consecutive parts of the axis apart.
    Ioannides, Chadha and Elkins 2024 (arXiv 2401.11143), equations 1 to 5; n - 1 in the variance as in their code.
    """

    n_gaussians: int = 2
    epsilon: float = 1e-8
    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "ioannides2024"
    facts: ClassVar[Facts] = Facts(
        "free", causal="none", content="summary", equivariant=("permutation",),
        causal_reason="mean, variance and the gate's sum are over all tokens",
    )  # fmt: skip
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("one bell of the summed precision", lambda: GaussianGate(2), lambda: GaussianGate(1), _one_bell),
    )
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        shape = (self.n_gaussians,)
        return {"centre": normal(generators, shape, 0.0, dtype), "log_width": normal(generators, shape, 1.0, dtype)}

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        return self._gate(inputs.x, parameters) * inputs.x

    def values(self, inputs: Tokens, parameters: Parameters) -> Tensor:
        return inputs.x.mT[..., None]  # (replica, batch, channel, n, 1)

    def matrix(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        self.not_causal(causal)
        return torch.diag_embed(self._gate(inputs.x, parameters).mT)

    def post(self, mixed: Tensor, inputs: Tokens, parameters: Parameters) -> Tensor:
        return mixed.squeeze(-1).mT

    def _gate(self, x, parameters):
        away = x - x.mean(-2, keepdim=True)
        variance = away.square().sum(-2, keepdim=True) / max(x.shape[-2] - 1, 1) + self.epsilon
        centre, log_width = (beside_problems(parameters[name], away[..., None]) for name in ("centre", "log_width"))
        y = (away[..., None] - centre) / variance.sqrt()[..., None]  # (..., token, channel, Gaussian)
        log_bell = -(y / log_width.exp()).square() / 2 - log_width - math.log(2 * math.pi) / 2
        return log_bell.sum(-1).softmax(-2)
