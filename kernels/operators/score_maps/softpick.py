"""Softpick: a rectified softmax whose rows may sum to less than one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.operator import QKV, Facts, Operator, Parameters, checked


@dataclass(frozen=True)
class Softpick(Operator):
    r"""Rectified softmax: :math:`W_j = \mathrm{relu}(e^{s_j} - 1) / \sum_l |e^{s_l} - 1|`, :math:`s = q \cdot k / \sqrt d`.

    Rows sum to at most 1, and to 0 where all scores are negative: a head can do nothing. The score map has a kink at s = 0.
    Zuhri et al. 2025 (arXiv 2504.20966), equation 3; their eps (1e-8 in the reference, 1e-6 in the kernel) is 1e-6 here.
    """

    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "zuhri2025"
    facts: ClassVar[Facts] = Facts("at most 1", causal="mask", content="pair", equivariant=("permutation", "rotation"))

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        return attention(inputs.q, inputs.k, inputs.v, score="softpick", mask="causal" if causal else None)
