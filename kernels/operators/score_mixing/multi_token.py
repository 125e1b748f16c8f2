"""Multi-token attention: scores convolved over neighbouring queries and keys before the softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Approximation, Facts, Limit, Operator, Parameters, Sizes, checked
from attnlab.kernels.operators.selection import masked_softmax, one_query_per_key, visible_past


@dataclass(frozen=True)
class MultiToken(Operator):
    r"""Weights from convolved scores: :math:`W = \mathrm{softmax}(\kappa * S)`, :math:`S = Q K^\top/\sqrt d`, 0 where masked.

    .. math:: (\kappa * S)_{ij} = \sum_{a < c_q,\ b < c_k} \kappa_{ab}\, S_{i - a,\ j + b - (c_k - 1)/2} .

    "kernel" (replica, head, c_q, c_k) is the identity at the start; the mask is set again after the convolution. ``weights_too``
    convolves the weights, too, with "weight_kernel", masked to 0: rows then sum to the kernel's sum in the interior.
    With c_q > 1 a query needs those before it: as many queries as keys. Mixing of heads, the norm per head and the gate of
    large models are not built. Explicit scores, n^2 memory. Golovneva et al. 2025 (arXiv 2504.00927), equations 5 to 8.
    """

    queries: int = 2
    keys: int = 3
    weights_too: bool = False
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "golovneva2025"
    approximates: ClassVar[Approximation | str | None] = "trained kernels that start as the identity"
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("kernels at their start", lambda: MultiToken(weights_too=True), lambda: DotProduct()),
    )

    def __post_init__(self):
        if self.queries < 1 or self.keys < 1 or self.keys % 2 == 0:
            raise ValueError(
                f"queries={self.queries!r} must be at least 1 and keys={self.keys!r} odd: keys are centred"
            )

    @classmethod
    def variants(cls) -> dict[str, MultiToken]:
        """Before the softmax, and on both sides of it."""
        return {"scores": cls(), "scores_and_weights": cls(weights_too=True)}

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """A convolution after the softmax changes the sums of rows."""
        return Facts("free" if self.weights_too else 1.0, causal="mask", content="pair", equivariant=("rotation",))

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        identity = torch.zeros(len(generators), sizes.n_heads, self.queries, self.keys, dtype=dtype)
        identity[..., 0, self.keys // 2] = 1
        return {"kernel": identity} | ({"weight_kernel": identity.clone()} if self.weights_too else {})

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        return self.matrix(inputs, parameters, causal=causal) @ inputs.v

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        if self.queries > 1:
            one_query_per_key(inputs, "MultiToken, which mixes the scores of neighbouring queries,")
        S = inputs.q @ inputs.k.mT / inputs.k.shape[-1] ** 0.5
        seen = visible_past(*S.shape[-2:], causal)
        W = masked_softmax(self.mixed(torch.where(seen, S, 0.0), parameters["kernel"]), seen)
        return torch.where(seen, self.mixed(W, parameters["weight_kernel"]), 0.0) if self.weights_too else W

    def mixed(self, S: Tensor, kernel: Tensor) -> Tensor:
        """Scores (replica, batch, head, query, key) convolved per replica and head."""
        flat = S.transpose(0, 1).flatten(1, 2)  # (batch, replica * head, query, key)
        flat = pad(flat, (self.keys // 2, self.keys // 2, self.queries - 1, 0))
        weight = kernel.flip(-2).flatten(0, 1)[:, None]  # conv2d looks ahead, the kernel looks back over queries
        out = conv2d(flat, weight, groups=weight.shape[0])
        return out.unflatten(1, (S.shape[0], S.shape[2])).transpose(0, 1)
