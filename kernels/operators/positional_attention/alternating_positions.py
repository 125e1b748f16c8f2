"""Layers that alternate: full attention without positions, and rotary attention in a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.masks import Window
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Approximation, Facts, Limit, Operator, Parameters, checked
from attnlab.kernels.operators.rotary import rotated
from attnlab.kernels.operators.selection import query_places


@dataclass(frozen=True)
class AlternatingPositions(Operator):
    r"""Layer l of a stack: without positions and full if l is a multiple of ``period``, else rotary in a sliding ``window``.

    The window holds the query's own key and ``window`` - 1 before it (and as many after it without the causal form), so no rotary
    angle beyond them is ever used. Published: one full layer in four, a window of 4096 (from memory). Yang et al. 2025 (arXiv
    2501.18795), section 4.
    """

    layer: int = 0
    window: int = 3
    period: int = 4
    base: float = 10000.0
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "yang2025"
    approximates: ClassVar[Approximation | str | None] = "positions are a part of the scores"
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("a layer without positions", lambda: AlternatingPositions(4), lambda: DotProduct()),
    )

    def __post_init__(self):
        if self.layer < 0 or self.window < 1 or self.period < 1:
            raise ValueError(
                f"layer={self.layer!r} must be at least 0, window={self.window!r} and period={self.period!r} at least 1"
            )

    @classmethod
    def variants(cls) -> dict[str, AlternatingPositions]:
        """Both kinds of layers."""
        return {"full": cls(0), "windowed": cls(1)}

    @property
    def full(self) -> bool:
        """Whether this layer sees all, without positions."""
        return self.layer % self.period == 0

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """A full layer is equivariant to order, a windowed one to shifts."""
        if self.full:
            return Facts(row_sum=1.0, causal="mask", content="pair", equivariant=("permutation", "rotation"))
        return Facts(
            row_sum=1.0,
            causal="mask",
            content="pair",
            equivariant=("shift", "interior shift"),
            reach=lambda sizes: min(self.window, sizes.n) - 1,
        )

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        q, k, v = inputs.q, inputs.k, inputs.v
        if self.full:
            return attention(q, k, v, mask="causal" if causal else None)
        q = rotated(q, query_places(q.shape[-2], k.shape[-2]), self.base)
        before = self.window - 1
        return attention(q, rotated(k, base=self.base), v, mask=Window(before, 0 if causal else before))
