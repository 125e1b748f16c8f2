"""Projections of tokens to heads and back, shared by the operators that take tokens and have parameters of their own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attnlab.kernels.operators.operator import Parameters, Sizes, normal


def projections(
    sizes: Sizes,
    generators: Sequence[torch.Generator],
    dtype: torch.dtype,
    names: Sequence[str] = ("query", "key", "value", "out"),
) -> Parameters:
    """Gaussian projections by name: into heads (replica, head, d_model, d), and "out" (replica, head, d, d_model)."""
    made = {}
    for name in names:
        shape = (sizes.n_heads, sizes.d, sizes.d_model) if name == "out" else (sizes.n_heads, sizes.d_model, sizes.d)
        made[name] = normal(generators, shape, sizes.d_model**-0.5, dtype)
    return made


def into_heads(x: Tensor, weight: Tensor) -> Tensor:
    """Tokens (replica, batch, n, d_model) in every head: (replica, batch, head, n, d)."""
    return x[:, :, None] @ weight[:, None]


def out_of_heads(y: Tensor, weight: Tensor) -> Tensor:
    """Outputs of heads (replica, batch, head, n, d) back to tokens (replica, batch, n, d_model)."""
    return (y @ weight[:, None]).sum(2)
