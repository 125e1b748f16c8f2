"""Inputs of random attention heads: tokens on a sphere, targets, and copies of both under rotations.

Targets: ``"b2"`` is the mean over keys of <beta, x_i>^2, ``"s2"`` of <x_0, x_i>^2, ``"s2b"`` of <x_0, x_i>^2 <beta, x_i>, each
minus its expectation; x_0 is the query, beta the first basis vector, and any power may stand for 2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch
from torch import Tensor

KINDS = ("attention", "biased", "plain", "perceptron")
Inputs = tuple[Tensor, Tensor]
_TARGET = re.compile(r"[bs][1-9]|s[1-9]b")


def bias_of(kind: str, dim: int) -> float:
    """The mean of W on the diagonal of the token block: 2 sqrt(d) for ``"biased"`` heads, 0 for the others.

    <x_0, x_i> has standard deviation 1 / sqrt(d), so the mean of a pre-activation then varies by 2.
    """
    return 2 * math.sqrt(dim) if kind == "biased" else 0.0


def tokens(generator: torch.Generator, n: int, n_keys: int, dim: int) -> tuple[Tensor, Tensor]:
    """Queries ``(n, d)`` and keys ``(n, N, d)``, independent and uniform on the unit sphere, float64."""
    x = torch.randn(n, n_keys + 1, dim, generator=generator, dtype=torch.float64)
    x = x / x.norm(dim=-1, keepdim=True)
    return x[:, 0], x[:, 1:]


def labels(query: Tensor, keys: Tensor, targets: Sequence[str]) -> Tensor:
    """The targets' values, ``(n, target)``; their expectation over tokens is zero."""
    s, b = (keys @ query[:, :, None])[..., 0], keys[..., 0]
    columns = []
    for name in targets:
        power = int(name[1])
        values = (s if name[0] == "s" else b) ** power
        values = values * b if len(name) == 3 else values - mean_power(query.shape[1], power)
        columns.append(values.mean(1))
    return torch.stack(columns, dim=1)


def rotated_labels(inputs: tuple[Tensor, Tensor], targets: Sequence[str], rotations: Tensor) -> Tensor:
    """The targets of rotated tokens, ``(n, copy, target)``: queries by ``rotations[0]``, keys by ``rotations[1]``.

    Kernels of zero-mean heads don't change under such rotations, so the copies are equally hard, and their mean has a
    smaller error.
    """
    (query, keys), copies = inputs, range(rotations.shape[1])
    return torch.stack([labels(query @ rotations[0, c], keys @ rotations[1, c], targets) for c in copies], dim=1)


def random_rotations(generator: torch.Generator, n_copies: int, dim: int, kind: str) -> Tensor:
    """Uniform orthogonal matrices of queries and of keys, ``(2, copy, d, d)``; the same for both if heads are biased."""
    Q, R = torch.linalg.qr(torch.randn(2, n_copies, dim, dim, generator=generator, dtype=torch.float64))
    Q = Q * R.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]
    return Q[:1].expand(2, -1, -1, -1) if kind == "biased" else Q


def mean_power(dim: int, power: int) -> float:
    """E of a coordinate of a uniform unit vector to a power: (p-1)!! / (d (d+2) .. (d+p-2)), zero for odd powers."""
    return math.prod((k - 1) / (dim + k - 2) for k in range(2, power + 1, 2)) if power % 2 == 0 else 0.0


def require_targets(targets: Sequence[str]) -> None:
    """Every name stands for a target."""
    for name in targets:
        if not _TARGET.fullmatch(name):
            raise ValueError(f"targets={name!r} is unknown; use names such as 'b2', 's2' or 's1b'")
