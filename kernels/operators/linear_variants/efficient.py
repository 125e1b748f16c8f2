"""Efficient attention: softmax over features of a query and over tokens of a key, then two small products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from attnlab.kernels.operators.linear_variants.latent_mixture import LatentMixture
from attnlab.kernels.operators.operator import QKV, Facts, Limit, Operator, Parameters, checked


@dataclass(frozen=True)
class Efficient(Operator):
    r"""Global context vectors, then their distribution: :math:`y = \rho_q(Q)\, (\rho_k(K)^\top V)`.

    rho_q is a softmax over the features of each token, rho_k one over the tokens of each feature, so rows sum to 1. (Their other
    choice, division by sqrt n, is ``attention(score="linear")`` with scale 1: exactly Q K^T V / n.)
    Shen et al. 2021 (arXiv 1812.01243), equations 4 and 6.
    """

    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "shen2021"
    facts: ClassVar[Facts] = Facts(
        1.0, causal="none", content="pair", equivariant=("permutation",), rank=lambda sizes: min(sizes.n, sizes.d),
        causal_reason="keys are normalised over all tokens; latent_mixture is its causal form",
    )  # fmt: skip
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("always, without a mask: L = d latents", lambda: Efficient(), lambda: LatentMixture()),
    )

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        return inputs.q.softmax(-1) @ (inputs.k.softmax(-2).mT @ inputs.v)

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        self.not_causal(causal)
        return inputs.q.softmax(-1) @ inputs.k.softmax(-2).mT
