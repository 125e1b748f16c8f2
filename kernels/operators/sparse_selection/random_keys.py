"""Attention to a random part of the keys, drawn anew for every layer and step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Approximation, Facts, Limit, Operator, Parameters, checked
from attnlab.kernels.operators.selection import largest, query_places, visible_past


@dataclass(frozen=True)
class RandomKeys(Operator):
    r"""Every query sees m = ceil(n/c) keys of a uniform subset J, softmax over these.

    .. math:: y_i = \sum_{j \in J_i} e^{s_{ij}} v_j \Big/ \sum_{j \in J_i} e^{s_{ij}} .

    ``draw`` holds one uniform number per query and key; the m largest are taken, shared by the batch and the heads of a replica.
    With ``own`` the query's own key is always among them, so that causal rows are never empty. The published scheme that
    favours near keys is not built (its law is not documented). Hussain et al. 2023 (arXiv 2306.01705), section 3.
    """

    reduction: int = 2
    own: bool = True
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "hussain2023"
    approximates: ClassVar[Approximation | str | None] = Approximation(
        lambda sizes: {"": tuple(RandomKeys(part, own=False) for part in (16, 8, 4, 2))}, lambda sizes: RandomKeys(1)
    )
    facts: ClassVar[Facts] = Facts(
        row_sum=1.0, causal="mask", content="pair", equivariant=("rotation",),
        n_uniform=lambda sizes: sizes.queries * sizes.n,
    )  # fmt: skip
    limits: ClassVar[tuple[Limit, ...]] = (Limit("reduction 1", lambda: RandomKeys(1), lambda: DotProduct()),)

    def __post_init__(self):
        if self.reduction < 1:
            raise ValueError(f"reduction={self.reduction!r} must be at least 1")

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        n_q, n_k = inputs.q.shape[-2], inputs.k.shape[-2]
        if draw is None or draw.shape[-1] != n_q * n_k:
            given = None if draw is None else tuple(draw.shape)
            raise ValueError(f"draw={given} must hold {n_q} * {n_k} uniform numbers per replica")
        number = draw.reshape(-1, 1, 1, n_q, n_k)
        if self.own:
            number = number + (query_places(n_q, n_k)[:, None] == query_places(n_k, n_k)[None])
        chosen = largest(number, number.isfinite(), -(-n_k // self.reduction))
        return attention(inputs.q, inputs.k, inputs.v, mask=chosen & visible_past(n_q, n_k, causal))
