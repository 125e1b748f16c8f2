"""Operational-amplifier attention: two maps of one head, whose difference is amplified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import gelu

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.axes import beside_problems
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import (
    QKV,
    Approximation,
    Facts,
    Limit,
    Operator,
    Parameters,
    Sizes,
    checked,
    normal,
)


@dataclass(frozen=True)
class Difference(Operator):
    r"""Two maps of one head with what they share rejected: :math:`M = A_d (M_+ - M_-) + \tfrac12 (M_+ + M_-)`.

    :math:`M_\pm = \mathrm{softmax}(q_\pm k_\pm^\top / \sqrt d)` with :math:`q_\pm = q + \mathrm{gelu}(q D_\pm) U_\pm`, k
    alike: four adapters of ``width`` per head width, shared by heads. ``gain`` is A_d; the common mode has gain 1. Rows
    sum to 1, weights can be negative. :math:`M = (A_d + \tfrac12)(M_+ - \lambda M_-)`, :math:`\lambda = (A_d -
    \tfrac12)/(A_d + \tfrac12)`: differential attention with a fixed lambda. U starts at zero here, so that the start
    changes nothing (not said in the paper). Wu et al. 2025, operational amplifier (arXiv 2502.12502), equations 4 to 6.
    """

    gain: float = 10.0
    width: int = 4
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "wu2025"
    approximates: ClassVar[Approximation | str | None] = "two trained maps that start as one"
    facts: ClassVar[Facts] = Facts(1.0, causal="mask", content="pair", equivariant=("permutation",))
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("adapters at their start, U = 0", lambda: Difference(), lambda: DotProduct()),
    )
    budget: ClassVar[float] = 1e-4  # a difference, amplified

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        down = normal(generators, (4, sizes.d, self.width), sizes.d**-0.5, dtype)
        return {"down": down, "up": torch.zeros_like(down.mT).contiguous()}

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        mask = "causal" if causal else None
        plus, minus = (
            attention(
                self._adapted(inputs.q, parameters, i), self._adapted(inputs.k, parameters, i + 1), inputs.v, mask=mask
            )
            for i in (0, 2)
        )
        return (self.gain + 0.5) * plus - (self.gain - 0.5) * minus

    @staticmethod
    def _adapted(x, parameters, i):
        down, up = (beside_problems(parameters[name][:, i], x) for name in ("down", "up"))
        return x + gelu(x @ down) @ up
