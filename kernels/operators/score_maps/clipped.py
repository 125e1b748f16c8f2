"""Clipped softmax: exact zeros at finite scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.scores import Clipped
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Facts, Limit, Operator, Parameters, checked


@dataclass(frozen=True)
class ClippedSoftmax(Operator):
    r"""Stretched and clipped: :math:`W_j = \mathrm{clip}((\zeta - \gamma)\, \mathrm{softmax}_j(s) + \gamma,\ 0,\ 1)`.

    A weight is exactly 0 if softmax gives at most :math:`-\gamma / (\zeta - \gamma)`. ``gamma`` <= 0 is a multiple of -1/n in
    the paper (2/n to 12/n), ``zeta`` >= 1. Bondarenko et al. 2023 (arXiv 2306.12929), equation 4.
    """

    gamma: float = -0.03
    zeta: float = 1.0
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "bondarenko2023"
    facts: ClassVar[Facts] = Facts("free", causal="mask", content="pair", equivariant=("permutation", "rotation"))
    limits: ClassVar[tuple[Limit, ...]] = (Limit("gamma = 0, zeta = 1", lambda: ClippedSoftmax(0.0, 1.0), DotProduct),)

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        score = Clipped(self.gamma, self.zeta)
        return attention(inputs.q, inputs.k, inputs.v, score=score, mask="causal" if causal else None)
