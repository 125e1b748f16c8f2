"""Mixture of heads: every token weighs the heads, and uses some of them only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.axes import linear
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.heads_and_sharing.multi_head import MultiHead
from attnlab.kernels.operators.operator import QKV, Facts, Heads, Limit, Operator, Parameters, Sizes, checked, normal
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections

ROUTERS = ("shared_router", "router", "balance")


def _gates_of_one(inputs, parameters):
    return (
        inputs,
        {name: 0 * x if name in ROUTERS else x for name, x in parameters.items()},
        {name: x for name, x in parameters.items() if name not in ROUTERS},
    )


@dataclass(frozen=True)
class HeadMixture(Operator):
    r"""Gates per token on the heads, :math:`y = \sum_h g_h(x)\, \mathrm{head}_h(x)\, W^O_h`.

    Half of the heads are shared (always on), half routed, of which the ``n_active`` K of largest u are used:

    .. math:: g_{\rm shared} = a_1 H_s\, \mathrm{softmax}(x W_s),
              \quad g_{\rm routed} = a_2 K\, u\, [\text{kept}] / \textstyle\sum_{\rm kept} u,
              \quad u = \mathrm{softmax}(x W_r), \quad a = 2\, \mathrm{softmax}(x W_b) .

    Equal logits give gates of 1. All heads are computed and then gated, as in the authors' code: what is saved needs a gather.
    The map's rows sum to 1, the gate follows them. Jin et al. 2024 (arXiv 2410.11842), equations 4 to 7.
    """

    n_active: int = 2
    kind: ClassVar[str] = "heads"
    source: ClassVar[str] = "jin2024"
    facts: ClassVar[Facts] = Facts(1.0, causal="mask", content="pair", equivariant=("permutation",), smooth=False)
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("equal logits, all routed heads kept", lambda: HeadMixture(), lambda: MultiHead(), _gates_of_one),
    )
    least_heads: ClassVar[int] = 4
    budget: ClassVar[float] = 1e-4

    def inner_operator(self) -> Operator:
        """What the heads do, unless the inputs say otherwise."""
        return DotProduct()

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        if sizes.n_heads < 2:
            raise ValueError(f"n_heads={sizes.n_heads!r} must be at least 2: one shared and one routed")
        widths = (sizes.n_heads // 2, sizes.n_heads - sizes.n_heads // 2, 2)
        made = projections(sizes, generators, dtype)
        for name, width in zip(ROUTERS, widths, strict=True):
            made[name] = normal(generators, (sizes.d_model, width), sizes.d_model**-0.5, dtype)
        return made

    def apply(
        self, inputs: Heads, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        q, k, v = (into_heads(inputs.x, parameters[name]) for name in ("query", "key", "value"))
        return self.post(inputs.inner.apply(QKV(q, k, v), {}, causal=causal), inputs, parameters)

    def matrix(
        self, inputs: Heads, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        q, k = (into_heads(inputs.x, parameters[name]) for name in ("query", "key"))
        return inputs.inner.matrix(QKV(q, k, q), {}, causal=causal)

    def values(self, inputs: Heads, parameters: Parameters) -> Tensor:
        return into_heads(inputs.x, parameters["value"])

    def post(self, mixed: Tensor, inputs: Heads, parameters: Parameters) -> Tensor:
        return out_of_heads(self.gates(inputs.x, parameters).mT[..., None] * mixed, parameters["out"])

    def gates(self, x: Tensor, parameters: Parameters) -> Tensor:
        """Gates (replica, batch, n, head), shared heads first."""
        shared, u, a = (linear(x, parameters[name]).softmax(-1) for name in ROUTERS)
        K = min(self.n_active, u.shape[-1])
        kept = torch.where(u >= u.detach().topk(K, -1).values[..., -1:], u, 0.0)
        routed = K * kept / kept.sum(-1, keepdim=True)
        return torch.cat([2 * a[..., :1] * shared.shape[-1] * shared, 2 * a[..., 1:] * routed], -1)
