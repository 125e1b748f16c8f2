"""Pointer network: the weights are the output, after glimpses that refine the query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.axes import beside_problems
from attnlab.kernels.operators.base_scores.luong import Luong, additive_scores, softmax_of
from attnlab.kernels.operators.operator import QKV, Facts, Limit, Operator, Parameters, Sizes, checked, normal


def _without_glimpse(inputs, parameters):
    point = {name.removeprefix("point_"): x for name, x in parameters.items() if name.startswith("point_")}
    return inputs, parameters, point


@dataclass(frozen=True)
class Pointer(Operator):
    r"""Additive scores as an output distribution over the inputs, :math:`p_{ij} \propto e^{v^\top \tanh(W_1 q_i + W_2 k_j)}`.

    With one-hot values the output is p itself; with other values it is the selected input on average, which is what a decoder
    is fed next. ``n_glimpses`` additive reads of the keys are added to the query before (Vinyals et al. have none; Bello et al.
    2016, arXiv 1611.09940, replace the query by a projection of the read, and clip the logits at ``clip`` tanh(u)). As
    \|u\| <= \|v\|_1 no weight exceeds 1/(1 + (n-1) e^{-2 \|v\|_1}). Vinyals, Fortunato and Jaitly 2015 (arXiv 1506.03134), eq. 3.
    """

    n_glimpses: int = 1
    clip: float | None = None
    hidden: int = 8
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "vinyals2015"
    facts: ClassVar[Facts] = Facts(row_sum=1.0, causal="mask", content="pair", equivariant=("permutation",))
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("no glimpse", lambda: Pointer(0), lambda: Luong("concat"), _without_glimpse),
    )
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        d, h = sizes.d, self.hidden
        made = {}
        for use in ("point", "glimpse")[: 1 + (self.n_glimpses > 0)]:
            made[f"{use}_into_query"] = normal(generators, (d, h), d**-0.5, dtype)
            made[f"{use}_into_key"] = normal(generators, (d, h), d**-0.5, dtype)
            made[f"{use}_readout"] = normal(generators, (h,), 2 * h**-0.5, dtype)
        if self.n_glimpses:
            made["back"] = normal(generators, (d, d), d**-0.5, dtype)
        return made

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        q, k = inputs.q, inputs.k
        for _ in range(self.n_glimpses):
            read = softmax_of(additive_scores(q, k, *self._of("glimpse", parameters)), causal) @ k
            q = q + read @ beside_problems(parameters["back"], read)
        u = additive_scores(q, k, *self._of("point", parameters))
        return softmax_of(u if self.clip is None else self.clip * u.tanh(), causal)

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        return self.matrix(inputs, parameters, causal=causal) @ inputs.v

    def _of(self, use, parameters):
        return (parameters[f"{use}_{name}"] for name in ("into_query", "into_key", "readout"))
