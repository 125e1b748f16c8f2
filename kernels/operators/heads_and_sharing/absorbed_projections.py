"""Optimised and efficient attention: heads take slices of the token as values, or as keys too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.heads_and_sharing.multi_head import MultiHead
from attnlab.kernels.operators.operator import QKV, Facts, Heads, Limit, Operator, Parameters, Sizes, checked
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


def slices(x: Tensor, n_heads: int) -> Tensor:
    """The h-th slice of the token for head h, (replica, batch, head, n, d)."""
    return x.unflatten(-1, (n_heads, -1)).transpose(2, 3)


def _as_multi_head(inputs, parameters):
    """The same layer with projections that cut slices."""
    replicas, H, D, d = parameters["query"].shape
    cut = torch.eye(D, dtype=inputs.x.dtype).reshape(D, H, d).transpose(0, 1).expand(replicas, H, D, d)
    return inputs, parameters, {"key": cut, "value": cut} | parameters


@dataclass(frozen=True)
class AbsorbedProjections(Operator):
    r"""Attention without value projections, and without key projections for ``form="efficient"``:

    .. math:: y = \sum_h \mathrm{softmax}(x W^Q_h k_h^\top / \sqrt d)\, x_{[h]} W^O_h, \qquad
              k_h = x W^K_h \text{ (optimised)} \quad\text{or}\quad x_{[h]} \text{ (efficient)},

    x_[h] the h-th slice of d channels. With one head nothing is lost: W^V merges into W^O, W^K into W^Q. With many, optimised is
    multi-head after the change of basis x -> x W^V (one isolated layer); efficient needs W^K_h = W^V_h M_h besides.
    Hosseini and Hosseini 2024 (arXiv 2403.01643), equations 8 and 9; not the linear "efficient attention".
    """

    form: str = "optimised"
    kind: ClassVar[str] = "heads"
    source: ClassVar[str] = "hosseini2024"
    facts: ClassVar[Facts] = Facts(1.0, causal="mask", content="pair", equivariant=("permutation",))
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit(
            "always: projections that cut slices", lambda: AbsorbedProjections(), lambda: MultiHead(), _as_multi_head
        ),
        Limit(
            "always: projections that cut slices",
            lambda: AbsorbedProjections("efficient"),
            lambda: MultiHead(),
            _as_multi_head,
        ),
    )
    budget: ClassVar[float] = 1e-4

    @classmethod
    def variants(cls) -> dict[str, AbsorbedProjections]:
        return {form: cls(form) for form in ("optimised", "efficient")}

    def __post_init__(self):
        if self.form not in ("optimised", "efficient"):
            raise ValueError(f"form={self.form!r}; use 'optimised' or 'efficient'")

    def inner_operator(self) -> Operator:
        """What the heads do, unless the inputs say otherwise."""
        return DotProduct()

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        names = ("query", "key", "out") if self.form == "optimised" else ("query", "out")
        return projections(sizes, generators, dtype, names)

    def apply(
        self, inputs: Heads, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        return self.post(inputs.inner.apply(self._heads(inputs, parameters), {}, causal=causal), inputs, parameters)

    def matrix(
        self, inputs: Heads, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        return inputs.inner.matrix(self._heads(inputs, parameters), {}, causal=causal)

    def values(self, inputs: Heads, parameters: Parameters) -> Tensor:
        return slices(inputs.x, parameters["query"].shape[1])

    def post(self, mixed: Tensor, inputs: Heads, parameters: Parameters) -> Tensor:
        return out_of_heads(mixed, parameters["out"])

    def _heads(self, inputs, parameters):
        v = self.values(inputs, parameters)
        k = into_heads(inputs.x, parameters["key"]) if self.form == "optimised" else v
        return QKV(into_heads(inputs.x, parameters["query"]), k, v)
