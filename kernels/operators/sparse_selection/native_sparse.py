"""Native sparse attention: compressed blocks, selected blocks and a window, mixed by gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.masks import Window
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Facts, Limit, Operator, Parameters, Sizes, checked, normal
from attnlab.kernels.operators.selection import largest, masked_softmax, of_blocks, query_places, visible_past


def _only(branch):
    """Gates 0 but for one branch, which is 1."""

    def prepare(inputs, parameters):
        gates = torch.full_like(parameters["gate_offset"], -800.0)
        gates[..., branch] = 800.0
        own = parameters | {"gate_offset": gates, "gate": 0 * parameters["gate"], "place": 0 * parameters["place"]}
        return inputs, own, {}

    return prepare


@dataclass(frozen=True)
class NativeSparse(Operator):
    r"""Three softmaxes with gates: :math:`y = \sum_c g_c\, \mathrm{Attn}(q, K_c, V_c)`, c compressed, selected, window.

    Compressed: blocks of l keys every ``stride`` tokens, each one key (W [k_1 + e_1, ..., k_l + e_l], a linear map with
    place codes where the authors have a small network) and the mean value. Selected: of the blocks of ``selection`` tokens
    the ``keep`` with the largest sum of compressed weights, each counted by its overlap in strides (weights 1, 2, 2, 2, 1 at the
    published sizes); the first and the own block are always kept. Window: the ``window`` last keys. Gates are
    :math:`\sigma(q G + g_0)` per head and do not sum to 1. Keys and values are shared by the branches.

    Parameters: "compress" (replica, head, l d, d), at the start the mean; "place" (replica, head, l, d); "gate"
    (replica, head, d, 3) and "gate_offset" (replica, head, 3). Published: l = 32, stride 16, blocks of 64, 16 kept,
    window 512. Yuan et al. 2025 (arXiv 2502.11089), equations 5 to 12.
    """

    length: int = 2
    stride: int = 1
    selection: int = 2
    keep: int = 2
    window: int = 2
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "yuan2025"
    facts: ClassVar[Facts] = Facts(row_sum="free", causal="mask", content="pair", smooth=False)
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("gates (0, 1, 0), all blocks", lambda: NativeSparse(keep=99), lambda: DotProduct(), _only(1)),
        Limit("gates (1, 0, 0), blocks of one token", lambda: NativeSparse(1), lambda: DotProduct(), _only(0)),
        Limit("gates (0, 0, 1), a long window", lambda: NativeSparse(window=99), lambda: DotProduct(), _only(2)),
    )

    def __post_init__(self):
        if min(self.length, self.stride, self.selection, self.keep, self.window) < 1:
            raise ValueError(f"all sizes must be at least 1, got {self}")

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        R, H, d, l = len(generators), sizes.n_heads, sizes.d, self.length
        mean = torch.eye(d, dtype=dtype).repeat(l, 1) / l
        return {
            "compress": mean.expand(R, H, l * d, d).clone(),
            "place": normal(generators, (H, l, d), 0.1, dtype),
            "gate": normal(generators, (H, d, 3), d**-0.5, dtype),
            "gate_offset": torch.zeros(R, H, 3, dtype=dtype),
        }

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        q, k, v = inputs.q, inputs.k, inputs.v
        gates = (q @ parameters["gate"][:, None] + parameters["gate_offset"][:, None, :, None]).sigmoid()
        p, compressed = self._compressed(q, k, v, parameters, causal)
        with torch.no_grad():
            seen = self.selected(p, k.shape[-2], causal)
        selected = attention(q, k, v, mask=seen)
        near = attention(q, k, v, mask=Window(self.window - 1, 0 if causal else self.window - 1))
        return gates[..., :1] * compressed + gates[..., 1:2] * selected + gates[..., 2:] * near

    def starts(self, n: int) -> Tensor:
        """First tokens of the compressed blocks, which must fit."""
        return torch.arange(0, max(n - self.length + 1, 0), self.stride)

    def selected(self, p: Tensor, n: int, causal: bool) -> Tensor:
        """Boolean (..., query, key) from the compressed weights (..., query, compressed block)."""
        start, first = self.starts(n), torch.arange(0, n, self.selection)
        end = torch.minimum(start[:, None] + self.length, first[None] + self.selection)
        overlap = (end - torch.maximum(start[:, None], first[None])).clamp(min=0) / self.stride
        own = (query_places(p.shape[-2], n) // self.selection)[:, None]
        at = torch.arange(len(first))[None]
        forced = (at == own) | (at == 0)
        allowed = (at <= own) if causal else torch.ones_like(forced)
        chosen = largest(torch.where(forced, torch.inf, p @ overlap.to(p)), allowed, self.keep) | forced
        return of_blocks(chosen, self.selection, n) & visible_past(p.shape[-2], n, causal)

    def _compressed(self, q, k, v, parameters, causal) -> tuple[Tensor, Tensor]:
        """Weights of the compressed blocks and the branch's output."""
        start = self.starts(k.shape[-2])
        blocks = start[:, None] + torch.arange(self.length)  # (block, place)
        keys = (k[..., blocks, :] + parameters["place"][:, None, :, None]).flatten(-2) @ parameters["compress"][:, None]
        seen = torch.ones(q.shape[-2], len(start), dtype=torch.bool)
        if causal:
            seen = start[None] + self.length - 1 <= query_places(q.shape[-2], k.shape[-2])[:, None]
        p = masked_softmax(q @ keys.mT / q.shape[-1] ** 0.5, seen)
        return p, p @ v[..., blocks, :].mean(-2)
