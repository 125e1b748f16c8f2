"""Tasks on vectors: the nearest of many keys, linear regression in context, a filter on a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.simulators.task_matrix.task import Batch, MatrixTask


@dataclass(frozen=True)
class Match(MatrixTask):
    """Random unit keys in R^16, each with one of 8 values; the last token is a noisy copy of one key: say its value."""

    n: int = 16  # keys
    noise: float = 0.3  # standard deviation of the copy's noise, relative to a unit key
    fields: ClassVar[tuple[int, ...]] = (8,)
    n_features: ClassVar[int] = 16
    n_outputs: ClassVar[int] = 8
    asked: ClassVar[slice] = slice(-1, None)

    @property
    def length(self) -> int:
        return self.n + 1

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return (self.n + 1, 16), (self.n + 1,), (1,)

    def draw(self, stream: torch.Generator, *arrays: Tensor) -> None:
        tokens, codes, target = arrays
        S, B, n = len(tokens), self.batch, self.n
        keys = torch.randn(S, B, n, 16, generator=stream)
        keys = keys / keys.norm(dim=-1, keepdim=True)
        values = torch.randint(8, (S, B, n), generator=stream)
        place = torch.randint(n, (S, B, 1), generator=stream)
        copy = keys.gather(-2, place[..., None].expand(S, B, 1, 16))
        copy = copy + self.noise / 4 * torch.randn(copy.shape, generator=stream)
        tokens.copy_(4 * torch.cat([keys, copy], -2))
        codes.copy_(torch.cat([values, torch.full_like(place, 8)], -1))
        target.copy_(values.gather(-1, place))

    def made(self, *arrays: Tensor) -> Batch:
        tokens, codes, target = arrays
        return Batch(codes[..., None], tokens, target)


@dataclass(frozen=True)
class Regression(MatrixTask):
    """x in R^5 with y = w . x, 20 pairs and then an x alone: say its y. Solved where more than half of y^2 is explained."""

    n: int = 20
    n_features: ClassVar[int] = 7  # x, y, and a mark of the last token
    real: ClassVar[bool] = True
    solved_above: ClassVar[float] = 0.5
    asked: ClassVar[slice] = slice(-1, None)

    @property
    def length(self) -> int:
        return self.n + 1

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return (self.n + 1, 5), (5,)

    def draw(self, stream: torch.Generator, *arrays: Tensor) -> None:
        for each in arrays:
            each.normal_(generator=stream)

    def made(self, *arrays: Tensor) -> Batch:
        x, w = arrays
        y = (x * w[..., None, :]).sum(-1) / math.sqrt(5)
        last = torch.zeros(self.length, dtype=x.dtype)
        last[-1] = 1
        shown = torch.stack([y * (1 - last), last.expand_as(y)], -1)
        return Batch(None, torch.cat([x, shown], -1), y[..., -1:])


@dataclass(frozen=True)
class GridFilter(MatrixTask):
    """6 x 6 white noise; the target is its product with a 3 x 3 filter at random (one per replica), zero beyond the border.

    The filter has norm 1 in the mean of the cells.
    """

    taps: Tensor = field(default_factory=lambda: torch.zeros(1, 9))  # (replica, tap)
    n_features: ClassVar[int] = 1
    positions: ClassVar[bool] = True
    causal: ClassVar[bool] = False
    shape: ClassVar[tuple[int, int] | None] = (6, 6)
    real: ClassVar[bool] = True
    length: ClassVar[int] = 36
    shapes: ClassVar[tuple[tuple[int, ...], ...]] = ((6, 6),)

    def part(self, rows: slice) -> GridFilter:
        return replace(self, taps=self.taps[rows])

    def with_taps(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> GridFilter:
        """The task with filters drawn from these streams, of unit norm."""
        taps = torch.stack([torch.randn(9, generator=each, dtype=torch.float64) for each in streams])
        return replace(self, taps=(taps / taps.norm(dim=-1, keepdim=True)).to(dtype))

    def draw(self, stream: torch.Generator, *arrays: Tensor) -> None:
        arrays[0].normal_(generator=stream)

    def made(self, *arrays: Tensor) -> Batch:
        (x,) = arrays
        wide = torch.nn.functional.pad(x, (1, 1, 1, 1))
        shifted = [wide[..., i : i + 6, j : j + 6] for i in range(3) for j in range(3)]
        target = sum(self.taps[:, k, None, None, None] * each for k, each in enumerate(shifted))
        return Batch(None, x.flatten(2)[..., None], target.flatten(2))  # type: ignore[union-attr]
