"""Attention to several sources: one softmax within each, another one between them."""

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


@dataclass(frozen=True)
class MultiSource(Operator):
    r"""A context per source, then a softmax over the contexts.

    .. math:: c_k = \mathrm{softmax}(q K_k^\top / \sqrt d) V_k, \qquad
              \beta = \mathrm{softmax}_k\, b^\top \tanh(W q + U_k c_k), \qquad y = \sum_k \beta_k c_k .

    The keys are split into ``n_sources`` consecutive sources of equal length (up to one). ``outer="log_sum_exp"`` takes the
    log-normalisers of the sources as outer logits, which is one softmax over all keys: the flat combination. Key and value
    projections are the caller's, so sources may share them or not; no sentinel. Libovicky and Helcl 2017 (arXiv 1704.06567),
    equations 5 to 9, whose scores are additive.
    """

    n_sources: int = 2
    outer: str = "learned"
    hidden: int = 8
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "libovicky2017"
    approximates: ClassVar[Approximation | str | None] = "one source is plain attention, several read other tokens"
    facts: ClassVar[Facts] = Facts(
        row_sum=1.0, causal="none", content="pair",
        causal_reason="cross-attention: the sources are complete, and early queries would see no key of later ones",
    )  # fmt: skip
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("outer logits are log-normalisers", lambda: MultiSource(outer="log_sum_exp"), DotProduct),
    )

    def __post_init__(self):
        if self.outer not in ("learned", "log_sum_exp"):
            raise ValueError(f"outer={self.outer!r}; use 'learned' or 'log_sum_exp'")

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        if self.outer == "log_sum_exp":
            return {}
        h = self.hidden
        return {
            "from_query": normal(generators, (sizes.d, h), sizes.d**-0.5, dtype),
            "from_context": normal(generators, (self.n_sources, sizes.d_v, h), sizes.d_v**-0.5, dtype),
            "readout": normal(generators, (h, 1), 2 * h**-0.5, dtype),
        }

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        contexts, beta = self._parts(inputs, parameters)
        return (contexts * beta).sum(-3)

    def matrix(
        self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        self.not_causal(causal)
        beta = self._parts(inputs, parameters)[1]
        s = inputs.q @ inputs.k.mT / inputs.q.shape[-1] ** 0.5
        parts = [x.softmax(-1) * beta[..., i, :, :] for i, x in enumerate(s.tensor_split(self.n_sources, -1))]
        return torch.cat(parts, -1)

    def _parts(self, inputs, parameters):
        """Contexts (..., source, query, d_v) and their weights (..., source, query, 1)."""
        contexts, logits = [], []
        for i, (k, v) in enumerate(
            zip(*(x.tensor_split(self.n_sources, -2) for x in (inputs.k, inputs.v)), strict=True)
        ):
            c, found = attention(inputs.q, k, v, statistics=("log_sum_exp",))
            contexts.append(c)
            if self.outer == "log_sum_exp":
                logits.append(found["log_sum_exp"][..., None])
            else:
                logits.append(self._logit(QKV(inputs.q, k, c), parameters, i))
        return torch.stack(contexts, -3), torch.stack(logits, -3).softmax(-3)

    def _logit(self, read, parameters, i):
        q, c = read.q, read.v
        hidden = q @ beside_problems(parameters["from_query"], q)
        hidden = (hidden + c @ beside_problems(parameters["from_context"][:, i], c)).tanh()
        return hidden @ beside_problems(parameters["readout"], hidden)
