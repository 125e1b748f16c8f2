"""Signed attention: a head can add a value or take it away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.operator import QKV, Facts, Operator, Parameters, checked


@dataclass(frozen=True)
class SignedAttention(Operator):
    r"""Softmax of sizes with the sign of the score: :math:`W_j = \mathrm{sign}(s_j)\, \mathrm{softmax}_j(|s|)`.

    :math:`\sum_j |W_j| = 1`; with positive scores it is softmax. It jumps at s = 0, by 2 / sum_l e^{|s_l|}.
    Lv et al. 2024, cog attention (arXiv 2411.07176), equation 4.
    """

    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "lv2024"
    facts: ClassVar[Facts] = Facts("l1 one", causal="mask", content="pair", equivariant=("permutation", "rotation"))

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        return attention(inputs.q, inputs.k, inputs.v, score="signed", mask="causal" if causal else None)
