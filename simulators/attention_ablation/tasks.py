"""Tasks for stacks of attention and its variants: recall of a pair, copying at an offset, and regression in context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from attnlab.simulators.ensemble.layout import Parameters


@dataclass(frozen=True)
class Recall:
    """Tokens k1 v1 ... kn vn k: n different keys of ``n_keys``, independent values of ``n_values``, then one of the keys; its
    value."""

    n_pairs: int
    n_keys: int
    n_values: int
    batch: int

    n_last: ClassVar[int] = 1

    @property
    def n_positions(self) -> int:
        return 2 * self.n_pairs + 1

    @property
    def n_inputs(self) -> int:
        return self.n_keys + self.n_values

    @property
    def n_outputs(self) -> int:
        return self.n_values

    @property
    def numbers_per_step(self) -> int:
        return self.batch * (self.n_keys + self.n_pairs + 1)

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        numbers.uniform_(generator=stream)

    def sequences(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """One-hot tokens ``(replica, batch, position, n_inputs)`` and answers ``(replica, batch, 1)``."""
        R, B, n = len(numbers), self.batch, self.n_pairs
        u, v, at = numbers.view(R, B, -1).split([self.n_keys, n, 1], -1)
        keys = u.argsort(-1)[..., :n]
        values = (v * self.n_values).long().clamp_max(self.n_values - 1)
        asked = (at * n).long().clamp_max(n - 1)
        pairs = torch.stack([keys, values + self.n_keys], -1).view(R, B, 2 * n)
        ids = torch.cat([pairs, keys.gather(-1, asked)], -1)
        tokens = (ids[..., None] == torch.arange(self.n_inputs)).to(numbers)
        return tokens, values.gather(-1, asked)

    def loss(self, model: Any, parameters: Parameters, numbers: Tensor) -> Tensor:
        """Cross-entropy ``(replica,)`` of the answers."""
        tokens, answers = self.sequences(numbers)
        logits = model.forward(parameters, tokens, self.n_last)
        found = cross_entropy(logits.flatten(0, 2), answers.flatten(), reduction="none")
        return found.view(len(numbers), -1).mean(1)

    def largest_array(self, model: Any) -> int:
        return self.batch * self.n_positions * max(self.n_inputs, model.width)


@dataclass(frozen=True)
class Copy(Recall):
    """Random tokens of ``n_values``; at every position from ``n_pairs`` on, the token ``n_pairs`` positions before. ``n_keys``
    tokens."""

    @property
    def n_positions(self) -> int:
        return self.n_keys

    @property
    def n_last(self) -> int:  # type: ignore[override]
        return self.n_keys - self.n_pairs

    @property
    def n_inputs(self) -> int:
        return self.n_values

    @property
    def numbers_per_step(self) -> int:
        return self.batch * self.n_keys

    def sequences(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        ids = (numbers.view(len(numbers), self.batch, -1) * self.n_values).long().clamp_max(self.n_values - 1)
        return (ids[..., None] == torch.arange(self.n_values)).to(numbers), ids[..., : self.n_last]


@dataclass(frozen=True)
class Regression:
    """``n_context`` examples [x; y; 0] of a linear map with N(0, I/dim) weights, x standard normal, then [x; 0; 1]; squared
    error of y."""

    dim: int
    n_context: int
    batch: int

    n_last: ClassVar[int] = 1
    n_outputs: ClassVar[int] = 1

    @property
    def n_positions(self) -> int:
        return self.n_context + 1

    @property
    def n_inputs(self) -> int:
        return self.dim + 2

    @property
    def numbers_per_step(self) -> int:
        return self.batch * self.dim * (self.n_context + 2)

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        numbers.normal_(generator=stream)

    def sequences(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens ``(replica, batch, position, dim + 2)`` and answers ``(replica, batch)``."""
        drawn = numbers.view(len(numbers), self.batch, self.n_context + 2, self.dim)
        x, weights = drawn[:, :, :-1], drawn[:, :, -1:] / self.dim**0.5
        y = (x * weights).sum(-1, keepdim=True)
        last = torch.zeros(self.n_positions, 1, dtype=x.dtype)
        last[-1] = 1
        tokens = torch.cat([x, y * (1 - last), last.expand_as(y)], -1)
        return tokens, y[:, :, -1, 0]

    def loss(self, model: Any, parameters: Parameters, numbers: Tensor) -> Tensor:
        """Mean squared error ``(replica,)``."""
        tokens, answers = self.sequences(numbers)
        return ((model.forward(parameters, tokens, 1)[:, :, 0, 0] - answers) ** 2).mean(1)

    def largest_array(self, model: Any) -> int:
        return self.batch * self.n_positions * max(self.n_inputs, model.width)
