"""The eight tasks of the matrix: laws of sequences, what is to be said at which tokens, and the loss.

Whole numbers are drawn by ``fill`` and handed on as real ones, so that what trains is a function of numbers alone. Every task
says what its model reads (``fields``, ``n_features``), how long its sequences are, whether positions are given, and how its score
is read: ``solved`` above one bound, ``chance`` below another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters


@dataclass(frozen=True)
class Batch:
    """Symbols (replica, batch, n, field) or None, features (replica, batch, n, f) or None, and what is to be said at the last
    ``len`` tokens of each ``asked`` stretch: targets (replica, batch, asked) as codes, or as real numbers."""

    symbols: Tensor | None
    features: Tensor | None
    target: Tensor


@dataclass(frozen=True)
class MatrixTask:
    """What all tasks share; ``batch`` sequences per step, ``n_steps`` steps of a training at its full budget, ``n_uniform``
    uniform numbers for operators that take some.

    Scores: the share of right answers, or for real answers 1 - error / error of guessing the mean. ``chance``: what guessing
    scores. A replica has solved the task above ``solved_above``.
    """

    batch: int
    n_steps: int
    n_uniform: int = 0
    fields: ClassVar[tuple[int, ...]] = ()
    n_features: ClassVar[int] = 0
    n_outputs: ClassVar[int] = 1
    positions: ClassVar[bool] = False
    causal: ClassVar[bool] = True
    shape: ClassVar[tuple[int, int] | None] = None
    real: ClassVar[bool] = False
    solved_above: ClassVar[float] = 0.9

    @property
    def length(self) -> int:
        """Tokens of a sequence."""
        raise NotImplementedError

    @property
    def chance(self) -> float:
        """The score of guessing."""
        return 0.0 if self.real else 1 / self.n_outputs

    @property
    def asked(self) -> slice:
        """The tokens at which an answer is asked."""
        return slice(None)

    @property
    def own_numbers(self) -> int:
        """Random numbers of one step, without those that operators take."""
        raise NotImplementedError

    @property
    def numbers_per_step(self) -> int:
        return self.own_numbers + self.n_uniform

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        if self.n_uniform:
            numbers[:, self.own_numbers :].uniform_(generator=stream)
        self.draw(numbers[:, : self.own_numbers], stream)

    def draw(self, numbers: Tensor, stream: torch.Generator) -> None:
        """Draw the numbers (step, own_numbers) of one replica in place."""
        raise NotImplementedError

    def made(self, numbers: Tensor) -> Batch:
        """The batch of numbers (replica, own_numbers)."""
        raise NotImplementedError

    def answers(self, model: Any, parameters: Parameters, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """What the model says, (replica, batch, asked, n_outputs), and the targets (replica, batch, asked)."""
        own, draw = numbers[:, : self.own_numbers], None
        if self.n_uniform:
            draw = numbers[:, self.own_numbers :]
        batch = self.made(own)
        return model(parameters, batch.symbols, batch.features, draw)[:, :, self.asked], batch.target

    def loss(self, model: Any, parameters: Parameters, numbers: Tensor) -> Tensor:
        said, target = self.answers(model, parameters, numbers)
        if self.real:
            return (said[..., 0] - target).square().mean((1, 2))
        return _surprise(said, target)

    def score(self, model: Any, parameters: Parameters, numbers: Tensor) -> Tensor:
        """Score (replica,) of a batch."""
        said, target = self.answers(model, parameters, numbers)
        if self.real:
            return 1 - (said[..., 0] - target).square().mean((1, 2)) / target.square().mean((1, 2))
        return (said.argmax(-1) == target).double().mean((1, 2))

    def largest_array(self, model: Any) -> int:
        return self.batch * self.length * max(4 * self.length, 64)


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
    def own_numbers(self) -> int:
        return 4 * self.batch * self.n_pairs

    def draw(self, numbers: Tensor, stream: torch.Generator) -> None:
        S, B, m = len(numbers), self.batch, self.n_pairs
        keys = torch.rand(S, B, 64, generator=stream).argsort(-1)[..., :m]
        values = torch.randint(16, (S, B, m), generator=stream)
        order = torch.rand(S, B, m, generator=stream).argsort(-1)
        numbers.copy_(torch.stack([keys, values, keys.gather(-1, order), values.gather(-1, order)], 1).flatten(1))

    def made(self, numbers: Tensor) -> Batch:
        keys, values, asked, target = numbers.view(-1, 4, self.batch, self.n_pairs).unbind(1)
        pairs = torch.stack([keys, values], -1)
        queries = torch.stack([asked, torch.full_like(asked, 16)], -1)
        return Batch(torch.cat([pairs, queries], -2), None, target)


@dataclass(frozen=True)
class Successor(MatrixTask):
    """Induction: 12 of 16 symbols in a row, then the first 11 in another order: name the one that came after each."""

    fields: ClassVar[tuple[int, ...]] = (16,)
    n_outputs: ClassVar[int] = 16
    positions: ClassVar[bool] = True

    @property
    def length(self) -> int:
        return 23

    @property
    def asked(self) -> slice:
        return slice(12, None)

    @property
    def own_numbers(self) -> int:
        return self.batch * (23 + 11)

    def draw(self, numbers: Tensor, stream: torch.Generator) -> None:
        S, B = len(numbers), self.batch
        row = torch.rand(S, B, 16, generator=stream).argsort(-1)[..., :12]
        order = torch.rand(S, B, 11, generator=stream).argsort(-1)
        numbers.copy_(torch.cat([row, row.gather(-1, order), row.gather(-1, order + 1)], -1).flatten(1))

    def made(self, numbers: Tensor) -> Batch:
        given, target = numbers.view(-1, self.batch, 34).split([23, 11], -1)
        return Batch(given[..., None], None, target)


@dataclass(frozen=True)
class Offset(MatrixTask):
    """Symbols at random: say the one that stood 1, 4 and 12 places before. The score is that of the farthest."""

    offsets: tuple[int, ...] = (1, 4, 12)
    fields: ClassVar[tuple[int, ...]] = (16,)
    positions: ClassVar[bool] = True

    @property
    def n_outputs(self) -> int:  # type: ignore[override]
        return 16 * len(self.offsets)

    @property
    def chance(self) -> float:
        return 1 / 16

    @property
    def length(self) -> int:
        return 32

    @property
    def own_numbers(self) -> int:
        return self.batch * 32

    def draw(self, numbers: Tensor, stream: torch.Generator) -> None:
        numbers.copy_(torch.randint(16, numbers.shape, generator=stream))

    def made(self, numbers: Tensor) -> Batch:
        given = numbers.view(-1, self.batch, 32)
        return Batch(given[..., None], None, given)

    def loss(self, model: Any, parameters: Parameters, numbers: Tensor) -> Tensor:
        found = [_surprise(said, target) for said, target in self._each(model, parameters, numbers)]
        return torch.stack(found).mean(0)

    def score(self, model: Any, parameters: Parameters, numbers: Tensor) -> Tensor:
        said, target = self._each(model, parameters, numbers)[-1]
        return (said.argmax(-1) == target).double().mean((1, 2))

    def _each(self, model, parameters, numbers):
        said, given = self.answers(model, parameters, numbers)
        parts = said.split(16, -1)
        return [(part[:, :, lag:], given[..., : 32 - lag]) for part, lag in zip(parts, self.offsets, strict=True)]


@dataclass(frozen=True)
class Match(MatrixTask):
    """Random unit keys in R^16, each with one of 8 values; the last token is a noisy copy of one key: say its value."""

    n: int = 16  # keys
    noise: float = 0.3  # standard deviation of the copy's noise, relative to a unit key
    fields: ClassVar[tuple[int, ...]] = (8,)
    n_features: ClassVar[int] = 16
    n_outputs: ClassVar[int] = 8

    @property
    def length(self) -> int:
        return self.n + 1

    @property
    def asked(self) -> slice:
        return slice(-1, None)

    @property
    def own_numbers(self) -> int:
        return self.batch * ((self.n + 1) * 17 + 1)

    def draw(self, numbers: Tensor, stream: torch.Generator) -> None:
        S, B, n = len(numbers), self.batch, self.n
        keys = torch.randn(S, B, n, 16, generator=stream)
        keys = keys / keys.norm(dim=-1, keepdim=True)
        values = torch.randint(8, (S, B, n), generator=stream)
        place = torch.randint(n, (S, B, 1), generator=stream)
        copy = keys.gather(-2, place[..., None].expand(S, B, 1, 16))
        copy = copy + self.noise / 4 * torch.randn(copy.shape, generator=stream)
        tokens = torch.cat([keys, copy], -2)
        codes = torch.cat([values, torch.full_like(place, 8)], -1)
        target = values.gather(-1, place)
        numbers.copy_(torch.cat([4 * tokens.flatten(2), codes, target], -1).flatten(1))

    def made(self, numbers: Tensor) -> Batch:
        n = self.n + 1
        tokens, codes, target = numbers.view(-1, self.batch, n * 17 + 1).split([16 * n, n, 1], -1)
        return Batch(codes[..., None], tokens.unflatten(-1, (n, 16)), target)


@dataclass(frozen=True)
class Regression(MatrixTask):
    """x in R^5 with y = w . x, 20 pairs and then an x alone: say its y. Solved where more than half of y^2 is explained."""

    n: int = 20
    n_features: ClassVar[int] = 7  # x, y, and a mark of the last token
    real: ClassVar[bool] = True
    solved_above: ClassVar[float] = 0.5

    @property
    def length(self) -> int:
        return self.n + 1

    @property
    def asked(self) -> slice:
        return slice(-1, None)

    @property
    def own_numbers(self) -> int:
        return self.batch * ((self.n + 1) * 5 + 5)

    def draw(self, numbers: Tensor, stream: torch.Generator) -> None:
        numbers.normal_(generator=stream)

    def made(self, numbers: Tensor) -> Batch:
        n = self.n + 1
        x, w = numbers.view(-1, self.batch, 5 * n + 5).split([5 * n, 5], -1)
        x = x.unflatten(-1, (n, 5))
        y = (x * w[..., None, :]).sum(-1) / math.sqrt(5)
        last = torch.zeros(n, dtype=x.dtype)
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

    @property
    def length(self) -> int:
        return 36

    @property
    def own_numbers(self) -> int:
        return self.batch * 36

    def part(self, rows: slice) -> GridFilter:
        return replace(self, taps=self.taps[rows])

    def with_taps(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> GridFilter:
        """The task with filters drawn from these streams, of unit norm."""
        taps = torch.stack([torch.randn(9, generator=each, dtype=torch.float64) for each in streams])
        return replace(self, taps=(taps / taps.norm(dim=-1, keepdim=True)).to(dtype))

    def draw(self, numbers: Tensor, stream: torch.Generator) -> None:
        numbers.normal_(generator=stream)

    def made(self, numbers: Tensor) -> Batch:
        x = numbers.view(-1, self.batch, 6, 6)
        wide = torch.nn.functional.pad(x, (1, 1, 1, 1))
        shifted = [wide[..., i : i + 6, j : j + 6] for i in range(3) for j in range(3)]
        target = sum(self.taps[:, k, None, None, None] * each for k, each in enumerate(shifted))
        return Batch(None, x.flatten(2)[..., None], target.flatten(2))  # type: ignore[union-attr]


@dataclass(frozen=True)
class Count(MatrixTask):
    """m = 1 ... 8 copies of one token and nothing else, no positions: name m. Nothing is random but the start."""

    fields: ClassVar[tuple[int, ...]] = (1,)
    n_outputs: ClassVar[int] = 8
    causal: ClassVar[bool] = False

    @property
    def length(self) -> int:
        return 8

    @property
    def own_numbers(self) -> int:
        return 0

    def draw(self, numbers: Tensor, stream: torch.Generator) -> None:
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


def _surprise(said: Tensor, target: Tensor) -> Tensor:
    """Mean negative log likelihood (replica,) of targets (replica, batch, asked), codes as real numbers."""
    logs = said.log_softmax(-1).gather(-1, target.long()[..., None])
    return -logs.mean((1, 2, 3))


#: The product table of the symmetric group of three letters: elements are permutations in lexicographic order.
def _products() -> list[list[int]]:
    from itertools import permutations

    every = list(permutations(range(3)))
    return [[every.index(tuple(a[b[i]] for i in range(3))) for b in every] for a in every]


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
    def own_numbers(self) -> int:
        return 2 * self.batch * self.n

    def draw(self, numbers: Tensor, stream: torch.Generator) -> None:
        S, B, n = len(numbers), self.batch, self.n
        given = torch.randint(6, (S, B, n), generator=stream)
        table, so_far = torch.tensor(_products()), [given[..., 0]]
        for t in range(1, n):
            so_far.append(table[so_far[-1], given[..., t]])
        numbers.copy_(torch.stack([given, torch.stack(so_far, -1)], 1).flatten(1))

    def made(self, numbers: Tensor) -> Batch:
        given, target = numbers.view(-1, 2, self.batch, self.n).unbind(1)
        return Batch(given[..., None], None, target)

    def score(self, model: Any, parameters: Parameters, numbers: Tensor) -> Tensor:
        said, target = self.answers(model, parameters, numbers)
        half = self.n // 2
        return (said.argmax(-1) == target)[..., half:].double().mean((1, 2))


TASKS: dict[str, MatrixTask] = {
    "recall_4": Recall(16, 400, n_pairs=4),
    "recall_32": Recall(8, 500, n_pairs=32),
    "successor": Successor(16, 1000),
    "offset": Offset(8, 700),
    "match": Match(32, 900),
    "regression": Regression(16, 300),
    "grid": GridFilter(8, 300),
    "count": Count(1, 80),
    "group": Group(16, 1000),
}
