"""Dynamic convolution attention: the next weights are filtered from the last ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlab.kernels.operators.axes import beside_problems
from attnlab.kernels.operators.operator import QKV, Facts, Operator, Parameters, Sizes, checked, normal


def beta_binomial(n: int, alpha: float, beta: float) -> list[float]:
    """Probabilities of 0, ..., n under the beta-binomial law: its mean is n alpha / (alpha + beta)."""

    def log_beta(a, b):
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    whole = log_beta(alpha, beta)
    return [math.comb(n, k) * math.exp(log_beta(k + alpha, n - k + beta) - whole) for k in range(n + 1)]


@dataclass(frozen=True)
class DynamicConvolution(Operator):
    r"""Weights filtered from the weights of the query before, with a prior that moves forward by one key on average.

    .. math:: e_{ij} = v^\top \tanh\bigl(U (F * a_{i-1})_j + T (G(q_i) * a_{i-1})_j + b\bigr)
              + \ln \max((P * a_{i-1})_j, \epsilon),

    a_i = softmax(e_i), F ``n_filters`` static filters, :math:`G(q) = V_G \tanh(W_G q)` as many dynamic ones, both centred and of
    ``taps`` (odd) taps; P causal with beta-binomial taps 0, ..., 10 (alpha .1, beta .9). All weight starts on key 0. The floor
    1e-6 and the filter counts are those of public re-implementations. The recurrence is over queries and not linear, so it is
    a loop. Battenberg et al. 2020 (arXiv 1910.10288), equations 6 to 8.
    """

    n_filters: int = 2
    taps: int = 3
    hidden: int = 4
    floor: float = 1e-6
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "battenberg2020"
    facts: ClassVar[Facts] = Facts(
        1.0, causal="none", content="query",
        causal_reason="recurrent over the queries; the keys are a memory that is all there",
        skips={"last_queries": "recurrent from the first query, which is that of a decoder and sits at no key"},
    )  # fmt: skip
    budget: ClassVar[float] = 1e-4
    prior: ClassVar[tuple[float, ...]] = tuple(beta_binomial(10, 0.1, 0.9))

    def __post_init__(self):
        if self.taps < 1 or self.taps % 2 == 0:
            raise ValueError(f"taps={self.taps!r} must be odd and positive: filters are centred")

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        f, h = self.n_filters, self.hidden
        return {
            "static": normal(generators, (self.taps, f), self.taps**-0.5, dtype),
            "into_hidden": normal(generators, (sizes.d, h), sizes.d**-0.5, dtype),
            "into_filters": normal(generators, (h, self.taps * f), h**-0.5, dtype),
            "from_static": normal(generators, (f, h), f**-0.5, dtype),
            "from_dynamic": normal(generators, (f, h), f**-0.5, dtype),
            "bias": normal(generators, (h,), 0.1, dtype),
            "readout": normal(generators, (h, 1), h**-0.5, dtype),
        }

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        return self.matrix(inputs, parameters) @ inputs.v

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        self.not_causal(causal)
        q, own = inputs.q, {name: beside_problems(x, inputs.q) for name, x in parameters.items()}
        filters = (q @ own["into_hidden"]).tanh() @ own["into_filters"]
        filters = filters.unflatten(-1, (self.taps, self.n_filters))  # (..., query, tap, filter)
        a = torch.zeros_like(inputs.k[..., 0])
        a[..., 0] = 1.0
        rows = []
        for i in range(q.shape[-2]):
            near = self._windows(a, self.taps // 2, self.taps // 2)  # (..., key, tap)
            static = near @ own["static"] @ own["from_static"]
            dynamic = near @ filters[..., i, :, :] @ own["from_dynamic"]
            energy = ((static + dynamic + own["bias"]).tanh() @ own["readout"]).squeeze(-1)
            moved = self._windows(a, len(self.prior) - 1, 0) @ q.new_tensor(self.prior[::-1])
            a = (energy + moved.clamp(min=self.floor).log()).softmax(-1)
            rows.append(a)
        return torch.stack(rows, -2)

    @staticmethod
    def _windows(a: Tensor, before: int, after: int) -> Tensor:
        """The weights around each key, (..., key, before + 1 + after), zero beyond the ends."""
        return pad(a, (before, after)).unfold(-1, before + 1 + after, 1)
