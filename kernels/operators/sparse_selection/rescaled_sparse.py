"""Rescaled sparse attention: a window that remembers, from an earlier step, what share it holds and what it misses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Facts, Limit, Operator, Parameters, Sizes, checked, normal, uniform
from attnlab.kernels.operators.selection import one_query_per_key, query_places


def _static(inputs, parameters):
    """The remembered step had the same queries, keys and values."""
    return inputs, RescaledSparse().remembered(inputs), {}


@dataclass(frozen=True)
class RescaledSparse(Operator):
    r"""One sparse step of a diffusion sampler: :math:`y_i = R_i \sum_{j \in w(i)} \mathrm{softmax}_j(s_{ij})\, v_j + r_i`.

    A dense step before it (:meth:`remembered`) left the window's share of the normaliser :math:`R_i = Z_i^w/Z_i` and the residual
    :math:`r_i = o_i - R_i o^w_i`, here "ratio" (replica, batch or 1, head, n_max) and "residual" (..., n_max, d_v), which nothing
    trains. The window holds ``window`` keys to each side. The published constant that is added to R in each step is
    one model's and is left out. Chen et al. 2025 (arXiv 2505.22918), section 3.
    """

    window: int = 1
    n_max: int = 16
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "chen2025"
    frozen_parameters: ClassVar[tuple[str, ...]] = ("ratio", "residual")
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("nothing moved since the dense step", lambda: RescaledSparse(), lambda: DotProduct(), _static),
    )

    def __post_init__(self):
        if self.window < 0 or self.n_max < 1:
            raise ValueError(f"window={self.window!r} must be at least 0 and n_max={self.n_max!r} at least 1")

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """What is remembered has a length, and the window a reach."""
        return Facts(
            row_sum="free",
            causal="none",
            causal_reason="a sampler denoises all places at once; the window looks to both sides",
            content="pair",
            equivariant=("rotation", "shift"),
            reach=lambda sizes: min(self.window, sizes.n - 1),
            n_max=self.n_max,
        )

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        shape = (1, sizes.n_heads, self.n_max)
        return {
            "ratio": 0.5 + uniform(generators, shape, dtype) / 2,
            "residual": normal(generators, (*shape, sizes.d_v), 0.1, dtype),
        }

    def remembered(self, inputs: QKV) -> dict:
        """Parameters after a dense step on these inputs, one query per key."""
        one_query_per_key(inputs, "the dense step, which leaves a number per place,")
        q, k, v = inputs.q, inputs.k, inputs.v
        dense, of_all = attention(q, k, v, statistics=("log_sum_exp",))
        sparse, of_window = attention(q, k, v, mask=self._seen(q, k), statistics=("log_sum_exp",))
        ratio = (of_window["log_sum_exp"] - of_all["log_sum_exp"]).exp()
        return {"ratio": ratio, "residual": dense - ratio[..., None] * sparse}

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        return self.post(self._mix(inputs, inputs.v, parameters), inputs, parameters)

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        n = inputs.k.shape[-2]
        unit = torch.eye(n, dtype=inputs.k.dtype, device=inputs.k.device)
        return self._mix(inputs, unit.expand(*inputs.k.shape[:-2], n, n), parameters)

    def post(self, mixed: Tensor, inputs: QKV, parameters: Parameters) -> Tensor:
        return mixed + parameters["residual"][..., self._places(inputs), :]

    def _mix(self, inputs, values, parameters):
        sparse = attention(inputs.q, inputs.k, values, mask=self._seen(inputs.q, inputs.k))
        return parameters["ratio"][..., self._places(inputs), None] * sparse

    @staticmethod
    def _places(inputs):
        """Where the queries sit among what is remembered: the last one at the last key."""
        n_q, n_k = inputs.q.shape[-2], inputs.k.shape[-2]
        if n_q > n_k:
            raise ValueError(
                f"q has {n_q} and k {n_k} tokens; RescaledSparse remembers one place per key, give no more queries"
            )
        return slice(n_k - n_q, n_k)

    def _seen(self, q, k):
        i, j = query_places(q.shape[-2], k.shape[-2]), torch.arange(k.shape[-2])
        return (i[:, None] - j[None]).abs() <= self.window
