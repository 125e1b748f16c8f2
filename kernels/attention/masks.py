"""Which keys a query may see: causal, windows, neighbourhoods on a line or a grid, blocks, subsamples, arbitrary sets.

A mask object answers ``visible(n_queries, n_keys)`` with a boolean matrix that is True where a query sees a key. Masks
combine with ``&``. ``as_visible`` accepts the name "causal", an object, or a boolean tensor that broadcasts to
``(..., query, key)``.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def _whole(name: str, x: Any) -> int:
    """A whole number, or an error that names the argument."""
    try:
        return operator.index(x)
    except TypeError:
        raise ValueError(f"{name}={x!r} must be a whole number") from None


def _tuple(name: str, x: Any) -> tuple[int, ...]:
    """Whole numbers that were given in whatever holds them, as a tuple, by which masks can be compared."""
    try:
        items = x.tolist() if isinstance(x, Tensor) else list(x)
    except TypeError:
        raise ValueError(f"{name}={x!r} must be a tuple of whole numbers") from None
    return tuple(_whole(name, item) for item in (items if isinstance(items, list) else [items]))


class Mask:
    """Base of the mask objects.

    Positions are those of the keys, and the last query stands where the last key stands: with a cache of keys, the last
    queries of a sequence see what they see when the whole sequence is computed.
    """

    def visible(self, n_queries: int, n_keys: int) -> Tensor:
        """Boolean (query, key); an axis of length 1 stands for all queries, or all keys."""
        raise NotImplementedError

    def __and__(self, other: Mask) -> Mask:
        if not isinstance(other, Mask):
            return NotImplemented
        return Both(self, other)


@dataclass(frozen=True)
class Both(Mask):
    """Keys that two masks both show."""

    first: Mask
    second: Mask

    def visible(self, n_queries: int, n_keys: int) -> Tensor:
        return matrix_of(self.first, n_queries, n_keys) & matrix_of(self.second, n_queries, n_keys)


def _grid(n_queries: int, n_keys: int) -> tuple[Tensor, Tensor]:
    """Positions of the queries, as a column, and of the keys, as a row."""
    i, j = torch.arange(n_queries, device="cpu"), torch.arange(n_keys, device="cpu")
    return (i + (n_keys - n_queries))[:, None], j[None, :]


@dataclass(frozen=True)
class Causal(Mask):
    """Query i sees keys j <= i + ``shift``, i counted from 0; by default the last query sees every key."""

    shift: int | None = None

    def __post_init__(self):
        if self.shift is not None:
            object.__setattr__(self, "shift", _whole("shift", self.shift))

    def visible(self, n_queries: int, n_keys: int) -> Tensor:
        i, j = _grid(n_queries, n_keys)
        return j <= i if self.shift is None else j <= i - (n_keys - n_queries) + self.shift


@dataclass(frozen=True)
class Window(Mask):
    """The query at i sees the keys i - before*dilation, ..., i + after*dilation in steps of ``dilation``."""

    before: int
    after: int = 0
    dilation: int = 1

    def __post_init__(self):
        for name in ("before", "after", "dilation"):
            object.__setattr__(self, name, _whole(name, getattr(self, name)))
        if self.before < 0 or self.after < 0 or self.dilation < 1:
            raise ValueError(f"need before >= 0, after >= 0 and dilation >= 1, got {self}")

    def visible(self, n_queries: int, n_keys: int) -> Tensor:
        i, j = _grid(n_queries, n_keys)
        return (
            ((j - i) % self.dilation == 0)
            & (j >= i - self.before * self.dilation)
            & (j <= i + self.after * self.dilation)
        )


@dataclass(frozen=True)
class Neighbourhood(Mask):
    """Neighbourhood attention on a line or a grid: every query sees ``size`` keys per axis, also at the edges.

    ``shape`` is the layout of the tokens, (n,) or (rows, columns), row-major; ``size`` the window per axis. At an edge
    the window is shifted inwards, not cut. With ``dilation`` t a query sees only positions congruent to its own modulo
    t. With ``stride`` t the queries of a group of t neighbours (on their comb, if dilated) share the window of the
    group's middle member (leader g t + t // 2). Generalised neighbourhood attention, Hassani et al. 2025. Each
    entry of ``size``, ``dilation`` and ``stride`` is one number per axis, or a single number for all axes.
    """

    shape: tuple[int, ...]
    size: int | tuple[int, ...]
    dilation: int | tuple[int, ...] = 1
    stride: int | tuple[int, ...] = 1

    def __post_init__(self):
        for name in ("shape", "size", "dilation", "stride"):
            value = getattr(self, name)
            if name == "shape" or hasattr(value, "__iter__"):
                object.__setattr__(self, name, _tuple(name, value))
            else:
                object.__setattr__(self, name, _whole(name, value))
        if len(self.shape) not in (1, 2):
            raise ValueError(f"shape={self.shape!r} must have one or two axes")
        for n, size, dilation, stride in zip(self.shape, *self._axes(), strict=True):
            if not 1 <= size * dilation <= n or stride < 1 or dilation < 1:
                raise ValueError(
                    f"need 1 <= size*dilation <= length and stride >= 1 on every axis, got size={size}, "
                    f"dilation={dilation}, stride={stride} on an axis of {n} tokens"
                )

    def _axes(self) -> list[tuple[int, ...]]:
        given = (self.size, self.dilation, self.stride)
        return [x if isinstance(x, tuple) else (x,) * len(self.shape) for x in given]

    def visible(self, n_queries: int, n_keys: int) -> Tensor:
        total = 1
        for n in self.shape:
            total *= n
        if n_queries > total or n_keys != total:
            raise ValueError(
                f"shape={self.shape} has {total} tokens, but there are {n_queries} queries and {n_keys} "
                "keys; a neighbourhood needs one key per token, and queries for the last tokens or all"
            )
        lines = [_line(*axis) for axis in zip(self.shape, *self._axes(), strict=True)]
        whole = lines[0]
        if len(lines) == 2:
            rows, columns = lines
            whole = (rows[:, None, :, None] & columns[None, :, None, :]).reshape(total, total)
        return whole[total - n_queries :]


def _line(n: int, size: int, dilation: int, stride: int) -> Tensor:
    i = torch.arange(n, device="cpu")
    residue, place = i % dilation, i // dilation  # the comb of positions that query i lives on, and where
    length = (n - residue + dilation - 1) // dilation  # its number of teeth
    middle = torch.minimum((place // stride) * stride + stride // 2, length - 1)
    start = torch.minimum((middle - size // 2).clamp(min=0), length - size)
    j = i[None, :]
    tooth = j // dilation
    on_comb = j % dilation == residue[:, None]
    return on_comb & (tooth >= start[:, None]) & (tooth < (start + size)[:, None])


@dataclass(frozen=True, eq=False)
class BlockSparse(Mask):
    """``layout[a, b]`` says whether the queries of block a see the keys of block b; blocks have ``block`` tokens.

    A layout with as many blocks of queries as of keys speaks of one sequence; fewer queries are then its last ones.
    """

    layout: Tensor
    block: int

    def __post_init__(self):
        if not isinstance(self.layout, Tensor):
            raise ValueError(
                f"layout must be a boolean tensor (blocks of queries, blocks of keys), got {type(self.layout).__name__}"
            )
        object.__setattr__(self, "block", _whole("block", self.block))
        if self.layout.ndim != 2 or self.layout.dtype != torch.bool or self.block < 1:
            raise ValueError(
                f"layout must be a boolean matrix and block >= 1, got {self.layout.dtype} of shape "
                f"{tuple(self.layout.shape)} and block={self.block}"
            )

    def visible(self, n_queries: int, n_keys: int) -> Tensor:
        a, b = self.layout.shape
        one_sequence = a == b and n_queries < n_keys
        if -(-n_keys // self.block) != b or not (one_sequence or -(-n_queries // self.block) == a):
            raise ValueError(
                f"layout of {a} x {b} blocks of {self.block} does not cover {n_queries} queries and {n_keys} keys"
            )
        full = self.layout.repeat_interleave(self.block, 0).repeat_interleave(self.block, 1)
        first = n_keys - n_queries if one_sequence else 0
        return full[first : first + n_queries, :n_keys]


@dataclass(frozen=True)
class KeySubsample(Mask):
    """Every query sees only the keys in ``keys``."""

    keys: tuple[int, ...]

    def __post_init__(self):
        object.__setattr__(self, "keys", _tuple("keys", self.keys))

    def visible(self, n_queries: int, n_keys: int) -> Tensor:
        bad = [key for key in self.keys if not 0 <= key < n_keys]
        if bad:
            raise ValueError(f"keys={bad} of the subsample are not among the {n_keys} keys; use 0 to {n_keys - 1}")
        seen = torch.zeros(n_keys, dtype=torch.bool, device="cpu")
        seen[list(self.keys)] = True
        return seen.expand(n_queries, n_keys)


def matrix_of(mask: Mask, n_queries: int, n_keys: int) -> Tensor:
    """What a mask object answers, a user's too: a boolean matrix (query, key), with all its rows and columns."""
    x = mask.visible(n_queries, n_keys)
    if isinstance(x, Tensor) and x.dtype == torch.bool and x.ndim == 2:
        if x.shape[0] in (1, n_queries) and x.shape[1] in (1, n_keys):
            return x.expand(n_queries, n_keys)
    found = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
    raise ValueError(
        f"mask={mask!r}: visible() returned {found}; it must return a boolean tensor (query, key) of shape "
        f"{(n_queries, n_keys)}, or with 1 for an axis that makes no difference"
    )


def as_visible(mask: str | Mask | Tensor | None, n_queries: int, n_keys: int, device: torch.device) -> Tensor | None:
    """The boolean tensor of a mask argument, or None if every query sees every key."""
    if mask is None:
        return None
    if isinstance(mask, str):
        if mask != "causal":
            raise ValueError(f"mask={mask!r} is unknown; use 'causal', a Mask object or a boolean tensor")
        mask = Causal()
    if isinstance(mask, Mask):
        return matrix_of(mask, n_queries, n_keys).to(device)
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        kind = str(mask.dtype) if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"mask must be boolean (True where a query sees a key), got {kind}; pass numbers as bias=")
    return mask


def additive(visible: Tensor, like: Tensor) -> Tensor:
    """0 where a query sees a key and minus infinity elsewhere, in the type of ``like``: 1 - 1/1 and 1 - 1/0."""
    return visible.to(like).reciprocal_().sub_(1.0).neg_()
