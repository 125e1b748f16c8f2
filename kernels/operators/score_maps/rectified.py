"""Rectified linear attention: positive scores as they are, and a norm on the output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.scores import ReLU
from attnlab.kernels.operators.operator import QKV, Facts, Operator, Parameters, Sizes, checked


@dataclass(frozen=True)
class Rectified(Operator):
    r"""Positive scores, no normaliser, then a norm: :math:`y = g \odot \mathrm{RMSNorm}(\mathrm{relu}(s) V)`.

    The norm makes the output unchanged when all scores of a row are multiplied by c > 0. A row without positive scores gives
    0. Parameter ``gain`` (replica, d_v). Zhang, Titov and Sennrich 2021 (arXiv 2104.07012), equations 6 and 7, without gate.
    """

    epsilon: float = 1e-8
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "zhang2021"
    facts: ClassVar[Facts] = Facts("free", causal="mask", content="pair", equivariant=("permutation", "rotation"))
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        return {"gain": torch.ones(len(generators), sizes.d_v, dtype=dtype)}

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        mixed = self._mix(inputs, inputs.v, causal)
        return self.post(mixed, inputs, parameters)

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        n = inputs.k.shape[-2]
        unit = torch.eye(n, dtype=inputs.k.dtype, device=inputs.k.device).expand(*inputs.k.shape[:-2], n, n)
        return self._mix(inputs, unit, causal)

    def post(self, mixed: Tensor, inputs: QKV, parameters: Parameters) -> Tensor:
        size = (mixed.square().mean(-1, keepdim=True) + self.epsilon).sqrt()
        return parameters["gain"][:, None, None, None] * mixed / size

    def _mix(self, inputs, values, causal):
        """relu(s) V: the map of the kernels divides nothing if told so."""
        score = ReLU(divide="one")
        return attention(inputs.q, inputs.k, values, score=score, mask="causal" if causal else None)
