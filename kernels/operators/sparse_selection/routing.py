"""Routing attention: centroids collect queries and keys, and attention is full inside each collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
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
from attnlab.kernels.operators.selection import one_query_per_key


@dataclass(frozen=True)
class Routing(Operator):
    r"""Each of C centroids takes the w = ceil(n/C) queries and, apart, the w keys of largest :math:`\mu_c \cdot x/|x|`.

    Softmax attention inside each cluster; a query in several clusters gets the mean of its outputs, one in none gets 0.
    Centroids "centroids" (replica, head, C, d) are unit vectors and no trained parameters: they follow the
    means of their clusters (:meth:`moved`). Membership depends on all tokens that compete for the places, so there is no causal
    form in the strict sense, although the published model masks inside clusters; its learned pair per cluster, which keeps
    masked rows from being empty, is then not needed. Queries and keys are normalised by l2, as in the code (the paper
    says layer norm). Roy et al. 2021 (arXiv 2003.05997), section 4.
    """

    clusters: int = 2
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "roy2021"
    approximates: ClassVar[Approximation | str | None] = Approximation(
        lambda sizes: {"": tuple(Routing(clusters) for clusters in (16, 8, 4, 2))}, lambda sizes: Routing(1)
    )
    facts: ClassVar[Facts] = Facts(
        row_sum="at most 1", causal="none", causal_reason="tokens compete with later ones for the places of a cluster",
        content="pair", equivariant=("permutation",), smooth=False,
        skips={"rank": "how many queries no centroid takes depends on the input"},
    )  # fmt: skip
    frozen_parameters: ClassVar[tuple[str, ...]] = ("centroids",)
    limits: ClassVar[tuple[Limit, ...]] = (Limit("one cluster", lambda: Routing(1), lambda: DotProduct()),)

    def __post_init__(self):
        if self.clusters < 1:
            raise ValueError(f"clusters={self.clusters!r} must be at least 1")

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        drawn = normal(generators, (sizes.n_heads, self.clusters, sizes.d), 1.0, dtype)
        return {"centroids": torch.nn.functional.normalize(drawn, dim=-1)}

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        one_query_per_key(inputs, "Routing, whose queries compete for places,")
        q, k, v = inputs.q, inputs.k, inputs.v
        mine, theirs = self._members(q, parameters), self._members(k, parameters)  # (..., cluster, place)
        parts = (_taken(x, at) for x, at in ((q, mine), (k, theirs), (v, theirs)))
        y = attention(*parts)  # (..., cluster, place, d_v)
        at = mine.flatten(-2)[..., None]
        total = v.new_zeros(*y.shape[:-3], q.shape[-2], v.shape[-1])
        total = total.scatter_add(-2, at.expand(*at.shape[:-1], v.shape[-1]), y.flatten(-3, -2))
        count = v.new_zeros(*y.shape[:-3], q.shape[-2], 1).scatter_add(-2, at, torch.ones_like(at, dtype=v.dtype))
        return total / count.clamp(min=1)

    def moved(self, inputs: QKV, parameters: Parameters, decay: float = 0.999) -> Parameters:
        """Centroids after a step of training: an average with the mean direction of the queries and keys they took."""
        new = parameters["centroids"]
        for x in (inputs.q, inputs.k):
            unit = torch.nn.functional.normalize(x, dim=-1)
            mean = _taken(unit, self._members(x, parameters)).mean((1, -2))  # over batch and places
            new = new + (1 - decay) / 2 * (mean - parameters["centroids"])
        return parameters | {"centroids": torch.nn.functional.normalize(new, dim=-1)}

    def _members(self, x, parameters):
        """Tokens that each centroid takes, (..., cluster, place)."""
        with torch.no_grad():
            score = parameters["centroids"][:, None] @ torch.nn.functional.normalize(x, dim=-1).mT
        return score.argsort(dim=-1, descending=True, stable=True)[..., : -(-x.shape[-2] // self.clusters)]


def _taken(x, at):
    """Tokens of x (..., token, width) at (..., cluster, place): (..., cluster, place, width)."""
    index = at[..., None].expand(*at.shape, x.shape[-1])
    return x[..., None, :, :].expand(*at.shape[:-1], *x.shape[-2:]).gather(-2, index)
