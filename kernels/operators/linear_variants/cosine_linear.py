"""Cottention: cosines as weights, values divided by a learned power of the length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from attnlab.kernels.linear_attention import linear_attention
from attnlab.kernels.operators.axes import past, per_head
from attnlab.kernels.operators.operator import QKV, Facts, Operator, Parameters, Sizes, State, checked


@dataclass(frozen=True)
class CosineLinear(Operator):
    r"""Cosine attention: :math:`y_i = \sum_{j \le i} (\hat q_i \cdot \hat k_j)\, v_j / n_j^{\sigma(\mu)}`, hats of length 1.

    n_j is the number of keys that row j sees: j + 1 when causal, n without a mask. It divides the value, before the sum,
    as in the authors' code; dividing the output row by :math:`n_i^{\sigma(\mu)}` is another operator when causal.
    ``power`` mu (replica, head) starts at .5. Mongaras, Dohm and Larson 2024 (arXiv 2409.18747), equations 6 and 9.
    """

    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "mongaras2024"
    facts: ClassVar[Facts] = Facts(
        "free", causal="mask", content="pair", equivariant=("permutation", "rotation"),
        rank=lambda sizes: min(sizes.n, sizes.d),
    )  # fmt: skip

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        return {"power": torch.full((len(generators), sizes.n_heads), 0.5, dtype=dtype)}

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        q, k = normalize(inputs.q, dim=-1), normalize(inputs.k, dim=-1)
        v = inputs.v / self._counts(k, parameters, causal)
        return linear_attention(q, k, v)[0] if causal else q @ (k.mT @ v)

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        q, k = normalize(inputs.q, dim=-1), normalize(inputs.k, dim=-1)
        W = q @ k.mT / self._counts(k, parameters, causal).mT
        return torch.where(past(*W.shape[-2:], W.device), W, 0.0) if causal else W

    def start(self, token: Any) -> State:
        return {"read": torch.zeros_like(token.k[..., None] * token.v[..., None, :]), "count": 0 * token.k[..., 0]}

    def step(self, state: State, token: Any, parameters: Parameters) -> tuple[State, Tensor]:
        count = state["count"] + 1
        v = token.v / (count ** per_head(parameters["power"].sigmoid(), count))[..., None]
        read = state["read"] + normalize(token.k, dim=-1)[..., None] * v[..., None, :]
        y = (normalize(token.q, dim=-1)[..., None, :] @ read).squeeze(-2)
        return {"read": read, "count": count}, y

    @staticmethod
    def _counts(k, parameters, causal):
        """n_j to the power sigmoid(mu), (replica, 1, head, key, 1)."""
        n = k.shape[-2]
        seen = torch.arange(1, n + 1, dtype=k.dtype, device=k.device) if causal else k.new_full((n,), n)
        return seen[:, None] ** per_head(parameters["power"].sigmoid(), k)
