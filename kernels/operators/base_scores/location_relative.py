"""Location-relative attention: a mixture of bells that only moves forward over the keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from attnlab.kernels.operators.axes import beside_problems
from attnlab.kernels.operators.operator import QKV, Facts, Operator, Parameters, Sizes, checked, normal


def inverse_softplus(y: float) -> float:
    """x with ln(1 + e^x) = y > 0."""
    return math.log(math.expm1(y))


@dataclass(frozen=True)
class LocationRelative(Operator):
    r"""Mixture of moving Gaussians (GMM attention): the map reads queries and places, no key.

    .. math:: \mu_{ik} = \mu_{i-1,k} + \Delta_{ik}, \qquad
              W_{ij} = \sum_k \frac{w_{ik}}{Z_{ik}}\, e^{-(j - \mu_{ik})^2 / (2 \sigma_{ik}^2)},

    keys at j = 0, ..., n - 1 and :math:`\mu_0 = 0`, from :math:`(\hat w, \hat\Delta, \hat\sigma) = V \tanh(W q_i + b) + b'`:

    * V0: w = exp, Z = 1, Delta = exp, sigma^2 = exp(-s)/2 (Graves 2013, arXiv 1308.0850, equations 47 to 51);
    * V1: w = softmax, Z = sqrt(2 pi sigma^2), Delta = exp, sigma^2 = exp(s);
    * V2: as V1 with Delta = softplus, sigma = softplus.

    Battenberg et al. 2020 (arXiv 1910.10288), equations 3 and 4 and table 1. The starting step is 1 and the starting width
    ``width``; the paper starts V2 at 10, where the maps of neighbouring queries are equal to many digits. Sums over keys
    depend on the phase of mu below sigma of about 0.4. A cumulative sum over the queries replaces the recurrence.
    """

    version: str = "V2"
    n_mixtures: int = 2
    hidden: int = 8
    width: float = 1.0
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "battenberg2020"
    facts: ClassVar[Facts] = Facts(
        "free", causal="none", content="query",
        causal_reason="recurrent over the queries; the keys are a memory that is all there",
        skips={"last_queries": "centres move from the first query, which is that of a decoder and sits at no key"},
    )  # fmt: skip
    budget: ClassVar[float] = 1e-4

    @classmethod
    def variants(cls) -> dict[str, LocationRelative]:
        return {version: cls(version) for version in ("V0", "V1", "V2")}

    def __post_init__(self):
        if self.version not in ("V0", "V1", "V2"):
            raise ValueError(f"version={self.version!r}; use 'V0', 'V1' or 'V2'")

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        K, h = self.n_mixtures, self.hidden
        step, spread = {
            "V0": (0.0, -math.log(2 * self.width**2)),
            "V1": (0.0, 2 * math.log(self.width)),
            "V2": (inverse_softplus(1.0), inverse_softplus(self.width)),
        }[self.version]
        start = torch.tensor([[0.0] * K, [step] * K, [spread] * K], dtype=dtype)
        return {
            "into_hidden": normal(generators, (sizes.d, h), sizes.d**-0.5, dtype),
            "bias": normal(generators, (h,), 0.0, dtype),
            "into_mixture": normal(generators, (h, 3 * K), 0.3 * h**-0.5, dtype),
            "mixture": start.flatten().repeat(len(generators), 1),
        }

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        return self.matrix(inputs, parameters) @ inputs.v

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        self.not_causal(causal)
        weight, centre, width = self.mixture(inputs.q, parameters)
        at = torch.arange(inputs.k.shape[-2], dtype=centre.dtype, device=centre.device)
        away = (at - centre[..., None]) / width[..., None]  # (..., query, mixture, key)
        return (weight[..., None] * (-away.square() / 2).exp()).sum(-2)

    def mixture(self, q: Tensor, parameters: Parameters) -> tuple[Tensor, Tensor, Tensor]:
        """Heights w / Z, centres and widths, (..., query, mixture)."""
        hidden = (q @ beside_problems(parameters["into_hidden"], q) + beside_problems(parameters["bias"], q)).tanh()
        raw = hidden @ beside_problems(parameters["into_mixture"], hidden) + beside_problems(parameters["mixture"], q)
        w, step, spread = raw.unflatten(-1, (3, self.n_mixtures)).unbind(-2)
        if self.version == "V0":
            return w.exp(), step.exp().cumsum(-2), ((-spread).exp() / 2).sqrt()
        width = softplus(spread) if self.version == "V2" else (spread / 2).exp()
        step = softplus(step) if self.version == "V2" else step.exp()
        return w.softmax(-1) / (width * math.sqrt(2 * math.pi)), step.cumsum(-2), width
