"""CHELA: queries and keys from a short and a long convolution, then causal linear attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad, silu

from attnlab.kernels.linear_attention import linear_attention
from attnlab.kernels.operators.axes import past
from attnlab.kernels.operators.convolutions import causal_depthwise
from attnlab.kernels.operators.operator import Facts, Operator, Parameters, Sizes, Tokens, checked, normal
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


@dataclass(frozen=True)
class ShortLongConvolution(Operator):
    r"""Convolve, then linear attention; q and k come from the convolved tokens z, v and the gate from x.

    .. math:: z = \mathrm{silu}((K_{\rm short} + K_{\rm long}) * x), \qquad
              y_t = \sum_h \bigl(\mathrm{silu}(x_t G_h) \odot \textstyle\sum_{s \le t} (q_t \cdot k_s)\, v_s\bigr) W^O_h .

    The two branches are linear and side by side, so they are one causal depthwise kernel per channel, :math:`K_{\rm
    long}` plus the padded :math:`K_{\rm short}`; with a nonlinearity inside a branch they would not merge. The long
    kernel has as many taps as the parameters' length. Only the past is known: ``causal`` changes nothing. Gates and
    activation follow summaries of Liu et al. 2024 (arXiv 2406.08128); their batch norms are left out (folded into the
    kernels after training).
    """

    short: int = 2
    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "liu2024"
    facts: ClassVar[Facts] = Facts("free", causal="prefix", content="pair")
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        made = projections(sizes, generators, dtype, ("query", "key", "value", "gate", "out"))
        made["short"] = normal(generators, (sizes.d_model, self.short), self.short**-0.5, dtype)
        made["long"] = normal(generators, (sizes.d_model, sizes.n), sizes.n**-0.5, dtype)
        return made

    def merged(self, parameters: Parameters) -> Tensor:
        """The one kernel (replica, D, tap) that both branches are."""
        taps = max(parameters["long"].shape[-1], self.short)
        return sum(pad(parameters[name], (0, taps - parameters[name].shape[-1])) for name in ("short", "long"))

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        q, k = self._queries_and_keys(inputs, parameters)
        return self.post(linear_attention(q, k, self.values(inputs, parameters))[0], inputs, parameters)

    def matrix(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        q, k = self._queries_and_keys(inputs, parameters)
        W = q @ k.mT
        return torch.where(past(*W.shape[-2:], W.device), W, 0.0)

    def values(self, inputs: Tokens, parameters: Parameters) -> Tensor:
        return into_heads(inputs.x, parameters["value"])

    def post(self, mixed: Tensor, inputs: Tokens, parameters: Parameters) -> Tensor:
        return out_of_heads(silu(into_heads(inputs.x, parameters["gate"])) * mixed, parameters["out"])

    def _queries_and_keys(self, inputs, parameters):
        z = silu(causal_depthwise(inputs.x, self.merged(parameters)))
        return (into_heads(z, parameters[name]) for name in ("query", "key"))
