"""YOSO: attention by collisions of hashes, every weight a Bernoulli number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from attnlab.kernels.operators.axes import beside_problems
from attnlab.kernels.operators.operator import QKV, Facts, Operator, Parameters, Sizes, checked, normal


@dataclass(frozen=True)
class Yoso(Operator):
    r"""The share of ``n_hashes`` hashes in which a query meets a key, rows divided by their Euclidean norm.

    .. math:: B_{ij} = \frac1m \sum_h [f_h(q_i) = f_h(k_j)], \qquad y_i = \frac{\sum_j B_{ij} v_j}{|\sum_j B_{ij} v_j|}, \qquad
              \mathbb E B_{ij} = \Bigl(1 - \frac{\theta_{ij}}{\pi}\Bigr)^{\tau},

    f_h the signs of ``n_bits`` tau Gaussian directions (``planes``, frozen). Here the collisions are explicit pairs;
    buckets of summed values give the same in time n m (tau d + d_v). A query that meets nobody gives 0. Zeng et al. 2021
    (arXiv 2111.09714), equations 4 and 5; their surrogate gradient (tau/2) W is not built, so no gradient reaches queries
    and keys.
    """

    n_hashes: int = 8
    n_bits: int = 2
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "zeng2021"
    facts: ClassVar[Facts] = Facts(
        "free", causal="mask", content="pair", equivariant=("permutation",), smooth=False,
        skips={"gradients": "a hash is constant almost everywhere; the published surrogate is not built"},
    )  # fmt: skip
    frozen_parameters: ClassVar[tuple[str, ...]] = ("planes",)
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        return {"planes": normal(generators, (self.n_hashes, self.n_bits, sizes.d), 1.0, dtype)}

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        return self.post(self.matrix(inputs, parameters, causal=causal) @ inputs.v, inputs, parameters)

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        q, k = (self._bits(x, parameters) for x in (inputs.q, inputs.k))  # (..., n, hash, bit)
        B = (q[..., :, None, :, :] == k[..., None, :, :, :]).all(-1).to(inputs.v.dtype).mean(-1)
        return B.tril(B.shape[-1] - B.shape[-2]) if causal else B

    def post(self, mixed: Tensor, inputs: QKV, parameters: Parameters) -> Tensor:
        return normalize(mixed, dim=-1)

    def _bits(self, x, parameters):
        planes = beside_problems(parameters["planes"].flatten(1, 2), x)
        return (x.detach() @ planes.mT > 0).unflatten(-1, (self.n_hashes, self.n_bits))
