"""Relative position representations: a vector per clipped offset beside every key and value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Facts, Limit, Operator, Parameters, Sizes, checked, normal
from attnlab.kernels.operators.selection import masked_softmax, query_places, visible_past


@dataclass(frozen=True)
class RelativePositions(Operator):
    r"""Keys and values with a vector per offset: :math:`s_{ij} = q_i \cdot (k_j + a^K_{c(j - i)})/\sqrt d`, c(x) =
    clip(x, -m, m).

    .. math:: y_i = \sum_j \mathrm{softmax}_j(s_{ij})\,(v_j + a^V_{c(j - i)}) .

    "key_table" (replica, 2 m + 1, d) and, with ``values``, "value_table" (replica, 2 m + 1, d_v), shared by the heads;
    the index is key minus query. The value table is often dropped, so both forms are members. Shaw, Uszkoreit and
    Vaswani 2018 (arXiv 1803.02155), equations 3 and 4.
    """

    farthest: int = 2
    values_too: bool = False
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "shaw2018"
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit(
            "tables of zeros", lambda: RelativePositions(values_too=True), lambda: DotProduct(),
            lambda inputs, parameters: (inputs, {name: 0 * x for name, x in parameters.items()}, {}),
        ),
    )  # fmt: skip

    def __post_init__(self):
        if self.farthest < 0:
            raise ValueError(f"farthest={self.farthest!r} must be at least 0")

    @classmethod
    def variants(cls) -> dict[str, RelativePositions]:
        """Without and with the value table."""
        return {"keys": cls(), "keys_and_values": cls(values_too=True)}

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """The map depends on offsets alone where tokens are alike."""
        return Facts(row_sum=1.0, causal="mask", content="pair", equivariant=() if self.values_too else ("shift",))

    @property
    def no_matrix(self) -> str:  # type: ignore[override]
        """The value table adds a vector per pair."""
        return "the value table adds a vector per pair, which is no value of a key" if self.values_too else ""

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        made = {"key_table": normal(generators, (2 * self.farthest + 1, sizes.d), 1.0, dtype)}
        if self.values_too:
            made["value_table"] = normal(generators, (2 * self.farthest + 1, sizes.d_v), 1.0, dtype)
        return made

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        q, k, v = inputs.q, inputs.k, inputs.v
        n_q, n_k = q.shape[-2], k.shape[-2]
        index = self.offsets(n_q, n_k)
        bias = (q @ parameters["key_table"][:, None, None].mT).gather(-1, index.expand(*q.shape[:-2], -1, -1))
        bias = bias / k.shape[-1] ** 0.5
        if not self.values_too:
            return attention(q, k, v, bias=bias, mask="causal" if causal else None)
        A = masked_softmax(q @ k.mT / k.shape[-1] ** 0.5 + bias, visible_past(n_q, n_k, causal))
        per_offset = A.new_zeros(*A.shape[:-1], 2 * self.farthest + 1).scatter_add(-1, index.expand_as(A), A)
        return A @ v + per_offset @ parameters["value_table"][:, None, None]

    def offsets(self, n_q: int, n_k: int) -> Tensor:
        """Row of the tables for every (query, key)."""
        m = self.farthest
        return (torch.arange(n_k)[None] - query_places(n_q, n_k)[:, None]).clamp(-m, m) + m
