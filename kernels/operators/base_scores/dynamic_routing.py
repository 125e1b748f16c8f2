"""Dynamic self-attention: tokens are pooled by routing, whose query is the sum of its own past outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.operator import Facts, Operator, Parameters, Sizes, Tokens, checked, normal


@dataclass(frozen=True)
class DynamicRouting(Operator):
    r"""Pooling by ``n_rounds`` of routing, per output with votes x of its own:

    .. math:: a = \mathrm{softmax}(b), \qquad z = \tanh\bigl(\sum_i a_i x_i\bigr), \qquad b_i \leftarrow b_i + x_i \cdot z,

    from b = 0. No update follows the last round, so one round is tanh of the mean. The logits are :math:`X q_r` with the
    accumulated query :math:`q_r = \sum_{s<r} z_s`, and never decay: with many rounds the weights become one-hot. Rounds are
    counted from 1; output (replica, batch, ``n_outputs``, d_model). Yoon, Lee and Lee 2018 (arXiv 1808.07383), algorithm 1.
    """

    n_rounds: int = 3
    n_outputs: int = 2
    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "yoon2018"
    facts: ClassVar[Facts] = Facts(
        1.0, causal="none", content="summary", equivariant=("permutation",),
        causal_reason="one output for all tokens",
    )  # fmt: skip
    budget: ClassVar[float] = 1e-4

    def __post_init__(self):
        if not self.n_rounds >= 1:
            raise ValueError(f"n_rounds={self.n_rounds!r} must be at least 1 (one round is the mean)")

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        D = sizes.d_model
        return {"votes": normal(generators, (self.n_outputs, D, D), D**-0.5, dtype)}

    def values(self, inputs: Tokens, parameters: Parameters) -> Tensor:
        """The votes (replica, batch, output, n, D)."""
        return inputs.x[:, :, None] @ parameters["votes"][:, None]

    def matrix(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        """The weights of the last round, (replica, batch, output, 1, n)."""
        self.not_causal(causal)
        x = self.values(inputs, parameters)
        return self._weights(x)

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        x = self.values(inputs, parameters)
        return self.post(self._weights(x) @ x, inputs, parameters)

    def post(self, mixed: Tensor, inputs: Tokens, parameters: Parameters) -> Tensor:
        return mixed.tanh().squeeze(-2)

    def _weights(self, x):
        b = x.new_zeros((*x.shape[:-2], 1, x.shape[-2]))
        for _ in range(self.n_rounds - 1):
            z = (b.softmax(-1) @ x).tanh()
            b = b + z @ x.mT
        return b.softmax(-1)
