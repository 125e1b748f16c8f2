"""Geometric algebra attention: softmax over tuples of points, through invariants of their products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.operator import Facts, Operator, Parameters, Sizes, Tokens, checked, normal


@dataclass(frozen=True)
class GeometricAlgebra(Operator):
    r"""Tokens (r, v), the first three channels a point. Tuples of ``order`` points, the query's first:

    .. math:: y_i = \sum_{j..} \mathrm{softmax}_{j..}(h \cdot w_s)\, (h \cdot w_r\; c,\; W_v^\top h), \qquad
              h = \tanh(W^\top [\text{invariants}, v_i, v_j, ..]) .

    With :math:`u = r/\sqrt{1 + |r|^2}` (the authors leave products unbounded or normalise them): order 2 has the invariants
    u_i.u_j and :math:`|u_i \wedge u_j|^2` and the covariant c = u_i x u_j, the dual of the bivector, a pseudovector;
    order 3 the three dot products and the signed volume of u_i, u_j, u_k, and c the vector part of the product u_i u_j
    u_k. The output is (vector, values): rotations turn the first and leave the second, for any weights. Reflections
    leave all invariants of order 2: they cannot tell a cloud from its mirror image. Not invariant under translations:
    feed differences. One linear layer and tanh stand for the authors' networks. Cost n^order. Spellings 2021 (arXiv
    2110.02393), section 3.
    """

    order: int = 2
    width: int = 4
    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "spellings2021"
    least_heads: ClassVar[int] = 2
    no_matrix: ClassVar[str] = "a sum over tuples of functions of all their tokens"
    facts: ClassVar[Facts] = Facts(
        row_sum="free", causal="none", causal_reason="tuples are of the whole cloud", content="nonlinear",
        equivariant=("permutation",),
    )  # fmt: skip
    budget: ClassVar[float] = 1e-4

    def __post_init__(self):
        if self.order not in (2, 3) or self.width < 1:
            raise ValueError(f"order={self.order!r} must be 2 or 3 and width={self.width!r} at least 1")

    @classmethod
    def variants(cls) -> dict[str, GeometricAlgebra]:
        """Pairs and triples."""
        return {"pairs": cls(2), "triples": cls(3)}

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        n_values = sizes.d_model - 3
        if n_values < 1:
            raise ValueError(f"d_model={sizes.d_model} must be at least 4: a point and a value")
        inner = {2: 2, 3: 4}[self.order] + self.order * n_values
        return {
            "join": normal(generators, (inner, self.width), inner**-0.5, dtype),
            "score": normal(generators, (self.width, 1), self.width**-0.5, dtype),
            "vector": normal(generators, (self.width, 1), self.width**-0.5, dtype),
            "value": normal(generators, (self.width, n_values), self.width**-0.5, dtype),
        }

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        r, v = inputs.x[..., :3], inputs.x[..., 3:]
        u = r / (1 + r.square().sum(-1, keepdim=True)).sqrt()
        invariants, covariant = pairs(u) if self.order == 2 else triples(u)
        n, lead = u.shape[-2], invariants.shape[:-1]
        own = [
            v.reshape(*v.shape[:2], *(n if axis == place else 1 for axis in range(self.order)), v.shape[-1]).expand(
                *lead, -1
            )
            for place in range(self.order)
        ]
        joined = torch.cat([invariants, *own], -1)
        through = {name: w.reshape(w.shape[0], *(1,) * self.order, *w.shape[1:]) for name, w in parameters.items()}
        h = (joined @ through["join"]).tanh()
        weight = (h @ through["score"]).flatten(3).softmax(-1).unflatten(-1, lead[3:])[..., None]
        parts = weight * torch.cat([(h @ through["vector"]) * covariant, h @ through["value"]], -1)
        return parts.flatten(3, -2).sum(-2)


def pairs(u: Tensor) -> tuple[Tensor, Tensor]:
    """Invariants (..., i, j, 2) and covariants (..., i, j, 3) of pairs of points u (..., n, 3)."""
    a, b = torch.broadcast_tensors(u[..., :, None, :], u[..., None, :, :])
    cross = torch.linalg.cross(a, b)
    return torch.stack([(a * b).sum(-1), cross.square().sum(-1)], -1), cross


def triples(u: Tensor) -> tuple[Tensor, Tensor]:
    """Invariants (..., i, j, k, 4) and covariants (..., i, j, k, 3) of triples of points u (..., n, 3)."""
    a, b, c = torch.broadcast_tensors(u[..., :, None, None, :], u[..., None, :, None, :], u[..., None, None, :, :])
    ab, ac, bc = ((x * y).sum(-1, keepdim=True) for x, y in ((a, b), (a, c), (b, c)))
    volume = (torch.linalg.cross(a, b) * c).sum(-1, keepdim=True)
    return torch.cat([ab, ac, bc, volume], -1), ab * c - ac * b + bc * a
