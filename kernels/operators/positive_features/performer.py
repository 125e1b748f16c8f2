"""Performer: softmax's kernel by positive random features (FAVOR+)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.axes import beside_problems
from attnlab.kernels.operators.linear_variants.log_normal import LogNormal
from attnlab.kernels.operators.operator import (
    QKV,
    Approximation,
    Facts,
    Operator,
    Parameters,
    Sizes,
    State,
    checked,
    normal,
)


@dataclass(frozen=True)
class Performer(Operator):
    r"""Weights :math:`\hat w_{ij} = \frac1m \sum_c e^{w_c \cdot (x_i + y_j) - |x_i|^2/2 - |y_j|^2/2}`, divided by their row sum.

    x = q / d^{1/4}, y = k / d^{1/4}, ``n_features`` Gaussian rows w (``projection``, frozen), orthogonal within blocks of d with
    the lengths of Gaussian rows (``orthogonal=False``: independent): an unbiased estimate of e^{x . y} each, not of the
    ratio. Features are kept as logarithms, so that nothing underflows. Causal by explicit pairs here, n^2 m numbers; by
    prefix sums as a state. Choromanski et al. 2021 (arXiv 2009.14794), equation 6 and section 2.4.
    """

    n_features: int = 8
    orthogonal: bool = True
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "choromanski2021"
    approximates: ClassVar[Approximation | str | None] = Approximation(
        lambda sizes: {
            name: tuple(Performer(max(2, sizes.n // part), kind) for part in (32, 8, 4, 2))
            for name, kind in (("independent rows", False), ("orthogonal rows", True))
        },
        lambda sizes: Performer(400 * sizes.n),
        "limit",
    )
    facts: ClassVar[Facts] = Facts(
        1.0, causal="prefix", content="pair", equivariant=("permutation",), rank=lambda sizes: min(sizes.n, 8)
    )
    frozen_parameters: ClassVar[tuple[str, ...]] = ("projection",)
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        d, blocks = sizes.d, -(-self.n_features // sizes.d)
        if not self.orthogonal:
            return {"projection": normal(generators, (self.n_features, d), 1.0, torch.float64).to(dtype)}
        square = normal(generators, (blocks, d, d), 1.0, torch.float64)
        length = normal(generators, (blocks, d, d), 1.0, torch.float64).norm(dim=-1, keepdim=True)
        Q, R = torch.linalg.qr(square)
        Q = Q * R.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]  # else the signs of its columns are not random
        rows = (length * Q).flatten(1, 2)[:, : self.n_features]
        return {"projection": rows.to(dtype)}

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        return LogNormal().apply(self.logarithms(inputs, parameters), {}, causal=causal)

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        return LogNormal().matrix(self.logarithms(inputs, parameters), {}, causal=causal)

    def start(self, token: Any) -> State:
        wide = token.k[..., :1].expand(*token.k.shape[:-1], self.n_features)
        return LogNormal().start(QKV(wide, wide, token.v))

    def step(self, state: State, token: Any, parameters: Parameters) -> tuple[State, Tensor]:
        return LogNormal().step(state, self.logarithms(token, parameters), {})

    def logarithms(self, inputs: QKV, parameters: Parameters) -> QKV:
        """Logarithms of the features (..., n, m), without the 1/m that cancels."""
        root = inputs.q.shape[-1] ** -0.25
        found = []
        for x in (root * inputs.q, root * inputs.k):
            rows = x[..., None, :] if x.ndim == 3 else x
            logs = rows @ beside_problems(parameters["projection"], rows).mT - rows.square().sum(-1, keepdim=True) / 2
            found.append(logs.squeeze(-2) if x.ndim == 3 else logs)
        return QKV(*found, inputs.v)
