"""Two layers of attention, one head each, and a three-layer classifier that reads the last token.

Reddy 2024 (arXiv 2312.03002), section 2. A token is a one-hot position beside its content, ``u = [position; content]``,
of size n = ``n_positions + dim``; scores are not divided by sqrt n, there is no layer norm, and both layers are causal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters

ATTENTION = ("Q1", "K1", "V1", "Q2", "K2", "V2")
CLASSIFIER = ("W1", "W2", "W3")


@dataclass(frozen=True)
class InductionNetwork:
    r"""The network of the paper, n = ``n_positions + dim``, matrices acting on column vectors.

    .. math:: v_i = u_i + V_1 \sum_{j \le i} p^{(1)}_{ij} u_j, \qquad w = v_T + V_2 \sum_{j \le T} p^{(2)}_{Tj} v_j,
        \qquad p^{(m)}_{ij} \propto \exp\bigl((K_m a_j) \cdot (Q_m a_i)\bigr), \quad a = u, v

    and the logits :math:`R\, h_3` with :math:`h_k = \mathrm{relu}(W_k h_{k-1} + b_k)`, :math:`h_0 = w`, the last token T.

    Parameters, in this order: ``Q1, K1, V1, Q2, K2, V2, W1, W2, W3`` of shape ``(replica, n, n)``; ``b (replica, 3)``, one
    number per layer; ``R (replica, n_labels, n)``. They start normal, with variance 1/dim (attention), 2/n (W), 1/n (b, R).
    """

    dim: int
    n_positions: int
    n_labels: int

    @property
    def n_embd(self) -> int:
        """Size n of a token."""
        return self.n_positions + self.dim

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        """Random parameters, those of replica r from stream r only."""
        n = self.n_embd
        laws = [
            *((name, (n, n), 1 / self.dim) for name in ATTENTION),
            *((name, (n, n), 2 / n) for name in CLASSIFIER),
            ("b", (3,), 1 / n),
            ("R", (self.n_labels, n), 1 / n),
        ]
        return {
            name: torch.stack(
                [torch.empty(shape, dtype=dtype).normal_(0, variance**0.5, generator=stream) for stream in streams]
            )
            for name, shape, variance in laws
        }

    def __call__(self, parameters: Parameters, contents: Tensor, start: Tensor) -> Tensor:
        """Logits ``(replica, batch, n_labels)`` for contents ``(replica, batch, token, dim)``, the position of the first
        token being ``start (replica, batch)``."""
        return self.forward(parameters, contents, start)[0]

    def forward(self, parameters: Parameters, contents: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, attention of layer 1 ``(replica, batch, token, token)``, of the last token in layer 2 ``(replica, batch,
        token)``.

        The values v of layer 2 are needed only through two sums, so that V1 acts once a sequence and not once a token; a
        product with a one-hot position is a look-up.
        """
        self._check(contents, start)
        P, T = self.n_positions, contents.shape[2]
        place = start[..., None] + torch.arange(T, device=start.device)  # (replica, batch, token)
        G1 = parameters["K1"].mT @ parameters["Q1"]  # score of layer 1: u_j^T G1 u_i
        G2 = parameters["K2"].mT @ parameters["Q2"]
        first = torch.softmax(self._scores(G1, contents, place), dim=-1)
        end = torch.cat([_one_hot(place[..., -1], P, contents.dtype), contents[:, :, -1]], dim=-1)
        last = end + self._mixture(first[:, :, -1], contents, place) @ parameters["V1"].mT  # v_T
        direction = last @ G2.mT  # (replica, batch, n)
        through = self._products(direction @ parameters["V1"], contents, place)  # (V1^T direction) . u_k
        scores = self._products(direction, contents, place) + (first @ through[..., None])[..., 0]
        second = torch.softmax(scores, dim=-1)
        twice = (second[:, :, None] @ first)[:, :, 0]
        read = self._mixture(second, contents, place) + self._mixture(twice, contents, place) @ parameters["V1"].mT
        hidden = last + read @ parameters["V2"].mT
        for layer, name in enumerate(CLASSIFIER):
            hidden = torch.relu(hidden @ parameters[name].mT + parameters["b"][:, layer, None, None])
        return hidden @ parameters["R"].mT, first, second

    def _scores(self, G: Tensor, contents: Tensor, place: Tensor) -> Tensor:
        """``u_j^T G u_i`` at ``(replica, batch, i, j)``, minus infinity for j > i."""
        (R, B, T, D), P, n = contents.shape, self.n_positions, self.n_embd
        rows = place.reshape(R, B * T, 1).expand(R, B * T, n)
        images = contents.reshape(R, B * T, D) @ G[..., P:].mT + G[..., :P].mT.gather(1, rows)
        images = images.view(R, B, T, n)  # G u_i
        at = place[:, :, None, :].expand(R, B, T, T)
        scores = images[..., :P].gather(3, at) + images[..., P:] @ contents.mT
        later = torch.ones(T, T, dtype=torch.bool, device=contents.device).triu(1)
        return scores.masked_fill(later, -torch.inf)

    def _products(self, vectors: Tensor, contents: Tensor, place: Tensor) -> Tensor:
        """``vector . u_j`` for one vector a sequence, ``(replica, batch, token)``."""
        P = self.n_positions
        return vectors[..., :P].gather(2, place) + (contents @ vectors[..., P:, None])[..., 0]

    def _mixture(self, weights: Tensor, contents: Tensor, place: Tensor) -> Tensor:
        """``sum_j weight_j u_j``, ``(replica, batch, n)``, for weights ``(replica, batch, token)``."""
        empty = weights.new_zeros(*weights.shape[:2], self.n_positions)
        return torch.cat([empty.scatter(2, place, weights), (weights[:, :, None] @ contents)[:, :, 0]], dim=-1)

    def _check(self, contents: Tensor, start: Tensor) -> None:
        if contents.ndim != 4 or contents.shape[-1] != self.dim or start.shape != contents.shape[:2]:
            raise ValueError(
                f"contents have shape {tuple(contents.shape)} and start {tuple(start.shape)}; use (replica, "
                f"batch, token, {self.dim}) and (replica, batch)"
            )
        if contents.shape[2] > self.n_positions:
            raise ValueError(
                f"{contents.shape[2]} tokens do not fit into n_positions={self.n_positions}; use more positions"
            )


def _one_hot(index: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    return torch.zeros(*index.shape, size, dtype=dtype, device=index.device).scatter_(-1, index[..., None], 1)
