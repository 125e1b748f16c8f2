"""Compact pooling (LAMA): heads with rank-one scores pool the tokens by one global context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from attnlab.kernels.operators.axes import linear
from attnlab.kernels.operators.operator import Facts, Operator, Parameters, Sizes, Tokens, checked, normal


@dataclass(frozen=True)
class CompactPooling(Operator):
    r"""m heads pool n tokens: :math:`e_{it} = \tanh\bigl((p_i \cdot c)\,(q_i \cdot x_t)\bigr)`, softmax over t.

    c is the mean token (public code has that or a learned vector). With ``normalised`` the scores of each token are divided by
    their Euclidean norm over the heads, as in public code; the paper does not say over which axis. No weight then exceeds
    1/(1 + (n-1) e^{-2}). Output (replica, batch, ``n_heads``, D). Mehta, Rangwala and Ramakrishnan 2019 (arXiv 1912.00835).
    """

    n_heads: int = 4
    normalised: bool = True
    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "mehta2019"
    facts: ClassVar[Facts] = Facts(
        1.0, causal="none", content="summary", equivariant=("permutation",),
        causal_reason="one output per head for all tokens",
    )  # fmt: skip
    budget: ClassVar[float] = 1e-4

    @classmethod
    def variants(cls) -> dict[str, CompactPooling]:
        return {"normalised": cls(), "tanh": cls(normalised=False)}

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        shape, std = (sizes.d_model, self.n_heads), sizes.d_model**-0.5
        return {name: normal(generators, shape, std, dtype) for name in ("context", "token")}

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        return self.matrix(inputs, parameters, causal=causal) @ inputs.x

    def values(self, inputs: Tokens, parameters: Parameters) -> Tensor:
        return inputs.x

    def matrix(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        self.not_causal(causal)
        x = inputs.x
        context = linear(x.mean(-2, keepdim=True), parameters["context"])  # (replica, batch, 1, head)
        e = (context * linear(x, parameters["token"])).tanh()
        return (normalize(e, dim=-1) if self.normalised else e).mT.softmax(-1)
