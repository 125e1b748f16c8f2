"""Disentangled attention: content to content, content to position, position to content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Facts, Limit, Operator, Parameters, Sizes, checked, normal
from attnlab.kernels.operators.selection import query_places


@dataclass(frozen=True)
class Disentangled(Operator):
    r"""Three terms of the score, one scale:
    :math:`s_{ij} = (q_i \cdot k_j + q_i \cdot r^K_{\delta(i,j)} + k_j \cdot r^Q_{\delta(j,i)})/\sqrt{3 d}`.

    :math:`\delta(i, j) = \mathrm{clip}(i - j + m, 0, 2 m - 1)`; the third term is indexed from the key, delta(j, i),
    not delta(i, j). "to_key" and "to_query" (replica, head, 2 m, d) are the position table after its projections.
    Published with m = 512; later versions use logarithmic buckets and scale by the number of terms. He et al. 2021
    (arXiv 2006.03654), equations 2 to 4.
    """

    farthest: int = 2
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "he2021"
    facts: ClassVar[Facts] = Facts(row_sum=1.0, causal="mask", content="pair", equivariant=("shift",))
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit(
            "no positions: scale 1/sqrt(3 d), d = 4", lambda: Disentangled(), lambda: DotProduct(12**-0.5),
            lambda inputs, parameters: (inputs, {name: 0 * x for name, x in parameters.items()}, {}),
        ),
    )  # fmt: skip

    def __post_init__(self):
        if self.farthest < 1:
            raise ValueError(f"farthest={self.farthest!r} must be at least 1")

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        shape = (sizes.n_heads, 2 * self.farthest, sizes.d)
        return {name: normal(generators, shape, 1.0, dtype) for name in ("to_key", "to_query")}

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        q, k = inputs.q, inputs.k
        m, scale = self.farthest, (3 * k.shape[-1]) ** -0.5
        back = query_places(q.shape[-2], k.shape[-2])[:, None] - torch.arange(k.shape[-2])[None]
        forward, backward = (back + m).clamp(0, 2 * m - 1), (m - back).clamp(0, 2 * m - 1)  # delta(i, j), delta(j, i)
        to_key = (q @ parameters["to_key"][:, None].mT).gather(-1, forward.expand(*q.shape[:-2], -1, -1))
        to_query = (k @ parameters["to_query"][:, None].mT).gather(-1, backward.mT.expand(*k.shape[:-2], -1, -1)).mT
        mask = "causal" if causal else None
        return attention(q, k, inputs.v, bias=scale * (to_key + to_query), scale=scale, mask=mask)
