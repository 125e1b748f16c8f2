"""Luong's local attention: each query predicts the centre of its window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.axes import beside_problems
from attnlab.kernels.operators.operator import QKV, Facts, Operator, Parameters, Sizes, checked, normal


@dataclass(frozen=True)
class PredictedWindow(Operator):
    r"""Softmax within a predicted window, times a Gaussian of standard deviation D/2 that is not normalised again.

    .. math:: p_i = n\, \sigma(u^\top \tanh(W q_i)), \qquad
              W_{ij} = \mathrm{softmax}_{|j - p_i| \le D}(q_i \cdot k_j)\; e^{-2 (j - p_i)^2 / D^2} .

    Keys sit at j = 1/2, 3/2, ..., n - 1/2, so that p covers them evenly (the paper counts words from 0 or 1 without saying
    which; the difference is a constant in u). Rows sum to less than 1, to .598 for flat scores and wide windows; the cut at
    distance D is a jump. Divided by its row sum it would be softmax with the Gaussian's exponent as a bias.
    Luong, Pham and Manning 2015 (arXiv 1508.04025), equations 9 and 10.
    """

    half_width: float = 10.0
    hidden: int = 8
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "luong2015"
    facts: ClassVar[Facts] = Facts(
        "at most 1", causal="none", content="pair", smooth=False,
        causal_reason="the window's centre is a share of the number of keys, so all of them must be there",
    )  # fmt: skip
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        return {
            "into_hidden": normal(generators, (sizes.d, self.hidden), sizes.d**-0.5, dtype),
            "readout": normal(generators, (self.hidden,), self.hidden**-0.5, dtype),
        }

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        q, k, n = inputs.q, inputs.k, inputs.k.shape[-2]
        hidden = (q @ beside_problems(parameters["into_hidden"], q)).tanh()
        centre = n * torch.sigmoid(
            hidden @ beside_problems(parameters["readout"][..., None], hidden)
        )  # (..., query, 1)
        away = torch.arange(n, dtype=q.dtype, device=q.device) + 0.5 - centre
        seen = away.detach().abs() <= self.half_width
        W = torch.where(seen, q @ k.mT, -torch.inf).softmax(-1)
        return W * (-2 * (away / self.half_width).square()).exp() @ inputs.v
