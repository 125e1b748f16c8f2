"""Infini-attention: softmax within a segment, a linear memory of all segments before, and a gate between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import elu

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.axes import past, per_head
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Facts, Limit, Operator, Parameters, Sizes, State, checked
from attnlab.kernels.operators.selection import one_query_per_key


def positive(x: Tensor) -> Tensor:
    """ELU + 1, the feature map of the memory."""
    return elu(x) + 1


@dataclass(frozen=True)
class CompressiveMemory(Operator):
    r"""Segments of ``segment`` tokens, read from the memory before they are written to it.

    .. math:: y = \sigma(b)\, \frac{\phi(Q) M}{\phi(Q) z} + (1 - \sigma(b))\, \mathrm{softmax}(Q K^\top / \sqrt d) V, \qquad
              M \mathrel{+}= \phi(K)^\top V, \quad z \mathrel{+}= \textstyle\sum \phi(k),

    phi = ELU + 1, the softmax causal within the segment, ``gate`` b (replica, head) starting at 0. In the first segment
    the memory is empty (0/0) and the softmax is taken alone, so that rows always sum to 1; the paper does not say. The
    memory is linear attention over all earlier segments, none of the current one. Only the past is known: ``causal``
    changes nothing. Munkhdalai, Faruqui and Gopal 2024 (arXiv 2404.07143), equations 3 to 6 and 10, and 8 for the plain
    update.
    """

    segment: int = 2
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "munkhdalai2024"
    facts: ClassVar[Facts] = Facts(1.0, causal="prefix", content="pair")
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("one segment", lambda: CompressiveMemory(segment=64), lambda: DotProduct(), causal=True),
    )
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        return {"gate": torch.zeros(len(generators), sizes.n_heads, dtype=dtype)}

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        q, k, v = inputs.q, inputs.k, inputs.v
        one_query_per_key(inputs, type(self).__name__)
        state, outputs = None, []
        for first in range(0, q.shape[-2], self.segment):
            part = QKV(*(x[..., first : first + self.segment, :] for x in (q, k, v)))
            local = attention(part.q, part.k, part.v, mask="causal")
            outputs.append(local if state is None else self._mixed(part.q, local, state, parameters))
            if first + self.segment < q.shape[-2]:
                state = self.written(part.k, part.v, state)
        return torch.cat(outputs, -2)

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        one_query_per_key(inputs, "CompressiveMemory")
        n = inputs.k.shape[-2]
        block = torch.arange(n, device=inputs.k.device) // self.segment
        s = inputs.q @ inputs.k.mT / inputs.q.shape[-1] ** 0.5
        own = past(n, n, s.device) & (block[:, None] == block[None])
        local = torch.where(own, s, -torch.inf).softmax(-1)
        w = torch.where(block[:, None] > block[None], positive(inputs.q) @ positive(inputs.k).mT, 0.0)
        total = w.sum(-1, keepdim=True)
        g = per_head(parameters["gate"].sigmoid(), s)
        return torch.where(total > 0, g * w / torch.where(total > 0, total, 1.0) + (1 - g) * local, local)

    def written(self, k: Tensor, v: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """The memory M (..., d, d_v) and z (..., d) after a segment."""
        phi = positive(k)
        M, z = phi.mT @ v, phi.sum(-2)
        return (M, z) if state is None else (state[0] + M, state[1] + z)

    def _mixed(self, q, local, state, parameters):
        M, z = state
        phi, g = positive(q), per_head(parameters["gate"].sigmoid(), q)
        return g * (phi @ M) / (phi @ z[..., None]) + (1 - g) * local

    def start(self, token: Any) -> State:
        place = (*token.k.shape[:-1], self.segment)
        return {
            "read": torch.zeros_like(token.k[..., None] * token.v[..., None, :]),
            "mass": torch.zeros_like(token.k),
            "keys": token.k.new_zeros(*place, token.k.shape[-1]),
            "values": token.v.new_zeros(*place, token.v.shape[-1]),
            "count": torch.zeros_like(token.k[..., 0]),
        }

    def step(self, state: State, token: Any, parameters: Parameters) -> tuple[State, Tensor]:
        t = int(state["count"].flatten()[0])
        place, memory = t % self.segment, (state["read"], state["mass"])
        if place == 0 and t > 0:
            memory = self.written(state["keys"], state["values"], None if t == self.segment else memory)
        keys, values = state["keys"].clone(), state["values"].clone()
        keys[..., place, :], values[..., place, :] = token.k, token.v
        q = token.q[..., None, :]
        y = attention(q, keys[..., : place + 1, :], values[..., : place + 1, :])
        if t >= self.segment:
            y = self._mixed(q, y, memory, parameters)
        new = {"read": memory[0], "mass": memory[1], "keys": keys, "values": values, "count": state["count"] + 1}
        return new, y.squeeze(-2)
