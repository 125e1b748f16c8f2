"""The transformer of the rank experiments: post-norm encoder layers with many narrow heads, radial normalisation, no mask.

A layer is x <- norm(x + attention(x)), x <- norm(x + ff(x)). Attention is the mean of c copies of multi-head attention with
biases, each with d/r heads of rank r, and so one set of H = c d/r heads whose outputs add up to c times too much. norm(v) =
g v / |v| with one learnt g. Positions: none, a learnt table added to the points, or learnt coordinates appended to them and
cut off at the end (Amsel, Yehudai and Bruna 2024, public code).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.simulators.ensemble.layout import Parameters

POSITIONS = ("none", "added", "appended")


@dataclass(frozen=True)
class Encoder:
    """Shapes of the parameters of layer l, with ``width`` the dimension of the tokens and H heads of ``rank``:

    ``in{l}`` (replica, width + 1, 3 H rank), queries, keys, values, the last row the bias; ``out{l}`` (replica, H rank + 1,
    width); ``up{l}`` (replica, width + 1, hidden), ``down{l}`` (replica, hidden + 1, width); ``norm{l}`` (replica, 2).
    ``positions`` (replica, n_points, ...) if there are any.
    """

    dim: int
    n_points: int
    rank: int
    copies: int
    n_layers: int
    hidden: int
    positions: str = "none"

    @property
    def width(self) -> int:
        """Dimension of the tokens inside: twice that of the points if positions are appended."""
        return 2 * self.dim if self.positions == "appended" else self.dim

    @property
    def n_heads(self) -> int:
        """Heads of a layer, all copies together."""
        return self.copies * self.width // self.rank

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        """As ``torch.nn``: Xavier-uniform query, key and value maps of each copy, uniform +-1/sqrt(fan in) for the others."""
        n, H, r, hidden = self.width, self.n_heads, self.rank, self.hidden

        def uniform(rows: int, columns: int, bound: float, bias_bound: float = 0.0) -> Tensor:
            both = torch.stack([2 * torch.rand(rows + 1, columns, generator=each, dtype=dtype) - 1 for each in streams])
            both[:, :-1] *= bound
            both[:, -1] *= bias_bound
            return both

        start = {}
        for layer in range(self.n_layers):
            start |= {
                f"in{layer}": uniform(n, 3 * H * r, math.sqrt(6 / (4 * n))),
                f"out{layer}": uniform(H * r, n, n**-0.5),
                f"up{layer}": uniform(n, hidden, n**-0.5, n**-0.5),
                f"down{layer}": uniform(hidden, n, hidden**-0.5, hidden**-0.5),
                f"norm{layer}": torch.ones(len(streams), 2, dtype=dtype),
            }
        if self.positions != "none":
            table = torch.stack([torch.randn(self.n_points, self.dim, generator=each, dtype=dtype) for each in streams])
            start["positions"] = table - 1 if self.positions == "added" else 2 * torch.special.ndtr(table) - 1
        return start

    def forward(self, parameters: Parameters, points: Tensor) -> Tensor:
        """Outputs ``(replica, set, point, dim)`` for points of the same shape."""
        R, S, N, d = points.shape
        x = points
        if self.positions == "added":
            x = x + parameters["positions"][:, None]
        elif self.positions == "appended":
            x = torch.cat([x, parameters["positions"][:, None].expand(R, S, N, d)], dim=-1)
        x = x.reshape(R, S * N, self.width)
        for layer in range(self.n_layers):
            scales = parameters[f"norm{layer}"]
            heads = _affine(x, parameters[f"in{layer}"]).view(R, S, N, 3, self.n_heads, self.rank)
            q, k, v = heads.permute(3, 0, 1, 4, 2, 5)  # (replica, set, head, point, rank)
            mixed = attention(q, k, v).transpose(2, 3).reshape(R, S * N, self.n_heads * self.rank)
            x = _radial(x + _affine(mixed, parameters[f"out{layer}"], self.copies), scales[:, 0])
            inner = torch.relu(_affine(x, parameters[f"up{layer}"]))
            x = _radial(x + _affine(inner, parameters[f"down{layer}"]), scales[:, 1])
        return x.view(R, S, N, self.width)[..., :d]

    def score_matrices(self, parameters: Parameters, layer: int = 0) -> Tensor:
        """``M (replica, head, width, width)``: scores are x_q^T M x_k, biases left out, the factor 1/sqrt(rank) included."""
        maps = parameters[f"in{layer}"][:, :-1].view(-1, self.width, 3, self.n_heads, self.rank)
        return torch.einsum("rahm,rbhm->rhab", maps[:, :, 0], maps[:, :, 1]) / self.rank**0.5


def _affine(x: Tensor, map_and_bias: Tensor, divide: int = 1) -> Tensor:
    """``x W / divide + b`` for x ``(replica, row, input)`` and W over b ``(replica, input + 1, output)``."""
    weight, bias = map_and_bias[:, :-1], map_and_bias[:, -1:]
    return torch.baddbmm(bias, x, weight, alpha=1 / divide)


def _radial(x: Tensor, radius: Tensor) -> Tensor:
    return x * (radius[:, None, None] / x.norm(dim=-1, keepdim=True).clamp_min(1e-12))
