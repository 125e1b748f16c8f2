"""Delta attention: a sparse method corrected by what it missed at regular anchors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Approximation, Facts, Limit, Operator, Parameters, checked
from attnlab.kernels.operators.selection import one_query_per_key, query_places


@dataclass(frozen=True)
class Delta(Operator):
    r"""Window and sinks, plus the error at the last anchor: :math:`y_i = o^*_i + (o_a - o^*_a)`, a = g floor(i/g).

    o is full attention, o* that on the ``window`` nearest keys (the query's own among them) and the first ``sinks`` ones. Rows
    sum to 1 + 1 - 1. The correction helps iff the mean autocorrelation of the error over lags 0 to g - 1 exceeds 1/2.
    The published method recomputes the last block densely, which only a known end allows; left out. Published with g = 64.
    Willette et al. 2025 (arXiv 2505.11254), equations 5 and 6.
    """

    window: int = 2
    sinks: int = 1
    gap: int = 3
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "willette2025"
    approximates: ClassVar[Approximation | str | None] = Approximation(
        lambda sizes: {"": tuple(Delta(max(2, sizes.n // 32), gap=gap) for gap in (16, 8, 4, 2))},
        lambda sizes: Delta(gap=1),
    )
    facts: ClassVar[Facts] = Facts(row_sum=1.0, causal="mask", content="pair", equivariant=("rotation",))
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("an anchor per query", lambda: Delta(gap=1), lambda: DotProduct()),
        Limit("the window holds all keys", lambda: Delta(99), lambda: DotProduct()),
    )

    def __post_init__(self):
        if self.window < 1 or self.sinks < 0 or self.gap < 1:
            raise ValueError(
                f"window={self.window!r} and gap={self.gap!r} must be at least 1, sinks={self.sinks!r} at least 0"
            )

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        one_query_per_key(inputs, "Delta")
        q, k, v = inputs.q, inputs.k, inputs.v
        i = query_places(k.shape[-2], k.shape[-2])
        back = i[:, None] - i[None]
        seen = (back.abs() < self.window) | (i[None] < self.sinks)
        past = back >= 0
        sparse = attention(q, k, v, mask=seen & past if causal else seen)
        anchors = i[:: self.gap]
        dense = attention(q[..., anchors, :], k, v, mask=past[anchors] if causal else None)
        missed = dense - sparse[..., anchors, :]
        return sparse + missed[..., i // self.gap, :]
