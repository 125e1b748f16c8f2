"""SOFT: a Gaussian kernel of tied queries and keys, factorised through landmarks, inverted by Newton's iteration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.operator import Facts, Operator, Parameters, Sizes, Tokens, checked
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


def gaussian_kernel(x: Tensor, y: Tensor) -> Tensor:
    r""":math:`e^{-|x - y|^2 / (2 \sqrt d)}`, (..., n, m)."""
    square = x.square().sum(-1)[..., :, None] + y.square().sum(-1)[..., None, :] - 2 * x @ y.mT
    return (-square.clamp(min=0) / (2 * x.shape[-1] ** 0.5)).exp()


@dataclass(frozen=True)
class Nystrom(Operator):
    r"""Kernel attention through landmarks: :math:`\hat S = C A^{-1} C^\top`, C = S(q, l), A = S(l, l).

    q = k = x W per head, landmarks l the means of ``n_landmarks`` consecutive parts of the tokens, at most one per token (the
    paper has a strided convolution or pooling). The inverse by ``n_iterations`` of Newton's iteration
    :math:`X \leftarrow X (2 - A X)` from X = alpha A, alpha = ``factor`` / \|A\|_1^2: 1.8, as 2 fails where all rows of A have
    one sum. Not normalised: S has a unit diagonal. Row-normalised at n landmarks it would be softmax with a bias
    -\|k\|^2 / (2 sqrt d). Lu et al. 2021 (arXiv 2110.11945), equations 5 to 8 and algorithm 1; their normalised version divides
    by the landmarks' row sums.
    """

    n_landmarks: int = 2
    n_iterations: int = 20
    factor: float = 1.8
    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "lu2021"
    facts: ClassVar[Facts] = Facts(
        "free", causal="none", content="pair", equivariant=("shift",), rank=lambda sizes: min(sizes.n, 2),
        causal_reason="landmarks are means over parts of the whole sequence",
    )  # fmt: skip
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        return projections(sizes, generators, dtype, ("query", "value", "out"))

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        C, inverse = self._factors(inputs.x, parameters)
        return self.post(C @ (inverse @ (C.mT @ self.values(inputs, parameters))), inputs, parameters)

    def matrix(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        self.not_causal(causal)
        C, inverse = self._factors(inputs.x, parameters)
        return C @ inverse @ C.mT

    def values(self, inputs: Tokens, parameters: Parameters) -> Tensor:
        return into_heads(inputs.x, parameters["value"])

    def post(self, mixed: Tensor, inputs: Tokens, parameters: Parameters) -> Tensor:
        return out_of_heads(mixed, parameters["out"])

    def newton(self, A: Tensor) -> Tensor:
        """The inverse of a symmetric positive matrix, as far as the iterations reach."""
        X = self.factor * A / A.abs().sum(-1).amax(-1)[..., None, None] ** 2
        for _ in range(self.n_iterations):
            X = 2 * X - X @ (A @ X)
        return X

    def _factors(self, x, parameters):
        q = into_heads(x, parameters["query"])
        parts = q.tensor_split(min(self.n_landmarks, q.shape[-2]), -2)  # fewer tokens than landmarks: each is one
        landmarks = torch.stack([part.mean(-2) for part in parts], -2)
        return gaussian_kernel(q, landmarks), self.newton(gaussian_kernel(landmarks, landmarks))
