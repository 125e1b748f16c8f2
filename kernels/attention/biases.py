r"""Additive terms of the logits: relative position tables, ALiBi slopes, forget gates; all differentiable.

A bias object answers ``matrix(n_queries, n_keys, like)`` with a tensor that broadcasts to ``(..., query, key)``. The
leading axes of its parameter (replica, head, ...) become the leading axes of the matrix. ``attention(bias=...)`` takes
a tensor, an object, or a tuple of them, which is summed. A bias of minus infinity hides the key.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


class Bias:
    """Base of the bias objects."""

    def matrix(self, n_queries: int, n_keys: int, like: Tensor) -> Tensor:
        """The term added to the logits, (..., query, key), in the dtype and on the device of ``like``."""
        raise NotImplementedError


def _check_parameter(name: str, x: Tensor, n_axes: int) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim < n_axes:
        found = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        axes = " with at least one axis" if n_axes else ""
        raise ValueError(f"{name} must be a floating-point tensor{axes}, got {found}")


def _distance(n_queries: int, n_keys: int, device: torch.device) -> Tensor:
    """j - i with the last query at the place of the last key, as for a causal mask."""
    i = torch.arange(n_queries, device=device)[:, None] + (n_keys - n_queries)
    return torch.arange(n_keys, device=device)[None, :] - i


@dataclass(frozen=True, eq=False)
class RelativePosition(Bias):
    """``table[..., clip(j - i, -m, m) + m]`` for a table of 2m + 1 entries per item."""

    table: Tensor

    def __post_init__(self):
        _check_parameter("table", self.table, 1)
        if self.table.shape[-1] % 2 == 0:
            raise ValueError(f"table must have an odd last axis (2m + 1 distances), got {self.table.shape[-1]}")

    def matrix(self, n_queries: int, n_keys: int, like: Tensor) -> Tensor:
        m = self.table.shape[-1] // 2
        index = _distance(n_queries, n_keys, like.device).clamp(-m, m) + m
        return self.table.to(like)[..., index]


@dataclass(frozen=True, eq=False)
class ALiBi(Bias):
    """-slope * |i - j|, one slope per item of the leading axes."""

    slopes: Tensor

    def __post_init__(self):
        _check_parameter("slopes", self.slopes, 0)

    def matrix(self, n_queries: int, n_keys: int, like: Tensor) -> Tensor:
        return -self.slopes.to(like)[..., None, None] * _distance(n_queries, n_keys, like.device).abs().to(like)


@dataclass(frozen=True, eq=False)
class ForgetGate(Bias):
    r"""Forget gates: :math:`D_{ij} = \sum_{l=j+1}^{i} \ln f_l` for j <= i, from ``log_gates`` = ln f, (..., token).

    Use it with a causal mask. A constant gate gives ALiBi with slope -ln f. The sums are differences of one running
    sum, so their absolute error is that of the running sum (n eps max|c|). A closed gate (f = 0, ln f = -infinity) hides
    all keys before it from all queries from it on, and receives no gradient.
    """

    log_gates: Tensor

    def __post_init__(self):
        _check_parameter("log_gates", self.log_gates, 1)

    def matrix(self, n_queries: int, n_keys: int, like: Tensor) -> Tensor:
        if self.log_gates.shape[-1] != n_keys or n_queries > n_keys:
            raise ValueError(
                f"log_gates has {self.log_gates.shape[-1]} tokens for {n_keys} keys and {n_queries} "
                "queries; give one gate per key, and no more queries than keys"
            )
        gates = self.log_gates.to(like)
        closed = gates == -torch.inf  # infinity minus infinity is not a number: closed gates are counted apart
        c = torch.where(closed, 0.0, gates).cumsum(-1)
        n = closed.to(gates.dtype).cumsum(-1)
        first = n_keys - n_queries
        apart = n[..., first:, None] != n[..., None, :]
        return torch.where(apart, -torch.inf, c[..., first:, None] - c[..., None, :])


def _matrix_of(bias: Bias, n_queries: int, n_keys: int, like: Tensor) -> Tensor:
    """What a bias object answers, a user's too, in the type of ``like``."""
    x = bias.matrix(n_queries, n_keys, like)
    if isinstance(x, Tensor) and x.dtype != torch.bool and not x.is_complex():
        if x.ndim >= 2 and x.shape[-2] in (1, n_queries) and x.shape[-1] in (1, n_keys):
            return x.to(like)
    found = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
    raise ValueError(
        f"bias={bias!r}: matrix() returned {found}; it must return a real tensor (..., {n_queries} queries, {n_keys} keys)"
    )


def as_bias(bias: Bias | Tensor | tuple | None, n_queries: int, n_keys: int, like: Tensor) -> Tensor | None:
    """The tensor of a bias argument, or None."""
    if bias is None:
        return None
    if isinstance(bias, tuple):
        parts = [as_bias(part, n_queries, n_keys, like) for part in bias if part is not None]
        return sum(parts[1:], parts[0]) if parts else None
    if isinstance(bias, Bias):
        return _matrix_of(bias, n_queries, n_keys, like)
    if not isinstance(bias, Tensor) or not bias.is_floating_point():
        kind = str(bias.dtype) if isinstance(bias, Tensor) else type(bias).__name__
        raise ValueError(f"bias must be a floating-point tensor, a Bias object or a tuple of them, got {kind}")
    return bias.to(like)
