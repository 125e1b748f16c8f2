"""Softplus scores with a scale that grows with the length, and a power that sharpens what is above average."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.axes import past
from attnlab.kernels.operators.operator import QKV, Facts, Operator, Parameters, checked
from attnlab.kernels.operators.selection import shares


@dataclass(frozen=True)
class LengthScaledSoftplus(Operator):
    r"""l1-normalised softplus of cosines (LSSA), with a re-weighting on top (LSSAR).

    .. math:: A_{ij} = \frac{\ln(1 + e^{c_i \hat q_i \cdot \hat k_j})}{\sum_l \ln(1 + e^{c_i \hat q_i \cdot \hat k_l})}, \quad
              c_i = c_0 \ln n_i, \qquad W_{ij} = \frac{\mathrm{relu}(n_i A_{ij} - o)^p}{\sum_l \mathrm{relu}(n_i A_{il} - o)^p},

    n_i the keys that row i sees (at least 2 in the logarithm), hats of length 1. The published constant reads as ln d ln n on
    unit vectors or as ln d ln n / sqrt d: ``constant`` is c_0, by default ln d. ``power`` 1 with ``offset`` 0 is LSSA. n A is the
    weight relative to uniform; a row with nothing above the offset keeps A. Gao et al. 2025 (arXiv 2501.13428), equations 9, 12.
    """

    power: int = 1
    offset: float = 0.0
    constant: float | None = None
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "gao2025"
    facts: ClassVar[Facts] = Facts(1.0, causal="mask", content="pair", equivariant=("permutation", "rotation"))
    budget: ClassVar[float] = 1e-4

    @classmethod
    def variants(cls) -> dict[str, LengthScaledSoftplus]:
        return {"plain": cls(), "reweighted": cls(power=3, offset=0.5)}

    def __post_init__(self):
        if not (isinstance(self.power, int) and self.power >= 1 and self.offset >= 0):
            raise ValueError(f"need a whole power >= 1 and offset >= 0, got {self.power!r} and {self.offset!r}")

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        if self.power > 1 or self.offset > 0:
            return self.matrix(inputs, parameters, causal=causal) @ inputs.v
        q, k, _ = self._scaled(inputs, causal)
        return attention(q, k, inputs.v, score="softplus", mask="causal" if causal else None, scale=1.0)

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        q, k, visible = self._scaled(inputs, causal)
        s = q @ k.mT
        w = torch.nn.functional.softplus(s, threshold=40.0)  # cosines times ln d ln n: nothing can underflow
        if causal:
            w = torch.where(past(*s.shape[-2:], s.device), w, 0.0)
        A = shares(w)
        if self.power == 1 and self.offset == 0:
            return A
        raised = torch.relu(visible * A - self.offset)
        top = raised.detach().amax(-1, keepdim=True)
        raised = (raised / torch.where(top > 0, top, 1.0)) ** self.power
        return torch.where(top > 0, raised / torch.where(top > 0, raised.sum(-1, keepdim=True), 1.0), A)

    def _scaled(self, inputs, causal):
        """Unit queries times c_i, unit keys, and the number of visible keys (query, 1)."""
        q, k = normalize(inputs.q, dim=-1), normalize(inputs.k, dim=-1)
        n_q, n = q.shape[-2], k.shape[-2]
        visible = torch.arange(n - n_q + 1, n + 1, dtype=q.dtype, device=q.device)[:, None]
        visible = visible if causal else torch.full_like(visible, n)
        c0 = math.log(q.shape[-1]) if self.constant is None else self.constant
        return c0 * visible.clamp(min=2).log() * q, k, visible
