"""Scaled dot-product attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.operator import QKV, Facts, Operator, Parameters, checked


@dataclass(frozen=True)
class DotProduct(Operator):
    r"""Softmax of scaled dot products: :math:`y_i = \sum_j \mathrm{softmax}_j(q_i \cdot k_j / \sqrt d)\, v_j`.

    ``scale`` replaces 1 / sqrt(d); 0 is mean pooling. Vaswani et al. 2017 (arXiv 1706.03762), equation 1.
    """

    scale: float | None = None
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "vaswani2017"
    facts: ClassVar[Facts] = Facts(row_sum=1.0, causal="mask", content="pair", equivariant=("permutation", "rotation"))

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        return attention(inputs.q, inputs.k, inputs.v, mask="causal" if causal else None, scale=self.scale)
