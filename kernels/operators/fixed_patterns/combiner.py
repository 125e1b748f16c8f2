"""Combiner with the fixed plan: the own span token by token, every other span through one summary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Approximation, Facts, Limit, Operator, Parameters, checked

SUMMARIES = ("max", "mean", "counted")


@dataclass(frozen=True)
class Combiner(Operator):
    r"""Tokens of the own span compete with the summaries of the other spans R (in the causal form: of the earlier ones).

    .. math:: y_i = \frac{1}{Z_i} \Bigl( \sum_{j\ \mathrm{own}} e^{q_i \cdot k_j/\sqrt d} v_j +
              \sum_R e^{q_i \cdot k_R/\sqrt d + b_R} \sum_{j \in R} a_R(j)\, v_j \Bigr), \quad
              a_R = \mathrm{softmax}_{j \in R}(q_R \cdot k_j/\sqrt d).

    ``summary="max"`` (as published): k_R, q_R maxima over the span, b_R = 0. ``"mean"``: means. ``"counted"``: means and
    b_R = ln|R|, which makes a span of equal keys exact. Needs one query per key. Ren et al. 2021 (arXiv 2107.05768),
    section 4.1; the log-sparse and axial plans of sections 4.2 and 4.3 are not built.
    """

    span: int = 2
    summary: str = "max"
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "ren2021"
    approximates: ClassVar[Approximation | str | None] = (
        "a summary stands for its span whatever the query asks: only the place of a key decides"
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("one span holds all tokens", lambda: Combiner(8), lambda: DotProduct()),
        Limit("spans of one token", lambda: Combiner(1, "counted"), lambda: DotProduct()),
    )

    def __post_init__(self):
        if self.span < 1 or self.summary not in SUMMARIES:
            raise ValueError(f"span={self.span!r} must be at least 1, summary={self.summary!r} one of {SUMMARIES}")

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """A maximum per channel depends on the axes, a mean does not; counted spans of equal tokens weigh alike."""
        symmetries = {"max": (), "mean": ("rotation",), "counted": ("rotation", "shift")}[self.summary]
        return Facts(row_sum=1.0, causal="prefix", content="pair", equivariant=symmetries)

    @classmethod
    def variants(cls) -> dict[str, Combiner]:
        """All summaries."""
        return {summary: cls(summary=summary) for summary in SUMMARIES}

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        q, k, v = inputs.q, inputs.k, inputs.v
        if q.shape[-2] != k.shape[-2]:
            raise ValueError(f"q has {q.shape[-2]} and k {k.shape[-2]} tokens; Combiner takes one query per key")
        own = torch.arange(k.shape[-2]) // self.span
        mask = own[:, None] == own[None]
        mask = mask.tril() if causal else mask
        direct, log_direct = attention(q, k, v, mask=mask, statistics=("log_sum_exp",))
        k_R, q_R = self._summary(k), self._summary(q)
        regions = torch.arange(k_R.shape[-2])
        v_R = attention(q_R, k, v, mask=regions[:, None] == own[None])
        others = regions[None] < own[:, None] if causal else regions[None] != own[:, None]
        bias = torch.bincount(own).to(q).log()[None] if self.summary == "counted" else None
        far, log_far = attention(q, k_R, v_R, mask=others, bias=bias, statistics=("log_sum_exp",))
        share = torch.stack([log_direct["log_sum_exp"], log_far["log_sum_exp"]]).softmax(0)
        return share[0, ..., None] * direct + share[1, ..., None] * far

    def _summary(self, x: Tensor) -> Tensor:
        """One vector per span, (..., span, width)."""
        parts = x.split(self.span, -2)
        if self.summary == "max":
            return torch.cat([part.amax(-2, keepdim=True) for part in parts], -2)
        return torch.cat([part.mean(-2, keepdim=True) for part in parts], -2)
