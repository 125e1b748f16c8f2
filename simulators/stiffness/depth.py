r"""How much each sub-layer of a pre-norm stack changes the tokens: random stacks, and small transformers before and after
training.

The index of a sub-layer is ||f(X)|| / ||X|| in the Frobenius norm of the token matrix, where the sub-layer adds f(X) to X.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import Adam
from attnlab.simulators.ensemble.plan import Plan
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train


@dataclass(frozen=True)
class StackSetting:
    """A stack of random feed-forward blocks with normalised input and outputs of variance 1, on tokens of variance 1."""

    n_tokens: int = 32
    dim: int = 256
    n_blocks: int = 64
    n_replicas: int = 64

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_tokens", "dim", "n_blocks", "n_replicas")


@simulation(name="stiffness_depth.random_stack", block=8)
def random_stack(setting: StackSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``index (replica, block)`` of blocks :math:`W_2 \\mathrm{relu}(W_1 x / \\mathrm{rms}(x))`, W_1 and W_2 square and
    normal."""
    index = np.zeros((len(seeds), setting.n_blocks))
    d = setting.dim
    for row, stream in enumerate(generators(seeds, "data")):
        x = torch.randn(setting.n_tokens, d, generator=stream)
        for block in range(setting.n_blocks):
            first, second = torch.randn(2, d, d, generator=stream) / d**0.5
            f = 2**0.5 * (_rms_norm(x) @ first).relu() @ second  # relu halves the mean square
            index[row, block] = float(f.norm() / x.norm())
            x = x + f
    return {"index": index}


@dataclass(frozen=True)
class TransformerSetting:
    """Sequences of ``n_tokens`` symbols of ``n_symbols``, one of them marked; the first place has to name the marked symbol.

    ``n_layers`` pre-norm layers of attention and feed-forward, each a sub-layer with its own index; ``n_test`` sequences.
    """

    n_tokens: int = 8
    n_symbols: int = 8
    dim: int = 32
    n_heads: int = 2
    n_layers: int = 6
    batch: int = 16
    learning_rate: float = 1e-3
    n_steps: int = 250
    n_test: int = 512
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(
            self, "dim", "n_heads", "n_layers", "batch", "learning_rate", "n_steps", "n_test", "n_replicas"
        )
        require_at_least(self, 2, "n_tokens", "n_symbols")
        if self.dim % self.n_heads:
            raise ValueError(f"n_heads={self.n_heads!r} does not divide dim={self.dim!r}; use a divisor")


@simulation(name="stiffness_depth.train_transformers", block=16, devices=("cpu", "cuda"))
def train_transformers(
    setting: TransformerSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """``index (replica, when, sub-layer)``, test means before and after training, attention and feed-forward in turn;
    ``increment`` and ``stream``, the root mean squares over test sequences of ||f(X)|| and ||X||, of the same shape;
    ``accuracy (replica, when)``."""
    model = Transformer(setting.n_symbols, setting.n_tokens, setting.dim, setting.n_heads, setting.n_layers)
    task = MarkedSymbol(setting.n_tokens, setting.n_symbols, setting.batch)
    test = torch.stack(
        [torch.rand(task.numbers(setting.n_test), generator=stream) for stream in generators(seeds, "test")]
    )
    before = model.initialise(generators(seeds, "parameters"), torch.float32)
    run = train(model, task, Adam(setting.learning_rate), seeds, Plan(setting.n_steps, device=device))
    both = [
        measure(model, {name: value.cpu() for name, value in each.items()}, task, test)
        for each in (before, run.parameters)
    ]
    return {name: np.stack([each[name].numpy() for each in both], axis=1) for name in both[0]} | {
        "diverged_at": run.diverged_at
    }


@dataclass(frozen=True)
class MarkedSymbol:
    """Cross-entropy of the symbol at the marked place, read at place 0; the mark is at one of the others."""

    n_tokens: int
    n_symbols: int
    batch: int

    @property
    def numbers_per_step(self) -> int:
        return self.numbers(self.batch)

    def numbers(self, n: int) -> int:
        """Random numbers of ``n`` sequences."""
        return n * (self.n_tokens + 1)

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        numbers.uniform_(generator=stream)

    def sequences(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Symbols ``(replica, n, token)``, marked places and their symbols ``(replica, n)``, from uniform numbers."""
        parts = numbers.view(len(numbers), -1, self.n_tokens + 1)
        symbols = (parts[..., :-1] * self.n_symbols).long().clamp_(max=self.n_symbols - 1)
        place = 1 + (parts[..., -1] * (self.n_tokens - 1)).long().clamp_(max=self.n_tokens - 2)
        return symbols, place, symbols.take_along_dim(place[..., None], -1)[..., 0]

    def loss(self, model: Transformer, parameters: Parameters, numbers: Tensor) -> Tensor:
        symbols, place, answer = self.sequences(numbers)
        scores = model(parameters, symbols, place)
        losses = torch.nn.functional.cross_entropy(scores.flatten(0, 1), answer.flatten(), reduction="none")
        return losses.view(answer.shape).mean(1)

    def largest_array(self, model: Transformer) -> int:
        return self.batch * self.n_tokens * 4 * model.dim


@dataclass(frozen=True)
class Transformer:
    r"""Embedding of symbol and mark (variance 1 in all), pre-norm layers, linear read-out of the first place.

    Sub-layers: :math:`\sum_h W^O_h\, \mathrm{softmax}(Q_h K_h^T/\sqrt{d_h}) V_h` and :math:`W_2 \mathrm{relu}(W_1 x)` (width 4
    dim), each on x / rms(x). Weights start normal with variance 1 / fan-in, doubled after relu.
    """

    n_symbols: int
    n_tokens: int
    dim: int
    n_heads: int
    n_layers: int

    @property
    def n_sublayers(self) -> int:
        return 2 * self.n_layers

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        d, L = self.dim, self.n_layers
        shapes = {
            "symbol": ((self.n_symbols, d), 0.5),
            "mark": ((2, d), 0.5),
            "qkv": ((L, d, 3 * d), 1 / d),
            "out": ((L, d, d), 1 / d),
            "first": ((L, d, 4 * d), 1 / d),
            "second": ((L, 4 * d, d), 0.5 / d),
            "leave": ((d, self.n_symbols), 1 / d),
        }
        return {
            name: torch.stack([variance**0.5 * torch.randn(shape, generator=stream, dtype=dtype) for stream in streams])
            for name, (shape, variance) in shapes.items()
        }

    def __call__(self, parameters: Parameters, symbols: Tensor, place: Tensor) -> Tensor:
        """Scores ``(replica, batch, symbol)`` at the first place."""
        x = self.embed(parameters, symbols, place)
        for number in range(self.n_sublayers):
            x = x + self.sublayer(parameters, number, x)
        return self.read(parameters, x)

    def embed(self, parameters: Parameters, symbols: Tensor, place: Tensor) -> Tensor:
        """Tokens ``(replica, batch, token, dim)``."""
        rows = torch.arange(len(symbols), device=symbols.device)[:, None, None]
        marked = (torch.arange(self.n_tokens, device=symbols.device) == place[..., None]).long()
        return parameters["symbol"][rows, symbols] + parameters["mark"][rows, marked]

    def sublayer(self, parameters: Parameters, number: int, x: Tensor) -> Tensor:
        """What sub-layer ``number`` adds to the tokens."""
        layer, z = number // 2, _rms_norm(x)
        if number % 2:
            return (z @ parameters["first"][:, None, layer]).relu() @ parameters["second"][:, None, layer]
        R, B, n, d = x.shape
        q, k, v = (
            (z @ parameters["qkv"][:, None, layer]).view(R, B, n, 3 * self.n_heads, -1).transpose(2, 3).chunk(3, dim=2)
        )
        heads = attention(q, k, v)  # (replica, batch, head, token, head_dim)
        return heads.transpose(2, 3).reshape(R, B, n, d) @ parameters["out"][:, None, layer]

    def read(self, parameters: Parameters, x: Tensor) -> Tensor:
        """Scores from the first place of the final tokens."""
        return _rms_norm(x[:, :, 0]) @ parameters["leave"]


@torch.no_grad()
def measure(model: Transformer, parameters: Parameters, task: Any, numbers: Tensor) -> dict[str, Tensor]:
    """Indices, norms and accuracy on test sequences; names as in :func:`train_transformers`."""
    symbols, place, answer = task.sequences(numbers)
    x, index, increment, stream = model.embed(parameters, symbols, place), [], [], []
    for number in range(model.n_sublayers):
        f = model.sublayer(parameters, number, x)
        change, size = f.flatten(-2).norm(dim=-1).double(), x.flatten(-2).norm(dim=-1).double()
        index.append((change / size).mean(1))
        increment.append((change**2).mean(1).sqrt())
        stream.append((size**2).mean(1).sqrt())
        x = x + f
    right = model.read(parameters, x).argmax(-1) == answer
    return {
        "index": torch.stack(index, dim=-1),
        "increment": torch.stack(increment, dim=-1),
        "stream": torch.stack(stream, dim=-1),
        "accuracy": right.double().mean(1),
    }


def _rms_norm(x: Tensor) -> Tensor:
    return x / x.square().mean(-1, keepdim=True).sqrt()
