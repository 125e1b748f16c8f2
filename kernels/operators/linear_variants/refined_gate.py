"""ReGLA: gated linear attention, whose gate is refined by a second one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from attnlab.kernels.operators.axes import past, root_mean_square
from attnlab.kernels.operators.operator import Facts, Operator, Parameters, Sizes, State, Tokens, checked, normal
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


@dataclass(frozen=True)
class RefinedGate(Operator):
    r"""A state with a forget gate per channel, refined: :math:`S_t = \mathrm{diag}(g_t)\, S_{t-1} + \phi(k_t) v_t^\top`.

    .. math:: y_t = \mathrm{RMSNorm}(S_t^\top \phi(q_t)), \qquad g = (1 - r) f^2 + r (1 - (1 - f)^2) = f\, (f + 2 r (1 - f)),

    f = sigmoid(a), r = sigmoid(b), both linear in the token with a bias; r = 1/2 is the plain gate f. phi is sqrt d times
    a softmax over the channels: of the published "normalised exponential with a variance-reducing factor" we could read
    no formula. Only the past is known: ``causal`` changes nothing. The parallel form takes n^2 d numbers. Lu et al. 2025
    (arXiv 2502.01578).
    """

    epsilon: float = 1e-6
    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "lu2025regla"
    facts: ClassVar[Facts] = Facts("free", causal="prefix", content="pair", equivariant=("shift",))
    budget: ClassVar[float] = 1e-3  # differences of sums of logarithms

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        made = projections(sizes, generators, dtype)
        for name, start in (("gate", 2.0), ("refine", 0.0)):
            made[name] = normal(generators, (sizes.n_heads, sizes.d_model, sizes.d), sizes.d_model**-0.5, dtype)
            made[f"{name}_bias"] = torch.full((len(generators), sizes.n_heads, sizes.d), start, dtype=dtype)
        return made | {"gain": torch.ones(len(generators), sizes.n_heads, sizes.d, dtype=dtype)}

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        mixed = self.matrix(inputs, parameters) @ self.values(inputs, parameters)
        return self.post(mixed, inputs, parameters)

    def matrix(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        q, k = self._features(inputs.x, parameters)
        C = self.log_gate(inputs.x, parameters).cumsum(-2)
        gap = C[..., :, None, :] - C[..., None, :, :]  # (..., query, key, channel)
        gap = torch.where(past(*gap.shape[-3:-1], gap.device)[..., None], gap, -torch.inf)
        return (q[..., :, None, :] * k[..., None, :, :] * gap.exp()).sum(-1)

    def values(self, inputs: Tokens, parameters: Parameters) -> Tensor:
        return into_heads(inputs.x, parameters["value"])

    def post(self, mixed: Tensor, inputs: Tokens, parameters: Parameters) -> Tensor:
        gain = parameters["gain"][:, None, :, None]
        return out_of_heads(gain * mixed / root_mean_square(mixed, self.epsilon), parameters["out"])

    def start(self, token: Any) -> State:
        return {"read": token.x.new_zeros(())}  # the first step gives it its shape (replica, batch, head, d, d)

    def step(self, state: State, token: Any, parameters: Parameters) -> tuple[State, Tensor]:
        x = token.x[..., None, :]
        q, k = self._features(x, parameters)
        read = self.log_gate(x, parameters).exp().mT * state["read"] + k.mT @ into_heads(x, parameters["value"])
        return {"read": read}, self.post(q @ read, token, parameters).squeeze(-2)

    def log_gate(self, x: Tensor, parameters: Parameters) -> Tensor:
        """ln g (replica, batch, head, n, d), from logarithms throughout: gates near 0 and near 1 keep their digits."""
        a, b = (
            into_heads(x, parameters[name]) + parameters[f"{name}_bias"][:, None, :, None]
            for name in ("gate", "refine")
        )
        log_f = logsigmoid(a)
        return log_f + torch.logaddexp(log_f, math.log(2) + logsigmoid(b) + logsigmoid(-a))

    @staticmethod
    def _features(x, parameters):
        d = parameters["query"].shape[-1]
        return tuple(d**0.5 * into_heads(x, parameters[name]).softmax(-1) for name in ("query", "key"))
