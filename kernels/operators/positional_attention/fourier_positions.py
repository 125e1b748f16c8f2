"""Fourier position embedding: each rotated pair carries a mixture of frequencies, those never seen whole are removed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.operator import QKV, Facts, Limit, Operator, Parameters, Sizes, checked, normal
from attnlab.kernels.operators.positional_attention.alternating_positions import AlternatingPositions
from attnlab.kernels.operators.selection import query_places


@dataclass(frozen=True)
class FourierPositions(Operator):
    r"""q and k prepared by :math:`x \odot c(p) + J x \odot s(p)`, :math:`c(p) = \cos(p\,\omega)\, C`,
    :math:`s(p) = \sin(p\,\omega)\, S`.

    The frequencies :math:`\omega_m = \theta^{-2 m/d}` below 2 pi/``trained_length`` are removed, and at most the share
    ``carrying`` of the d/2 pairs has one. "cosines" C and "sines" S (replica, head, F, F) are the identity plus
    Gaussian numbers of standard deviation gain/sqrt F. Pairs without a frequency get c = s = 1: they are multiplied by
    1 + J, whose square length is 2, so they add 2 q.k. With a gain the score depends on both places, not on i - j
    alone. J turns the halves: (-x_2, x_1). Hua et al. 2024 (arXiv 2412.17739), section 4.
    """

    gain: float = 0.3
    trained_length: float = 64.0
    carrying: float = 0.5
    base: float = 10000.0
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "hua2024"
    facts: ClassVar[Facts] = Facts(row_sum=1.0, causal="mask", content="pair")
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit(
            "gain 0 and every frequency kept: rotary positions", lambda: FourierPositions(0.0, math.inf, 1.0),
            lambda: AlternatingPositions(1, 99),
        ),
    )  # fmt: skip

    def __post_init__(self):
        if not self.gain >= 0 or not self.trained_length > 0 or not 0 <= self.carrying <= 1:
            raise ValueError(
                f"gain={self.gain!r} must be at least 0, trained_length={self.trained_length!r} positive, "
                f"carrying={self.carrying!r} in [0, 1]"
            )

    def frequencies(self, d: int) -> list[float]:
        """The frequencies kept at head width d, largest first."""
        known = [self.base ** (-2 * m / d) for m in range(d // 2)]
        most = max(1, math.floor(self.carrying * (d // 2)))
        return [w for w in known if w >= 2 * math.pi / self.trained_length][:most]

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        F = len(self.frequencies(sizes.d))
        made = {}
        for name in ("cosines", "sines"):
            noise = normal(generators, (sizes.n_heads, F, F), self.gain * max(F, 1) ** -0.5, dtype)
            made[name] = torch.eye(F, dtype=dtype) + noise
        return made

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        n_q, n_k = inputs.q.shape[-2], inputs.k.shape[-2]
        q = self.prepared(inputs.q, query_places(n_q, n_k), parameters)
        k = self.prepared(inputs.k, torch.arange(n_k), parameters)
        return attention(q, k, inputs.v, mask="causal" if causal else None)

    def prepared(self, x: Tensor, places: Tensor, parameters: Parameters) -> Tensor:
        """x (replica, batch, head, token, d) with its places."""
        half = x.shape[-1] // 2
        angle = places.to(x)[:, None] * torch.tensor(self.frequencies(x.shape[-1]), dtype=x.dtype)  # (token, F)
        tables = []
        for name, wave in (("cosines", angle.cos()), ("sines", angle.sin())):
            mixed = (wave[..., None] * parameters[name][:, None, :, None]).sum(-2)  # (replica, 1, head, token, F)
            tables.append(torch.cat([mixed, mixed.new_ones(*mixed.shape[:-1], half - mixed.shape[-1])], -1))
        c, s = tables
        a, b = x[..., :half], x[..., half : 2 * half]
        return torch.cat([a * c - b * s, b * c + a * s, x[..., 2 * half :]], -1)
