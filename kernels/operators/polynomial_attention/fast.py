"""Fastmax: the exponential cut off at a low order, factorised exactly."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any, ClassVar

import torch
from torch import Tensor

from attnlab.kernels.linear_attention import linear_attention
from attnlab.kernels.operators.axes import past
from attnlab.kernels.operators.convolutions import with_ones
from attnlab.kernels.operators.operator import QKV, Approximation, Facts, Operator, Parameters, State, checked
from attnlab.kernels.operators.selection import shares


def monomials(x: Tensor, order: int) -> Tensor:
    r"""Features with :math:`\phi(x) \cdot \phi(y) = \sum_{l \le p} (x \cdot y)^l / l!`: C(d + p, p) weighted monomials."""
    columns = [torch.ones_like(x[..., :1])]
    for degree in range(1, order + 1):
        sets = list(combinations_with_replacement(range(x.shape[-1]), degree))
        chosen = torch.tensor(sets, device=x.device)  # (monomial, degree)
        weight = [math.prod(math.factorial(m) for m in Counter(each).values()) ** -0.5 for each in sets]
        columns.append(x[..., chosen].prod(-1) * torch.tensor(weight, dtype=x.dtype, device=x.device))
    return torch.cat(columns, -1)


@dataclass(frozen=True)
class Fast(Operator):
    r"""Weights :math:`f_p(s) = \sum_{l \le p} s^l / l!` of standardised tokens, divided by their row sum.

    Queries and keys lose their mean over the features and are divided by their standard deviation; s = q . k / sqrt(d)
    (whether the root stays after standardising is not said; ``scale`` replaces it). ``order`` p is even, so that no
    weight is negative (the paper has 1, too). With ``standardise=False`` tokens stay as they are: the series of softmax
    attention itself. Strongly negative scores gain weight again. Gerami et al. 2024 (arXiv
    2402.07901), equations 9 to 12.
    """

    order: int = 2
    scale: float | None = None
    epsilon: float = 1e-12
    standardise: bool = True
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "gerami2024"
    approximates: ClassVar[Approximation | str | None] = Approximation(
        lambda sizes: {"series": tuple(Fast(order, standardise=False) for order in (2, 4))},
        lambda sizes: Fast(16, standardise=False),
        "limit",
    )
    budget: ClassVar[float] = 1e-4

    def __post_init__(self):
        if not (isinstance(self.order, int) and self.order >= 2 and self.order % 2 == 0):
            raise ValueError(f"order={self.order!r} must be even and at least 2: odd orders have negative weights")

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """Standardised tokens lose a dimension, and the rotations that move the ones."""
        if not self.standardise:
            return Facts(
                1.0, causal="prefix", content="pair", equivariant=("permutation", "rotation"),
                rank=lambda sizes: min(sizes.n, math.comb(sizes.d + self.order, self.order)),
            )  # fmt: skip
        return Facts(
            1.0, causal="prefix", content="pair", equivariant=("permutation",),
            rank=lambda sizes: min(sizes.n, sizes.d * (sizes.d + 1) // 2 - 1),
        )  # fmt: skip

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        q, k = (monomials(x, self.order) for x in self._standardised(inputs))
        v = with_ones(inputs.v)
        y = linear_attention(q, k, v)[0] if causal else q @ (k.mT @ v)
        return y[..., :-1] / y[..., -1:]

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        q, k = self._standardised(inputs)
        s = q @ k.mT
        w = sum(s**degree / math.factorial(degree) for degree in range(self.order + 1))
        w = torch.where(past(*w.shape[-2:], w.device), w, 0.0) if causal else w
        return shares(w)

    def start(self, token: Any) -> State:
        m = math.comb(token.k.shape[-1] + self.order, self.order)
        return {"read": token.v.new_zeros(*token.v.shape[:-1], m, token.v.shape[-1] + 1)}

    def step(self, state: State, token: Any, parameters: Parameters) -> tuple[State, Tensor]:
        q, k = (monomials(x, self.order) for x in self._standardised(token))
        read = state["read"] + k[..., None] * with_ones(token.v)[..., None, :]
        y = (q[..., None, :] @ read).squeeze(-2)
        return {"read": read}, y[..., :-1] / y[..., -1:]

    def _standardised(self, inputs):
        """Queries and keys whose product is s."""
        d = inputs.q.shape[-1]
        root = (d**-0.5 if self.scale is None else self.scale) ** 0.5
        if not self.standardise:
            return root * inputs.q, root * inputs.k
        away = (x - x.mean(-1, keepdim=True) for x in (inputs.q, inputs.k))
        return tuple(root * x / (x.square().mean(-1, keepdim=True) + self.epsilon).sqrt() for x in away)
