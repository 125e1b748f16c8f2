"""Kolmogorov-Arnold attention: a learned function of the whole row of scores in place of softmax."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.axes import beside_problems
from attnlab.kernels.operators.operator import QKV, Facts, Operator, Parameters, Sizes, checked, normal


@dataclass(frozen=True)
class LearnedRows(Operator):
    r"""Rows of weights from Fourier units of the row of scores.

    .. math:: W_i = P\, \Phi(a_i), \qquad \Phi_u(a) = \sum_j \sum_{m=1}^{G} A_{ujm} \cos(m a_j) + B_{ujm} \sin(m a_j), \qquad
              a_{ij} = \tfrac{\pi}{2} \tanh(q_i \cdot k_j / \sqrt d),

    ``n_units`` r units, P (n, r). Rows need not be positive or sum to 1; the map has rank at most r. The number of keys is
    fixed by the parameters. tanh keeps the scores on half a period, where Fourier sums approach exp exponentially fast (on a
    whole one only like G^{-1/2}); shared by all heads. What the paper fixes of this (r of about 12, sharing, where P
    stands) we have not read. Maity et al. 2025 (arXiv 2503.10632).
    """

    n_units: int = 4
    n_frequencies: int = 2
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "maity2025"
    facts: ClassVar[Facts] = Facts(
        "free", causal="none", content="pair", equivariant=("rotation",), rank=lambda sizes: min(sizes.n, 4),
        causal_reason="each unit reads the whole row of scores",
    )  # fmt: skip
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        features = 2 * self.n_frequencies * sizes.n
        return {
            "into_units": normal(generators, (features, self.n_units), features**-0.5, dtype),
            "out_of_units": normal(generators, (self.n_units, sizes.n), self.n_units**-0.5, dtype),
        }

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        return self.matrix(inputs, parameters, causal=causal) @ inputs.v

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        self.not_causal(causal)
        q, n = inputs.q, inputs.k.shape[-2]
        if n != parameters["out_of_units"].shape[-1]:
            raise ValueError(f"k has {n} tokens, the rows were learned for {parameters['out_of_units'].shape[-1]}")
        a = math.pi / 2 * (q @ inputs.k.mT / q.shape[-1] ** 0.5).tanh()
        m = torch.arange(1, self.n_frequencies + 1, dtype=a.dtype, device=a.device)
        waves = (a[..., None] * m).flatten(-2)  # (..., query, key x frequency)
        units = torch.cat([waves.cos(), waves.sin()], -1) @ beside_problems(parameters["into_units"], a)
        return units @ beside_problems(parameters["out_of_units"], units)
