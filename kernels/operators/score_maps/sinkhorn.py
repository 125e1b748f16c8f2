"""Sinkhorn attention: a transport plan between queries and keys in place of softmax."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Facts, Limit, Operator, Parameters, checked


def _unit(inputs, parameters):
    return QKV(normalize(inputs.q, dim=-1), normalize(inputs.k, dim=-1), inputs.v), {}, {}


@dataclass(frozen=True)
class Sinkhorn(Operator):
    r"""Entropic optimal transport on cosines: :math:`M = n_q T`, T the plan with rows 1/n_q and columns 1/n.

    .. math:: T_{ij} = e^{(\cos(q_i, k_j) + u_i + v_j) / \epsilon}, \qquad
              u_i = -\epsilon \ln \sum_j e^{(\cos + v_j)/\epsilon} - \epsilon \ln n_q, \quad v \text{ alike} .

    ``n_iterations`` full iterations from v = 0 in the log domain, then a last half-step on the rows, so that rows sum to 1
    exactly and columns to n_q / n as far as the iteration has converged. No iteration is softmax of the cosines over epsilon.
    The published plan has rows 1/n_q and leaves that factor to the projection that follows; here it is taken out. Kim et al.
    2024, OTSeg (arXiv 2403.14183), equations 7 to 9 (epsilon .05; they stop at a tolerance or at 100).
    """

    epsilon: float = 0.05
    n_iterations: int = 100
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "kim2024"
    facts: ClassVar[Facts] = Facts(
        1.0, causal="none", content="pair", equivariant=("permutation", "rotation"),
        causal_reason="the first query sees one key, which cannot have weight 1 and 1/n of the mass",
        skips={"last_queries": "the plan is one of all queries, a set of its own, which share the mass of every key"},
    )  # fmt: skip
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("no iteration, unit vectors", lambda: Sinkhorn(0.25, 0), lambda: DotProduct(4.0), _unit),
    )
    budget: ClassVar[float] = 1e-3  # logits over epsilon, and a hundred sums of them

    def __post_init__(self):
        if not (self.epsilon > 0 and self.n_iterations >= 0):
            raise ValueError(f"need epsilon > 0 and n_iterations >= 0, got {self.epsilon!r}, {self.n_iterations!r}")

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        return self.matrix(inputs, parameters, causal=causal) @ inputs.v

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        self.not_causal(causal)
        s = normalize(inputs.q, dim=-1) @ normalize(inputs.k, dim=-1).mT / self.epsilon
        n_q, n = s.shape[-2:]
        v = torch.zeros_like(s[..., :1, :])
        for _ in range(self.n_iterations):
            u = -(s + v).logsumexp(-1, keepdim=True) - math.log(n_q)
            v = -(s + u).logsumexp(-2, keepdim=True) - math.log(n)
        return (s + v).softmax(-1)
