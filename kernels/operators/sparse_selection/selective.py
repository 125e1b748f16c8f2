"""Selective attention: tokens mask earlier tokens for all later ones, without parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Facts, Limit, Operator, Parameters, checked
from attnlab.kernels.operators.selection import one_query_per_key


def _negative(inputs, parameters):
    """Queries positive, keys negative: no score is above 0."""
    return QKV(inputs.q.abs(), -inputs.k.abs(), inputs.v), {}, {}


@dataclass(frozen=True)
class Selective(Operator):
    r"""Softmax of :math:`s_{ij} - F_{ij}`, :math:`F_{ij} = \sum_{k < i} S_{kj}`,
    :math:`S_{kj} = \mathrm{relu}(s^0_{kj})` for 0 < j < k, else 0.

    s^0 are the scores of head 0, and F is that of all heads. The first token is never masked, a token does not mask itself, and
    what it masks stays masked: F_ij does not decrease in i. F_jj = F_{j+1,j} = 0. Without the causal form later keys
    are visible and not masked. Eviction of masked keys and the memory loss belong to training. Leviathan et al. 2024
    (arXiv 2410.02703), section 3 (the definition is that of the paper's listing, from memory).
    """

    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "leviathan2024"
    facts: ClassVar[Facts] = Facts(row_sum=1.0, causal="mask", content="pair", equivariant=("rotation",))
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("no score of head 0 is above 0", lambda: Selective(), lambda: DotProduct(), _negative),
    )

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        one_query_per_key(inputs, "Selective")
        F = self.masking(inputs.q, inputs.k)
        return attention(inputs.q, inputs.k, inputs.v, bias=-F, mask="causal" if causal else None)

    def masking(self, q: Tensor, k: Tensor) -> Tensor:
        """F (..., 1, query, key): what earlier tokens took from the logits."""
        S = (q[..., :1, :, :] @ k[..., :1, :, :].mT / q.shape[-1] ** 0.5).relu().tril(-1)
        S = torch.cat([torch.zeros_like(S[..., :1]), S[..., 1:]], -1)
        return S.cumsum(-2) - S
