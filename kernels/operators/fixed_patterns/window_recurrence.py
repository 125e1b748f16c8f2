"""Recurrent attention network: windows one after the other, a cell of one token between them, a review of all cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.operators.operator import Facts, Operator, Parameters, Sizes, Tokens, checked, normal
from attnlab.kernels.operators.projections import into_heads, projections
from attnlab.kernels.operators.rotary import rotated


@dataclass(frozen=True)
class WindowRecurrence(Operator):
    r"""A cell c goes through windows of W tokens: :math:`z = \mathrm{LN}([c_t; x_t])`, one attention layer, then

    .. math:: [c'_t; y_t] = \mathrm{LN}(\mathrm{LN}(o + \mathrm{GLU}(q))), \qquad
              c_{t+1} = \mathrm{LN}(c'_t + \mathrm{GLU}'(c'_{t-1})),

    :math:`\mathrm{GLU}(x) = (x A) \odot \sigma(x B)`, queries and keys rotated by their place in the window (0 is the cell's),
    and the review :math:`y + \mathrm{softmax}(y \cdot c'/\sqrt D)\, c'` over all cells. c_1 = c'_0 is the learned start "cell".

    The causal form: a token sees the cell and tokens of its window up to itself; the review sees the cells of earlier windows.
    The cell's own query sees its whole window: under a triangular mask it would see itself alone and carry nothing, and
    what it reads is used by later windows only. LN has no parameters. Published with W = 256; the merging of a
    last short window is left out. Li et al. 2023 (arXiv 2306.06843), section 3.
    """

    window: int = 2
    review: bool = True
    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "li2023"
    no_matrix: ClassVar[str] = "norms and gated linear units stand between the windows"
    facts: ClassVar[Facts] = Facts(row_sum="free", causal="prefix", content="nonlinear")
    budget: ClassVar[float] = 1e-4

    def __post_init__(self):
        if self.window < 1:
            raise ValueError(f"window={self.window!r} must be at least 1")

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        made = projections(sizes, generators, dtype, names=("query", "key", "value"))
        for name in ("gate", "cell_gate"):
            made[name] = normal(generators, (2, sizes.d_model, sizes.d_model), sizes.d_model**-0.5, dtype)
        made["cell"] = normal(generators, (sizes.d_model,), 1.0, dtype)
        return made

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        x = inputs.x
        before = parameters["cell"][:, None, None].expand(*x.shape[:2], 1, -1)  # c'_0
        cell, outputs, cells = before, [], []
        for part in x.split(self.window, -2):
            after, y = self._window(cell, part, parameters, causal)
            cell = standardised(after + gated(before, parameters["cell_gate"]))
            before = after
            outputs.append(y)
            cells.append(after)
        y = torch.cat(outputs, -2)
        return y + self._reviewed(y, torch.cat(cells, -2), causal) if self.review else y

    def _window(self, cell: Tensor, x: Tensor, parameters, causal: bool) -> tuple[Tensor, Tensor]:
        """The cell after the window and the window's outputs."""
        z = standardised(torch.cat([cell, x], -2))  # (replica, batch, 1 + W, d_model)
        q, k, v = (into_heads(z, parameters[name]) for name in ("query", "key", "value"))
        mask = None
        if causal:
            mask = torch.ones(z.shape[-2], z.shape[-2], dtype=torch.bool).tril()
            mask[0] = True
        o = attention(rotated(q), rotated(k), v, mask=mask).transpose(2, 3).flatten(-2)
        q = q.transpose(2, 3).flatten(-2)
        y = standardised(standardised(o + gated(q, parameters["gate"])))
        return y[..., :1, :], y[..., 1:, :]

    def _reviewed(self, y: Tensor, cells: Tensor, causal: bool) -> Tensor:
        mask = None
        if causal:
            mask = torch.arange(y.shape[-2])[:, None] // self.window > torch.arange(cells.shape[-2])[None]
        return attention(y, cells, cells, mask=mask)


def standardised(x: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Mean 0 and variance 1 over the channels."""
    x = x - x.mean(-1, keepdim=True)
    return x / (x.square().mean(-1, keepdim=True) + epsilon).sqrt()


def gated(x: Tensor, weights: Tensor) -> Tensor:
    """A gated linear unit without biases; weights (replica, 2, d_model, d_model)."""
    return (x @ weights[:, None, 0]) * (x @ weights[:, None, 1]).sigmoid()
