"""Group transport: queries, keys and values carried into each other's frames by group elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Facts, Limit, Operator, Parameters, Sizes, checked, normal

GROUPS = ("rotations", "translations")


def _all_equal(inputs, parameters):
    """Every token stands in the frame of the first."""
    first = parameters["elements"][:, :1]
    return inputs, {"elements": first.expand_as(parameters["elements"])}, {}


@dataclass(frozen=True)
class GroupTransport(Operator):
    r"""Token i carries g_i; blocks of b channels are transported by its matrices:

    .. math:: y_i = g_i^{-1} \sum_j \mathrm{softmax}_j\bigl(q_i^\top g_i^{-1} g_j k_j/\sqrt d\bigr)\, g_j v_j .

    "elements" (replica, n_max, b, b) are the poses, data rather than weights: rotations of the plane, or translations of the line
    [[1, t], [0, 1]] at the start, any invertible matrices (SE(3) with b = 4) if the caller puts them there. Channels that
    fill no block are left alone. Changing the frame of all tokens, g_i to h g_i, changes nothing. The published learned scale of
    translations is ``scale``, a number here. Miyato et al. 2024 (arXiv 2310.10375), equation 6.
    """

    group: str = "rotations"
    scale: float = 1.0
    n_max: int = 16
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "miyato2024"
    no_matrix: ClassVar[str] = "values are transported per pair, g_i^{-1} g_j v_j"
    frozen_parameters: ClassVar[tuple[str, ...]] = ("elements",)
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("equal rotations", lambda: GroupTransport(), lambda: DotProduct(), _all_equal),
        Limit("equal translations", lambda: GroupTransport("translations"), lambda: DotProduct(), _all_equal),
    )

    def __post_init__(self):
        if self.group not in GROUPS or self.n_max < 1:
            raise ValueError(f"group={self.group!r} must be one of {GROUPS} and n_max={self.n_max!r} at least 1")

    @classmethod
    def variants(cls) -> dict[str, GroupTransport]:
        """Orthogonal and other matrices."""
        return {group: cls(group) for group in GROUPS}

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """The poses at hand bound the length."""
        return Facts(row_sum=1.0, causal="mask", content="pair", equivariant=("frame",), n_max=self.n_max)

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        x = self.scale * normal(generators, (self.n_max,), 1.0, dtype)
        one, zero = torch.ones_like(x), torch.zeros_like(x)
        rows = [x.cos(), -x.sin(), x.sin(), x.cos()] if self.group == "rotations" else [one, x, zero, one]
        return {"elements": torch.stack(rows, -1).unflatten(-1, (2, 2))}

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        moved, back = self.transported(inputs, parameters)
        return transport(back, attention(moved.q, moved.k, moved.v, mask="causal" if causal else None))

    def transported(self, inputs: QKV, parameters: Parameters) -> tuple[QKV, Tensor]:
        """Queries, keys and values in one frame, and the inverse elements of the queries (replica, 1, 1, query, b, b)."""
        n_q, n_k = inputs.q.shape[-2], inputs.k.shape[-2]
        if n_q > n_k:
            raise ValueError(
                f"q has {n_q} and k {n_k} tokens; a query has the pose of its key, give no more queries than keys"
            )
        g = parameters["elements"][:, None, None, :n_k]
        back = torch.linalg.inv(g[..., n_k - n_q :, :, :])
        q = transport(back.mT, inputs.q)
        return QKV(q, transport(g, inputs.k), transport(g, inputs.v)), back


def transport(g: Tensor, x: Tensor) -> Tensor:
    """Blocks of x (..., token, width) times g (..., token, b, b); what fills no block stays."""
    b = g.shape[-1]
    whole = x.shape[-1] // b * b
    blocks = x[..., :whole].unflatten(-1, (-1, b))  # (..., token, block, b)
    turned = (g[..., None, :, :] * blocks[..., None, :]).sum(-1)
    return torch.cat([turned.flatten(-2), x[..., whole:]], -1)
