"""Graph-isomorphic attention: a network per head on what attention gathers, and on the token itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import silu

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.operator import QKV, Facts, Operator, Parameters, Sizes, checked, normal
from attnlab.kernels.operators.selection import one_query_per_key, visible_past


@dataclass(frozen=True)
class GraphIsomorphic(Operator):
    r"""Per head :math:`y_i = U_2\, \mathrm{silu}(\mathrm{RMSNorm}(U_1(\epsilon v_i + \sum_j A_{ij} v_j)))`.

    ``adjacency="softmax"``: a mean, blind to how often its tokens come; ``"sigmoid"``: a sum,
    :math:`A = \sigma(q \cdot k/\sqrt d)`. The norm stands before the nonlinearity and takes the scale of a sum away
    again unless epsilon v_i is beside it. "up" U_1 (replica, head, d_v, m d_v), "down" (replica, head, m d_v, d_v),
    "self_weight" epsilon (replica, head), .5 at the start. No dropout, sharpening, thresholds or output matrix.
    Buehler 2025 (arXiv 2501.02393), section 2.
    """

    adjacency: str = "softmax"
    expansion: int = 2
    epsilon: float = 1e-6
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "buehler2025"
    budget: ClassVar[float] = 1e-4

    def __post_init__(self):
        if self.adjacency not in ("softmax", "sigmoid") or self.expansion < 1:
            raise ValueError(
                f"adjacency={self.adjacency!r} must be softmax or sigmoid and expansion={self.expansion!r} at least 1"
            )

    @classmethod
    def variants(cls) -> dict[str, GraphIsomorphic]:
        """Mean and sum."""
        return {each: cls(each) for each in ("softmax", "sigmoid")}

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """Only the softmax is a mean."""
        return Facts(
            1.0 if self.adjacency == "softmax" else "free",
            causal="mask",
            content="pair",
            equivariant=("permutation", "rotation"),
        )

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        wide = self.expansion * sizes.d_v
        return {
            "up": normal(generators, (sizes.n_heads, sizes.d_v, wide), sizes.d_v**-0.5, dtype),
            "down": normal(generators, (sizes.n_heads, wide, sizes.d_v), wide**-0.5, dtype),
            "self_weight": torch.full((len(generators), sizes.n_heads), 0.5, dtype=dtype),
        }

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        one_query_per_key(inputs, "GraphIsomorphic")
        return self.post(self._mix(inputs, inputs.v, causal), inputs, parameters)

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        n = inputs.k.shape[-2]
        unit = torch.eye(n, dtype=inputs.k.dtype, device=inputs.k.device)
        return self._mix(inputs, unit.expand(*inputs.k.shape[:-2], n, n), causal)

    def post(self, mixed: Tensor, inputs: QKV, parameters: Parameters) -> Tensor:
        x = (parameters["self_weight"][:, None, :, None, None] * inputs.v + mixed) @ parameters["up"][:, None]
        x = x / (x.square().mean(-1, keepdim=True) + self.epsilon).sqrt()
        return silu(x) @ parameters["down"][:, None]

    def _mix(self, inputs, values, causal):
        if self.adjacency == "softmax":
            return attention(inputs.q, inputs.k, values, mask="causal" if causal else None)
        A = (inputs.q @ inputs.k.mT / inputs.k.shape[-1] ** 0.5).sigmoid()
        return torch.where(visible_past(*A.shape[-2:], causal), A, 0.0) @ values
