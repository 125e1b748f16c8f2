"""The two functions that torch lacks, differentiable to any order at every argument that they are called with."""

from __future__ import annotations

import torch
from torch import Tensor


def log1p_over(u: Tensor) -> Tensor:
    """log(1 + u) / u for u > -1, with its limit 1 at zero."""
    small = u.abs() < 0.01
    x = torch.where(small, u, 0.0)
    series = torch.zeros_like(u)
    for n in range(9, 0, -1):  # the tenth term is below 1e-19 of the first
        series = 1.0 / n - x * series
    safe = torch.where(small, 1.0, u)
    return torch.where(small, series, torch.log1p(safe) / safe)


def one_minus_exp(x: Tensor, _t: Tensor) -> Tensor:
    """1 - e^{-x}, exact near zero."""
    return -torch.expm1(-x)
