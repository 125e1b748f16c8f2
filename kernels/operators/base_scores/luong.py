"""Luong attention: a bilinear or an additive score in place of the scaled dot product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.axes import beside_problems, past
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Facts, Limit, Operator, Parameters, Sizes, checked, normal
from attnlab.kernels.operators.selection import masked_softmax


def additive_scores(q: Tensor, k: Tensor, into_query: Tensor, into_key: Tensor, readout: Tensor) -> Tensor:
    """v . tanh(W_1 q + W_2 k), (..., query, key); weights (replica, d, h) twice, ``readout`` (replica, h)."""
    a, b = q @ beside_problems(into_query, q), k @ beside_problems(into_key, k)
    hidden = (a[..., :, None, :] + b[..., None, :, :]).tanh()  # (..., query, key, h)
    return (hidden @ beside_problems(readout[..., None], hidden)).squeeze(-1)


def softmax_of(scores: Tensor, causal: bool) -> Tensor:
    """Softmax over the visible keys; a row that sees none is zero."""
    return masked_softmax(scores, past(*scores.shape[-2:], scores.device)) if causal else scores.softmax(-1)


def _identity(inputs, parameters):
    unit = torch.eye(inputs.q.shape[-1], dtype=inputs.q.dtype).expand_as(parameters["weight"])
    return inputs, {"weight": unit.clone()}, {}


@dataclass(frozen=True)
class Luong(Operator):
    r"""Learned scores without a scale, softmax over keys.

    .. math:: \text{general: } s_{ij} = q_i^\top W k_j, \qquad \text{concat: } s_{ij} = v^\top \tanh(W_1 q_i + W_2 k_j) .

    Parameters are shared by heads: ``weight`` (replica, d, d), or ``into_query``, ``into_key`` (replica, d, hidden) and
    ``readout`` (replica, hidden). Their dot form is ``DotProduct(scale=1)``; their local form is ``predicted_window``. Concat
    needs n_q n h numbers of memory. Luong, Pham and Manning 2015 (arXiv 1508.04025), equation 8.
    """

    score: str = "general"
    hidden: int = 8
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "luong2015"
    facts: ClassVar[Facts] = Facts(row_sum=1.0, causal="mask", content="pair", equivariant=("permutation",))
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("general, W = 1", lambda: Luong("general"), lambda: DotProduct(1.0), _identity),
    )
    budget: ClassVar[float] = 1e-4  # scores without a scale

    @classmethod
    def variants(cls) -> dict[str, Luong]:
        return {"general": cls("general"), "concat": cls("concat")}

    def __post_init__(self):
        if self.score not in ("general", "concat"):
            raise ValueError(f"score={self.score!r}; use 'general' or 'concat' (the dot form is DotProduct(scale=1.0))")

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        d, h = sizes.d, self.hidden
        if self.score == "general":
            return {"weight": normal(generators, (d, d), d**-0.5, dtype)}
        return {
            "into_query": normal(generators, (d, h), d**-0.5, dtype),
            "into_key": normal(generators, (d, h), d**-0.5, dtype),
            "readout": normal(generators, (h,), 2 * h**-0.5, dtype),
        }

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        if self.score == "concat":
            return softmax_of(additive_scores(inputs.q, inputs.k, **parameters), causal) @ inputs.v
        q = inputs.q @ beside_problems(parameters["weight"], inputs.q)
        return attention(q, inputs.k, inputs.v, mask="causal" if causal else None, scale=1.0)
