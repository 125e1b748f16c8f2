"""Tasks on symbols: recall of pairs, the successor of a symbol, copies from places before, counting, products in a group."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any, ClassVar

import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.task_matrix.task import Batch, MatrixTask, surprise


@dataclass(frozen=True)
class Recall(MatrixTask):
    """m pairs of one of 64 keys and one of 16 values, key and value in one token; then the m keys in another order."""

    n_pairs: int = 4
    fields: ClassVar[tuple[int, ...]] = (64, 16)
    n_outputs: ClassVar[int] = 16

    @property
    def length(self) -> int:
        return 2 * self.n_pairs

    @property
    def asked(self) -> slice:
        return slice(self.n_pairs, None)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((self.n_pairs,),) * 4

    def draw(self, stream: torch.Generator, *arrays: Tensor) -> None:
        keys, values, asked, target = arrays
        keys.copy_(torch.rand(*keys.shape[:2], 64, generator=stream).argsort(-1)[..., : self.n_pairs])
        values.copy_(torch.randint(16, values.shape, generator=stream))
        order = torch.rand(keys.shape, generator=stream).argsort(-1)
        asked.copy_(keys.gather(-1, order))
        target.copy_(values.gather(-1, order))

    def made(self, *arrays: Tensor) -> Batch:
        keys, values, asked, target = arrays
        pairs = torch.stack([keys, values], -1)
        queries = torch.stack([asked, torch.full_like(asked, 16)], -1)
        return Batch(torch.cat([pairs, queries], -2), None, target)


@dataclass(frozen=True)
class Successor(MatrixTask):
    """Induction: 12 of 16 symbols in a row, then the first 11 in another order: name the one that came after each."""

    fields: ClassVar[tuple[int, ...]] = (16,)
    n_outputs: ClassVar[int] = 16
    positions: ClassVar[bool] = True
    length: ClassVar[int] = 23
    asked: ClassVar[slice] = slice(12, None)
    shapes: ClassVar[tuple[tuple[int, ...], ...]] = ((23,), (11,))

    def draw(self, stream: torch.Generator, *arrays: Tensor) -> None:
        given, target = arrays
        row = torch.rand(*given.shape[:2], 16, generator=stream).argsort(-1)[..., :12]
        order = torch.rand(target.shape, generator=stream).argsort(-1)
        given.copy_(torch.cat([row, row.gather(-1, order)], -1))
        target.copy_(row.gather(-1, order + 1))

    def made(self, *arrays: Tensor) -> Batch:
        given, target = arrays
        return Batch(given[..., None], None, target)


@dataclass(frozen=True)
class Offset(MatrixTask):
    """Symbols at random: say the one that stood 1, 4 and 12 places before. The score is that of the farthest."""

    offsets: tuple[int, ...] = (1, 4, 12)
    fields: ClassVar[tuple[int, ...]] = (16,)
    positions: ClassVar[bool] = True
    length: ClassVar[int] = 32
    chance: ClassVar[float] = 1 / 16
    shapes: ClassVar[tuple[tuple[int, ...], ...]] = ((32,),)

    @property
    def n_outputs(self) -> int:  # type: ignore[override]
        return 16 * len(self.offsets)

    def draw(self, stream: torch.Generator, *arrays: Tensor) -> None:
        (given,) = arrays
        given.copy_(torch.randint(16, given.shape, generator=stream))

    def made(self, *arrays: Tensor) -> Batch:
        (given,) = arrays
        return Batch(given[..., None], None, given)

    def loss(self, model: Any, parameters: Parameters, numbers: Tensor) -> Tensor:
        found = [surprise(said, target) for said, target in self._each(model, parameters, numbers)]
        return torch.stack(found).mean(0)

    def score(self, model: Any, parameters: Parameters, numbers: Tensor) -> Tensor:
        said, target = self._each(model, parameters, numbers)[-1]
        return (said.argmax(-1) == target).double().mean((1, 2))

    def _each(self, model, parameters, numbers):
        said, given = self.answers(model, parameters, numbers)
        parts = said.split(16, -1)
        return [(part[:, :, lag:], given[..., : 32 - lag]) for part, lag in zip(parts, self.offsets, strict=True)]


@dataclass(frozen=True)
class Count(MatrixTask):
    """m = 1 ... 8 copies of one token and nothing else, no positions: name m. Nothing is random but the start."""

    fields: ClassVar[tuple[int, ...]] = (1,)
    n_outputs: ClassVar[int] = 8
    causal: ClassVar[bool] = False
    length: ClassVar[int] = 8
    shapes: ClassVar[tuple[tuple[int, ...], ...]] = ()

    def draw(self, stream: torch.Generator, *arrays: Tensor) -> None:
        pass

    def answers(self, model: Any, parameters: Parameters, numbers: Tensor) -> tuple[Tensor, Tensor]:
        first = next(iter(parameters.values()))
        draw = numbers if self.n_uniform else None
        said = [
            model(parameters, torch.zeros(len(first), 1, m, 1, dtype=first.dtype), None, draw)[:, :, :1]
            for m in range(1, 9)
        ]
        return torch.cat(said, 2), torch.arange(8, dtype=first.dtype).expand(len(first), 1, 8)

    def largest_array(self, model: Any) -> int:
        return 8 * 64


@dataclass(frozen=True)
class Group(MatrixTask):
    """Elements of the group S3 at random: say their product so far. The score is that of the second half."""

    n: int = 16
    fields: ClassVar[tuple[int, ...]] = (6,)
    n_outputs: ClassVar[int] = 6
    positions: ClassVar[bool] = True

    @property
    def length(self) -> int:
        return self.n

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return (self.n,), (self.n,)

    def draw(self, stream: torch.Generator, *arrays: Tensor) -> None:
        given, target = arrays
        elements = torch.randint(6, given.shape, generator=stream)
        table, so_far = torch.tensor(products_of_three()), [elements[..., 0]]
        for t in range(1, self.n):
            so_far.append(table[so_far[-1], elements[..., t]])
        given.copy_(elements)
        target.copy_(torch.stack(so_far, -1))

    def made(self, *arrays: Tensor) -> Batch:
        given, target = arrays
        return Batch(given[..., None], None, target)

    def score(self, model: Any, parameters: Parameters, numbers: Tensor) -> Tensor:
        said, target = self.answers(model, parameters, numbers)
        half = self.n // 2
        return (said.argmax(-1) == target)[..., half:].double().mean((1, 2))


def products_of_three() -> list[list[int]]:
    """The product table of the symmetric group of three letters: elements are permutations in lexicographic order."""
    every = list(permutations(range(3)))
    return [[every.index(tuple(a[b[i]] for i in range(3))) for b in every] for a in every]
