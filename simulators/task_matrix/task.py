"""What all tasks of the matrix share: laws of sequences, what is to be said at which tokens, and the loss.

Whole numbers are drawn by ``fill`` and handed on as real ones, so that what trains is a function of numbers alone. A task says
what its model reads (``fields``, ``n_features``), how long its sequences are, whether positions are given, and which arrays are
drawn for one sequence (``shapes``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
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
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The arrays of numbers that are drawn for one sequence."""
        raise NotImplementedError

    @property
    def own_numbers(self) -> int:
        """Random numbers of one step, without those that operators take."""
        return self.batch * sum(map(math.prod, self.shapes))

    @property
    def numbers_per_step(self) -> int:
        return self.own_numbers + self.n_uniform

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        if self.n_uniform:
            numbers[:, self.own_numbers :].uniform_(generator=stream)
        self.draw(stream, *self.arrays(numbers))

    def arrays(self, numbers: Tensor) -> list[Tensor]:
        """Views (..., batch, *shape), one per shape, of numbers (..., numbers_per_step)."""
        found, low = [], 0
        for shape in self.shapes:
            high = low + self.batch * math.prod(shape)
            found.append(numbers[..., low:high].unflatten(-1, (self.batch, *shape)))
            low = high
        return found

    def draw(self, stream: torch.Generator, *arrays: Tensor) -> None:
        """Draw the arrays (step, batch, *shape) of one replica in place."""
        raise NotImplementedError

    def made(self, *arrays: Tensor) -> Batch:
        """The batch of arrays (replica, batch, *shape)."""
        raise NotImplementedError

    def answers(self, model: Any, parameters: Parameters, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """What the model says, (replica, batch, asked, n_outputs), and the targets (replica, batch, asked)."""
        draw = numbers[:, self.own_numbers :] if self.n_uniform else None
        batch = self.made(*self.arrays(numbers))
        return model(parameters, batch.symbols, batch.features, draw)[:, :, self.asked], batch.target

    def loss(self, model: Any, parameters: Parameters, numbers: Tensor) -> Tensor:
        said, target = self.answers(model, parameters, numbers)
        if self.real:
            return (said[..., 0] - target).square().mean((1, 2))
        return surprise(said, target)

    def score(self, model: Any, parameters: Parameters, numbers: Tensor) -> Tensor:
        """Score (replica,) of a batch."""
        said, target = self.answers(model, parameters, numbers)
        if self.real:
            return 1 - (said[..., 0] - target).square().mean((1, 2)) / target.square().mean((1, 2))
        return (said.argmax(-1) == target).double().mean((1, 2))

    def largest_array(self, model: Any) -> int:
        return self.batch * self.length * max(4 * self.length, 64)


def surprise(said: Tensor, target: Tensor) -> Tensor:
    """Mean negative log likelihood (replica,) of targets (replica, batch, asked), codes as real numbers."""
    logs = said.log_softmax(-1).gather(-1, target.long()[..., None])
    return -logs.mean((1, 2, 3))
