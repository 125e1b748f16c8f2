"""SwiftFormer's additive attention: one global query, multiplied with every key; no values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from attnlab.kernels.operators.axes import beside_problems, linear
from attnlab.kernels.operators.operator import Facts, Operator, Parameters, Sizes, Tokens, checked, normal


@dataclass(frozen=True)
class AdditiveGlobalQuery(Operator):
    r"""Tokens see each other through one vector G.

    .. math:: a = \hat Q w / |\hat Q w|_2, \quad G = \sum_i a_i \hat q_i, \quad y_i = F(P (G \odot \hat k_i) + \hat q_i),

    hats of length 1; a is divided by its l2 norm over the tokens, no softmax, so it is signed and |G| grows like sqrt n. (Their
    factor d^{-1/2} before that norm cancels.) Parameters query, key, mix, out (replica, D, D) and w ``weight`` (replica, D).
    Shaker et al. 2023 (arXiv 2303.15446), equations 4 and 5, and their code.
    """

    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "shaker2023"
    facts: ClassVar[Facts] = Facts(
        "free", causal="none", content="nonlinear", equivariant=("permutation",),
        causal_reason="the norm of the global query's weights is over all tokens; no prefix form is published",
    )  # fmt: skip
    no_matrix: ClassVar[str] = "keys are multiplied by a global vector; there are no values"
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        D = sizes.d_model
        made = {name: normal(generators, (D, D), D**-0.5, dtype) for name in ("query", "key", "mix", "out")}
        return made | {"weight": normal(generators, (D,), 1.0, dtype)}

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        q, k = (normalize(linear(inputs.x, parameters[name]), dim=-1) for name in ("query", "key"))
        a = normalize(q @ beside_problems(parameters["weight"][..., None], q), dim=-2)  # (replica, batch, n, 1)
        G = a.mT @ q
        return linear(linear(G * k, parameters["mix"]) + q, parameters["out"])
