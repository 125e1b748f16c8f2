"""Infini-attention with the delta update: a segment writes only what the memory does not answer yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from attnlab.kernels.operators.gates_and_memory.compressive_memory import CompressiveMemory, positive
from attnlab.kernels.operators.operator import Facts, Operator, Parameters


@dataclass(frozen=True)
class DeltaMemory(CompressiveMemory):
    r"""As ``compressive_memory``, with :math:`M \mathrel{+}= \phi(K)^\top \bigl(V - \phi(K) M / \phi(K) z\bigr)`.

    z counts every write, M only what was new, so rows no longer sum to 1: a pair written once per segment is read with weight 1/2
    from the second segment on. Within a segment all differences use the same old M: a pair twice in one segment is written twice.
    Munkhdalai, Faruqui and Gopal 2024 (arXiv 2404.07143), equation 9.
    """

    facts: ClassVar[Facts] = Facts("free", causal="prefix", content="pair")

    def matrix(
        self, inputs: Any, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        return Operator.matrix(self, inputs, parameters, causal=causal, draw=draw)

    def written(self, k: Tensor, v: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        if state is None:
            return super().written(k, v, state)
        phi, (M, z) = positive(k), state
        return M + phi.mT @ (v - (phi @ M) / (phi @ z[..., None])), z + phi.sum(-2)
