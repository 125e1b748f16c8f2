r"""Layers of linear attention by their parameters: merged or separate key-query, and the whole layer with all its blocks.

Every layer is a linear function of cubic features (:mod:`linear_attention_task`) whose weights are a product of parameters:

- ``merged``: :math:`\hat y = \sum_i v_i\, \beta^T U_i x_q`, parameters ``v (head,)``, ``U (head, dim, dim)``;
- ``separate``: :math:`\hat y = \sum_i v_i \sum_r (\beta^T k_{ir}) (q_{ir}^T x_q)`, ``v``, ``K`` and ``Q (head, rank, dim)``;
- ``whole``: :math:`\hat y = p^T G\, W x_q`, one head, ``p (dim + 1,)``, ``W (dim + 1, dim)``, G the second moments of all tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Layout, Parameters
from attnlab.simulators.ensemble.optimisers import GradientDescent, constant
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

    numbers_per_step = 0

    def part(self, rows: slice) -> MomentTask:
        return MomentTask(self.moments.part(rows))

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        """There is nothing to draw."""

    def loss(self, model: LinearAttention, parameters: Parameters, numbers: Tensor | None) -> Tensor:
        """Mean squared error ``(replica,)``."""
        return self.moments.loss(model.weights(parameters))

    def largest_array(self, model: Any) -> int:
        return self.moments.gram.shape[-1] ** 2


def moment_steps(
    model: Any, task: Any, optimiser: Any, seeds: Sequence[np.random.SeedSequence], dtype: torch.dtype
) -> MomentSteps | None:
    """Steps of plain gradient descent by the written-out gradient, ten times faster than by autograd; None where they can't."""
    plain = isinstance(optimiser, GradientDescent) and not optimiser.momentum and not optimiser.weight_decay
    if not (isinstance(model, LinearAttention) and isinstance(task, MomentTask) and plain and dtype is torch.float64):
        return None
    if optimiser.schedule is not constant or not isinstance(optimiser.learning_rate, float):
        return None
    return MomentSteps(model, task.moments, optimiser.learning_rate)


class MomentSteps:
    r"""``run`` makes updates of a matrix of parameters in place. With :math:`E = C m - b` the half gradient in the weights m:

    merged: :math:`\partial v_i = \langle E, U_i\rangle,\ \partial U_i = v_i E`; separate: :math:`\partial v_i = \sum_r k^T E q`,
    :math:`\partial k = v E q,\ \partial q = v E^T k`; whole: :math:`\partial p = E W,\ \partial W = p E`; all twice.
    """

    def __init__(self, model: LinearAttention, moments: Moments, learning_rate: float) -> None:
        self.model, self.twice = model, 2 * learning_rate
        self.label, self.cross, self.gram = (part.numpy() for part in (moments.label, moments.cross, moments.gram))
        self.step = {"merged": self._merged, "separate": self._separate, "whole": self._whole}[model.kind]

    def run(self, values: Tensor, state: dict[str, Tensor], start: int, stop: int) -> np.ndarray:
        """Losses ``(replica, step)`` before each update; ``values (replica, parameter)`` in the order of ``model.shapes``."""
        rows, layout = values.numpy(), Layout(self.model.shapes)
        parts = {name: np.ascontiguousarray(view) for name, view in layout.split(rows).items()}
        losses = np.empty((len(rows), stop - start))
        for column in range(stop - start):
            losses[:, column] = self.step(*parts.values())
        rows[:] = layout.join(parts)
        return losses

    def _half(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The half gradient ``C m - b`` and the loss."""
        image = weights @ self.gram[0] if len(self.gram) == 1 else (self.gram @ weights[..., None])[..., 0]
        half = image - self.cross
        return half, self.label + np.einsum("rf,rf->r", weights, half - self.cross)

    def _merged(self, v: np.ndarray, U: np.ndarray) -> np.ndarray:
        flat = U.reshape(len(U), U.shape[1], -1)
        half, loss = self._half((v[:, None] @ flat)[:, 0])
        change = (flat @ half[..., None])[..., 0]
        flat -= self.twice * v[..., None] * half[:, None]
        v -= self.twice * change
        return loss

    def _separate(self, v: np.ndarray, K: np.ndarray, Q: np.ndarray) -> np.ndarray:
        R, H, rank, d = K.shape
        k, q = K.reshape(R, H * rank, d), Q.reshape(R, H * rank, d)
        scale = np.repeat(v, rank, axis=1)[..., None] if rank > 1 else v[..., None]
        half, loss = self._half(((scale * k).swapaxes(1, 2) @ q).reshape(R, d * d))
        E = half.reshape(R, d, d)
        by_k, by_q = q @ E.swapaxes(1, 2), k @ E
        change = (k * by_k).reshape(R, H, -1).sum(-1)
        scale = self.twice * scale
        k -= scale * by_k
        q -= scale * by_q
        v -= self.twice * change
        return loss

    def _whole(self, p: np.ndarray, W: np.ndarray) -> np.ndarray:
        flat = W.reshape(len(W), -1)
        half, loss = self._half((p[..., None] * flat[:, None]).reshape(len(p), -1))
        E = half.reshape(len(p), p.shape[1], -1)
        change = (E @ flat[..., None])[..., 0]
        flat -= self.twice * (p[:, None] @ E)[:, 0]
        p -= self.twice * change
        return loss
