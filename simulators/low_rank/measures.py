"""Ranks of matrices in floating point: exact up to rounding, numerical, effective, stable.

``values`` are singular values ``(..., k)`` in descending order. "Rank" without its tolerance means little: each function
says what it counts.
"""

from __future__ import annotations

import torch
from torch import Tensor


def singular_values(matrices: Tensor) -> Tensor:
    """Singular values ``(..., min(rows, columns))`` of ``(..., rows, columns)``, in float64."""
    return torch.linalg.svdvals(matrices.double())


def numerical_rank(values: Tensor, tolerance: float) -> Tensor:
    """Number of singular values above ``tolerance`` times the largest; 0 for a zero matrix."""
    return (values > tolerance * values[..., :1]).sum(-1)


def effective_rank(values: Tensor) -> Tensor:
    r"""``exp(entropy of s_i / sum s)``: k for k equal singular values. Roy and Vetterli 2007."""
    p = values / values.sum(-1, keepdim=True)
    return torch.exp(torch.special.entr(p).sum(-1))


def stable_rank(values: Tensor) -> Tensor:
    r"""``sum s_i^2 / s_1^2``, at most the rank."""
    return (values**2).sum(-1) / values[..., 0] ** 2
