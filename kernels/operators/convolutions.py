"""Depthwise convolutions of tokens, one kernel per channel and replica, on a line or a grid."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv1d, conv2d, pad


def depthwise(x: Tensor, weight: Tensor, shape: tuple[int, int], dilation: int = 1) -> Tensor:
    """Tokens of a grid (replica, batch, n, D) with odd kernels (replica, D, rows, columns), zero beyond the border.

    ``dilation`` is the distance of neighbouring taps.
    """
    replicas, batch, n, width = x.shape
    image = x.permute(1, 0, 3, 2).reshape(batch, replicas * width, *shape)
    kernel = weight.reshape(replicas * width, 1, *weight.shape[2:])
    padding = (weight.shape[2] // 2 * dilation, weight.shape[3] // 2 * dilation)
    out = conv2d(image, kernel, padding=padding, dilation=dilation, groups=replicas * width)
    return out.reshape(batch, replicas, width, n).permute(1, 0, 3, 2)


def causal_depthwise(x: Tensor, weight: Tensor) -> Tensor:
    """Tokens (replica, batch, n, D) with causal kernels (replica, D, tap): tap l weighs the token l places before."""
    replicas, batch, n, width = x.shape
    line = x.permute(1, 0, 3, 2).reshape(batch, replicas * width, n)
    kernel = weight.reshape(replicas * width, 1, -1).flip(-1)
    out = conv1d(pad(line, (kernel.shape[-1] - 1, 0)), kernel, groups=replicas * width)
    return out.reshape(batch, replicas, width, n).permute(1, 0, 3, 2)


def with_ones(v: Tensor) -> Tensor:
    """Values with a last column of ones, which sums the weights."""
    return torch.cat([v, torch.ones_like(v[..., :1])], -1)
