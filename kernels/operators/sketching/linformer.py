"""Linformer: keys and values of a fixed number of tokens are projected to fewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.axes import beside_problems
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import (
    QKV,
    Approximation,
    Facts,
    Limit,
    Operator,
    Parameters,
    Sizes,
    checked,
    normal,
)


def _identities(inputs, parameters):
    n = inputs.k.shape[-2]
    unit = torch.eye(n, dtype=inputs.k.dtype).repeat(inputs.k.shape[0], 1, 1)
    return inputs, {"keys": unit, "values": unit.clone()}, {}


@dataclass(frozen=True)
class Linformer(Operator):
    r"""Attention to ``n_projected`` mixtures of tokens: :math:`y = \mathrm{softmax}(q (E K)^\top / \sqrt d)\, (F V)`.

    E ``keys`` and F ``values`` (replica, k, n), learned, shared by the heads; the number of tokens is fixed by them. The map
    softmax(.) F has rows of any sum and rank at most k. Wang et al. 2020 (arXiv 2006.04768), equation 7.
    """

    n_projected: int = 3
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "wang2020linformer"
    approximates: ClassVar[Approximation | str | None] = Approximation(
        lambda sizes: {"random projections": tuple(Linformer(max(2, sizes.n // part)) for part in (16, 8, 4, 2))},
        lambda sizes: Linformer(16 * sizes.n),
        "no",
    )
    facts: ClassVar[Facts] = Facts(
        "free", causal="none", content="pair", equivariant=("rotation",), rank=lambda sizes: min(sizes.n, 3),
        causal_reason="projections mix all tokens, later ones too",
    )  # fmt: skip
    limits: ClassVar[tuple[Limit, ...]] = (Limit("E = F = 1", lambda: Linformer(), lambda: DotProduct(), _identities),)
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        shape, std = (self.n_projected, sizes.n), self.n_projected**-0.5
        return {name: normal(generators, shape, std, dtype) for name in ("keys", "values")}

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        n, fixed = inputs.k.shape[-2], parameters["keys"].shape[-1]
        if n != fixed:
            raise ValueError(f"k has {n} tokens, the projections were made for {fixed}; initialise with n={n}")
        E, F = (beside_problems(parameters[name], inputs.k) for name in ("keys", "values"))
        return attention(inputs.q, E @ inputs.k, F @ inputs.v)

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        self.not_causal(causal)
        E, F = (beside_problems(parameters[name], inputs.k) for name in ("keys", "values"))
        return (inputs.q @ (E @ inputs.k).mT / inputs.q.shape[-1] ** 0.5).softmax(-1) @ F
