"""Rotary positions: pairs of channels turned by the token's place, shared by the operators that use them."""

from __future__ import annotations

import torch
from torch import Tensor


def rotated(x: Tensor, places: Tensor | None = None, base: float = 10000.0) -> Tensor:
    """Pairs of channels (c, c + d/2) of x (..., token, d) turned by the place times base^(-2 c/d); an odd last channel stays.

    ``places`` (token,) are 0, 1, ... by default. Dot products then depend on differences of places.
    """
    half = x.shape[-1] // 2
    rate = base ** (-torch.arange(half, dtype=x.dtype, device=x.device) / max(half, 1))
    if places is None:
        places = torch.arange(x.shape[-2], device=x.device)
    angle = places.to(x)[:, None] * rate
    c, s, a, b = angle.cos(), angle.sin(), x[..., :half], x[..., half : 2 * half]
    return torch.cat([a * c - b * s, a * s + b * c, x[..., 2 * half :]], -1)
