"""Parameters beside problems: small operations on axes that operators with parameters of their own share."""

from __future__ import annotations

import torch
from torch import Tensor


def beside_problems(x: Tensor, like: Tensor) -> Tensor:
    """A parameter (replica, ...) with axes of length 1 after the replica, so that it stands beside ``like``."""
    return x.reshape(x.shape[0], *(1,) * (like.ndim - x.ndim), *x.shape[1:])


def per_head(x: Tensor, like: Tensor) -> Tensor:
    """A parameter (replica, head, ...) beside ``like`` (replica, batch, head, ...), filled up with axes of length 1."""
    return x[:, None].reshape(x.shape[0], 1, *x.shape[1:], *(1,) * (like.ndim - x.ndim - 1))


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Tokens (replica, batch, n, D) through ``weight`` (replica, D, E): (replica, batch, n, E)."""
    return x @ weight[:, None]


def past(n_q: int, n_k: int, device: torch.device | None = None) -> Tensor:
    """Boolean (query, key), True where a query sees a key: the last query sits at the last key."""
    return torch.ones(n_q, n_k, dtype=torch.bool, device=device).tril(n_k - n_q)


def root_mean_square(x: Tensor, epsilon: float) -> Tensor:
    """Size of the last axis, :math:`\\sqrt{\\overline{x^2} + \\epsilon}`, kept as an axis of length 1."""
    return (x.square().mean(-1, keepdim=True) + epsilon).sqrt()
