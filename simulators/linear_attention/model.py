r"""Layers of linear attention by their parameters: merged or separate key-query, and the whole layer with all its blocks.

Every layer is a linear function of cubic features (:mod:`linear_attention_task`) whose weights are a product of parameters:

- ``merged``: :math:`\hat y = \sum_i v_i\, \beta^T U_i x_q`, parameters ``v (head,)``, ``U (head, dim, dim)``;
- ``separate``: :math:`\hat y = \sum_i v_i \sum_r (\beta^T k_{ir}) (q_{ir}^T x_q)`, ``v``, ``K`` and ``Q (head, rank, dim)``;
- ``whole``: :math:`\hat y = p^T G\, W x_q`, one head, ``p (dim + 1,)``, ``W (dim + 1, dim)``, G the second moments of all tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.linear_attention.moments import Moments

KINDS = ("merged", "separate", "whole")


@dataclass(frozen=True)
class LinearAttention:
    """``kind``: one of ``KINDS``. ``start``: ``"random"``, every parameter tensor of normal entries and root-mean-square norm
    ``init_scale``; ``"balanced"``: one merged head (or the same blocks of a whole layer) with ``v = init_scale`` and
    ``U = init_scale M M^T / ||M M^T||``, M of normal entries, and zero elsewhere."""

    kind: str
    dim: int
    n_heads: int = 1
    rank: int = 1
    start: str = "random"
    init_scale: float = 1e-2

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters of one replica, in their order."""
        d, H, R = self.dim, self.n_heads, self.rank
        return {
            "merged": {"v": (H,), "U": (H, d, d)},
            "separate": {"v": (H,), "K": (H, R, d), "Q": (H, R, d)},
            "whole": {"p": (d + 1,), "W": (d + 1, d)},
        }[self.kind]

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        """Random parameters, those of replica r from stream r only."""
        drawn = [self._balanced(stream) if self.start == "balanced" else self._random(stream) for stream in streams]
        return {name: torch.stack([each[name] for each in drawn]).to(dtype) for name in self.shapes}

    def weights(self, parameters: Parameters) -> Tensor:
        """Weights ``(replica, feature)`` of the linear function that the layer computes."""
        if self.kind == "merged":
            return torch.einsum("...h,...hij->...ij", parameters["v"], parameters["U"]).flatten(-2)
        if self.kind == "separate":
            return torch.einsum("...h,...hri,...hrj->...ij", parameters["v"], parameters["K"], parameters["Q"]).flatten(
                -2
            )
        return torch.einsum("...a,...bc->...abc", parameters["p"], parameters["W"]).flatten(-3)

    def matrix(self, parameters: Parameters) -> Tensor:
        """The effective matrix G of ``beta^T G x_q``, ``(replica, dim, dim)``."""
        if self.kind != "whole":
            return self.weights(parameters).unflatten(-1, (self.dim, self.dim))
        p, W, d = parameters["p"], parameters["W"], self.dim
        return p[..., d, None, None] * W[..., :d, :] + p[..., :d, None] * W[..., d:, :]

    def _random(self, stream: torch.Generator) -> Parameters:
        return {
            name: torch.randn(shape, dtype=torch.float64, generator=stream) * self.init_scale / np.prod(shape) ** 0.5
            for name, shape in self.shapes.items()
        }

    def _balanced(self, stream: torch.Generator) -> Parameters:
        M = torch.randn(self.dim, self.dim, dtype=torch.float64, generator=stream)
        block = self.init_scale * M @ M.mT / torch.linalg.matrix_norm(M @ M.mT)
        if self.kind == "merged":
            return {"v": torch.full((1,), self.init_scale, dtype=torch.float64), "U": block[None]}
        below = torch.zeros(1, self.dim, dtype=torch.float64)
        return {
            "p": torch.cat([below[0], torch.tensor([self.init_scale], dtype=torch.float64)]),
            "W": torch.cat([block, below]),
        }


@dataclass(frozen=True)
class MomentTask:
    """The mean squared error from moments, as a task without samples."""

    moments: Moments

    numbers_per_step: ClassVar[int] = 0

    def part(self, rows: slice) -> MomentTask:
        return MomentTask(self.moments.part(rows))

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        """There is nothing to draw."""

    def loss(self, model: LinearAttention, parameters: Parameters, numbers: Tensor | None) -> Tensor:
        """Mean squared error ``(replica,)``."""
        return self.moments.loss(model.weights(parameters))

    def largest_array(self, model: Any) -> int:
        return self.moments.gram.shape[-1] ** 2
