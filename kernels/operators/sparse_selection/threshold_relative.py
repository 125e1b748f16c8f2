"""Threshold relative attention: negative scores are out, and distance counts only what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.operator import QKV, Facts, Operator, Parameters, Sizes, checked, normal
from attnlab.kernels.operators.selection import masked_softmax, one_query_per_key, visible_past


@dataclass(frozen=True)
class ThresholdRelative(Operator):
    r"""Softmax over the survivors :math:`s_{ij} > 0` of :math:`s_{ij} + r_{ij}\, \delta_i`, r the number of survivors
    from j to i.

    :math:`s = \hat q \cdot \hat k/\sqrt d` with q, k divided by their root mean square, so |s| <= sqrt d. r counts j
    itself. The penalty :math:`\delta_i = \ln \sigma(q_i \cdot w + b) < 0` is per query and head ("gate" (replica,
    head, d), "gate_offset" (replica, head); the authors gate by the token, here its query). A row without survivors is
    0. Inserting keys with s <= 0 changes nothing. Without the causal form r counts survivors between the two, on
    either side. Opper et al. 2025 (arXiv 2503.23174), section 3.
    """

    epsilon: float = 1e-8
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "opper2025"
    facts: ClassVar[Facts] = Facts(
        row_sum="at most 1", causal="mask", content="pair", equivariant=("shift",), smooth=False,
    )  # fmt: skip

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        return {
            "gate": normal(generators, (sizes.n_heads, sizes.d), sizes.d**-0.5, dtype),
            "gate_offset": torch.zeros(len(generators), sizes.n_heads, dtype=dtype),
        }

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        return self.matrix(inputs, parameters, causal=causal) @ inputs.v

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        one_query_per_key(inputs, "ThresholdRelative")
        q, k = (x / (x.square().mean(-1, keepdim=True) + self.epsilon).sqrt() for x in (inputs.q, inputs.k))
        s = q @ k.mT / k.shape[-1] ** 0.5
        survives = (s > 0) & visible_past(*s.shape[-2:], causal)
        gate = (inputs.q * parameters["gate"][:, None, :, None]).sum(-1) + parameters["gate_offset"][:, None, :, None]
        penalty = torch.nn.functional.logsigmoid(gate)[..., None]
        return masked_softmax(s + penalty * self.distance(survives), survives)

    def distance(self, survives: Tensor) -> Tensor:
        """Number of survivors from key j to query i, j among them, (..., query, key)."""
        count = survives.cumsum(-1)
        at_query = count.diagonal(dim1=-2, dim2=-1)[..., None]
        back = torch.ones(survives.shape[-2:], dtype=torch.bool, device=survives.device).tril()
        return torch.where(back, at_query - count + survives, count - at_query)
