"""Agent attention: a few mediator tokens collect from all and give to all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from attnlab.kernels.operators.convolutions import depthwise
from attnlab.kernels.operators.operator import Facts, Grid, Operator, Parameters, Sizes, checked, normal
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


@dataclass(frozen=True)
class MediatorTokens(Operator):
    r"""Two softmax maps through m mediators A, the averages of the queries over a coarse grid.

    .. math:: O = \mathrm{softmax}(Q A^\top / \sqrt d + B_2)\, \mathrm{softmax}(A K^\top / \sqrt d + B_1)\, V + \mathrm{DW}_3(V) .

    B_1 (m, n) and B_2 (n, m) are interpolated from learned tables of ``table`` x ``table`` cells per mediator (the
    authors add row and column terms to them; those are in the span of no table, and left out). The depthwise 3 x 3 term
    puts the diagonal back, whose sum the m mediators cannot carry; it is not in the map. Han et al. 2024 (arXiv
    2312.08874), equations 5 to 7.
    """

    mediators: tuple[int, int] = (1, 2)
    table: int = 3
    kind: ClassVar[str] = "grid"
    source: ClassVar[str] = "han2024"
    facts: ClassVar[Facts] = Facts(
        1.0, causal="none", content="pair", rank=lambda sizes: min(sizes.n, 2),
        causal_reason="the mediators are averages over the whole grid",
    )  # fmt: skip
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        made = projections(sizes, generators, dtype)
        m = self.mediators[0] * self.mediators[1]
        for name in ("collect", "give"):
            made[name] = normal(generators, (sizes.n_heads, m, self.table, self.table), 0.02, dtype)
        return made | {"local": normal(generators, (sizes.d_model, 3, 3), 1 / 3, dtype)}

    def apply(
        self, inputs: Grid, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        collect, give = self.maps(inputs, parameters)
        v = self.values(inputs, parameters)
        return self._with_local(give @ (collect @ v), v, inputs, parameters)

    def matrix(
        self, inputs: Grid, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        self.not_causal(causal)
        collect, give = self.maps(inputs, parameters)
        return give @ collect

    def values(self, inputs: Grid, parameters: Parameters) -> Tensor:
        return into_heads(inputs.x, parameters["value"])

    def post(self, mixed: Tensor, inputs: Grid, parameters: Parameters) -> Tensor:
        return self._with_local(mixed, self.values(inputs, parameters), inputs, parameters)

    @staticmethod
    def _with_local(mixed, v, inputs, parameters):
        """The depthwise term of the values (replica, batch, head, n, d) added, and the projection."""
        replicas, batch, heads, n, d = v.shape
        joined = v.permute(0, 1, 3, 2, 4).reshape(replicas, batch, n, heads * d)
        local = depthwise(joined, parameters["local"], inputs.shape).reshape(replicas, batch, n, heads, d)
        return out_of_heads(mixed + local.permute(0, 1, 3, 2, 4), parameters["out"])

    def maps(self, inputs: Grid, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Mediators from tokens (..., m, n), and tokens from mediators (..., n, m)."""
        q, k = (into_heads(inputs.x, parameters[name]) for name in ("query", "key"))
        image = q.mT.flatten(0, 2).unflatten(-1, inputs.shape)
        A = adaptive_avg_pool2d(image, self.mediators).flatten(-2).mT.unflatten(0, q.shape[:-2])
        scale = q.shape[-1] ** -0.5
        collect = (A @ k.mT * scale + self._bias(parameters["collect"], inputs.shape)).softmax(-1)
        return collect, (q @ A.mT * scale + self._bias(parameters["give"], inputs.shape).mT).softmax(-1)

    @staticmethod
    def _bias(table, shape):
        """(replica, 1, head, mediator, n) from a table (replica, head, mediator, rows, columns)."""
        grown = interpolate(table.flatten(0, 1), size=shape, mode="bilinear", align_corners=False)
        return grown.reshape(*table.shape[:3], -1)[:, None]
