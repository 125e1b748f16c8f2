"""Normalised attention: standardised scores in place of softmax; linear attention in disguise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.scores import Standardised
from attnlab.kernels.operators.operator import QKV, Facts, Operator, Parameters, checked


@dataclass(frozen=True)
class StandardisedScores(Operator):
    r"""Standardised rows: :math:`W_j = g\, (s_j - \bar s) / (\mathrm{std}(s) + \epsilon) + b`, s = q . k without a scale.

    Leaves the convex hull of the values. With :math:`\bar k`, C mean and covariance of the visible keys it is linear:

    .. math:: y = \frac{g\, q^\top \sum_j (k_j - \bar k) v_j^\top}{\sqrt{q^\top C q} + \epsilon} + b \sum_j v_j ,

    so its map has rank at most d, d + 1 with an offset. Richter and Wattenhofer 2020 (arXiv 2005.09561), equation 5.
    """

    gain: float = 1.0
    offset: float = 0.25
    epsilon: float = 1e-3
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "richter2020"
    facts: ClassVar[Facts] = Facts(
        "free", causal="mask", content="pair", equivariant=("permutation", "rotation"),
        rank=lambda sizes: min(sizes.n, sizes.d + 1),
    )  # fmt: skip
    budget: ClassVar[float] = 1e-4

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        score = Standardised(self.gain, self.offset, self.epsilon)
        return attention(inputs.q, inputs.k, inputs.v, score=score, mask="causal" if causal else None)
