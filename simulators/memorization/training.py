r"""One multi-head attention layer trained to memorise random labels.

Mahdavi et al. (arXiv 2306.02010), the synthetic experiment. Example t has a query, n context tokens (shared by all examples or
its own), all uniform on [0, 1)^d, and a random class or a uniform real label. A linear map with bias embeds query and tokens,
sinusoids of the position are added (the query stands at 0), H heads of width d_h with one value each attend from the query to
the tokens with logits over the root of d, and W_O (H, d) and a linear map with bias read the values out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import Adam
from attnlab.simulators.ensemble.plan import Plan, log_spaced_steps
from attnlab.simulators.ensemble.schedules import cosine, warmup
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train as train_ensemble


@dataclass(frozen=True)
class Setting:
    """``n_classes``: 0 for real labels and squared error, else classes and cross entropy. ``batch`` >= n_examples: all examples.

    ``warmup_share``: part of the steps in which the learning rate rises; then it falls to zero along a cosine.
    """

    dim: int = 8
    n_context: int = 4
    n_heads: int = 4
    head_dim: int = 8
    n_examples: int = 256
    n_classes: int = 8
    shared: bool = True
    learning_rate: float = 1e-2
    warmup_share: float = 0.05
    batch: int = 256
    n_steps: int = 2_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(
            self,
            "dim",
            "n_context",
            "n_heads",
            "head_dim",
            "n_examples",
            "learning_rate",
            "warmup_share",
            "batch",
            "n_steps",
            "n_replicas",
        )
        require_at_least(self, 0, "n_classes")
        if self.n_classes == 1:
            raise ValueError("n_classes=1 leaves nothing to learn; use 2 or more, or 0 for real labels")


@simulation(name="memorization.memorise", block=16, devices=("cpu", "cuda"))
def memorise(setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Train one layer per replica on its own examples, and see what it has memorised of them.

    ``memorised (replica,)``: examples whose class has the largest logit (0 for real labels), ``most_frequent``: the size of
    the largest class. ``mse``: mean squared error (0 for classes), ``label_variance``. ``largest_weight (replica, T, H)``.
    ``spectrum``: singular values of the features [z_1, ..., z_H] in float64 over the largest. ``n_parameters``, ``loss`` along
    ``steps``, ``diverged_at``.
    """
    model = Layer(setting.dim, setting.n_context, setting.n_heads, setting.head_dim, max(setting.n_classes, 1))
    task = Memory.draw(setting, seeds, device)
    steps = log_spaced_steps(setting.n_steps, 40)
    rise = warmup(max(1, round(setting.warmup_share * setting.n_steps)), cosine(setting.n_steps))
    run = train_ensemble(
        model,
        task,
        Adam(setting.learning_rate, schedule=rise),
        seeds,
        Plan(setting.n_steps, loss_steps=steps, device=device),
    )
    with torch.no_grad():
        learnt = {name: value.double() for name, value in run.parameters.items()}
        found = task.double().evaluate(model, learnt)
    count = sum(value[0].numel() for value in learnt.values())
    return {name: value.cpu().numpy() for name, value in found.items()} | {
        "steps": np.tile(steps, (len(seeds), 1)),
        "loss": run.loss,
        "diverged_at": run.diverged_at,
        "n_parameters": np.full(len(seeds), count),
    }


@dataclass(frozen=True)
class Layer:
    """The model; parameters ``embed (replica, d, d)``, ``W_Q, W_K (replica, H, d, d_h)``, ``W_V, W_O (replica, H, d)``, ``out``.

    Xavier-uniform heads and W_O; embedding and readout uniform within the root of one over the fan-in, biases too.
    """

    dim: int
    n_context: int
    n_heads: int
    head_dim: int
    n_out: int

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        d, H, k, C = self.dim, self.n_heads, self.head_dim, self.n_out
        shapes = {
            "embed": ((d, d), d**-0.5),
            "embed_bias": ((d,), d**-0.5),
            "W_Q": ((H, d, k), (6 / (d + k)) ** 0.5),
            "W_K": ((H, d, k), (6 / (d + k)) ** 0.5),
            "W_V": ((H, d), (6 / (d + 1)) ** 0.5),
            "W_O": ((H, d), (6 / (d + H)) ** 0.5),
            "out": ((d, C), d**-0.5),
            "out_bias": ((C,), d**-0.5),
        }
        return {
            name: torch.stack(
                [torch.empty(shape, dtype=dtype).uniform_(-limit, limit, generator=each) for each in streams]
            )
            for name, (shape, limit) in shapes.items()
        }

    def __call__(self, parameters: Parameters, queries: Tensor, contexts: Tensor) -> Tensor:
        """Outputs ``(replica, T, C)`` for queries ``(replica, T, d)`` and contexts ``(replica, n, d)`` or with T before n."""
        tokens = self.tokens(parameters, contexts)
        values = tokens @ parameters["W_V"].mT[(slice(None), *(None,) * (tokens.ndim - 3))]  # (..., n, H)
        values = values.mT[:, None] if contexts.ndim == 3 else values.mT  # (replica, 1 or T, H, n)
        heads = (self.weights(parameters, queries, tokens) * values).sum(-1)  # (replica, T, H)
        return heads @ (parameters["W_O"] @ parameters["out"]) + parameters["out_bias"][:, None]

    def tokens(self, parameters: Parameters, contexts: Tensor) -> Tensor:
        """Embedded context tokens with their positions."""
        return self._embedded(parameters, contexts, range(1, self.n_context + 1))

    def weights(self, parameters: Parameters, queries: Tensor, tokens: Tensor) -> Tensor:
        """Attention weights ``(replica, T, H, n)``."""
        asked = self._embedded(parameters, queries, [0])
        R, T, d = asked.shape
        H = self.n_heads
        if tokens.ndim == 3:
            keys = torch.einsum("rnd,rhdk->rhkn", tokens, parameters["W_K"])
            directions = (parameters["W_Q"] @ keys).permute(0, 2, 1, 3).reshape(R, d, -1)  # (replica, d, H n)
            logits = (asked @ directions).view(R, T, H, -1)
        else:
            maps = (parameters["W_Q"] @ parameters["W_K"].mT).permute(0, 2, 1, 3).reshape(R, d, -1)
            logits = (asked @ maps).view(R, T, H, d) @ tokens.mT
        return torch.softmax(logits / d**0.5, dim=-1)

    def _embedded(self, parameters: Parameters, X: Tensor, places: Sequence[int]) -> Tensor:
        lead = (slice(None), *(None,) * (X.ndim - 3))
        there = positions(places, self.dim).to(X)
        return X @ parameters["embed"][lead] + parameters["embed_bias"][lead][..., None, :] + there


def positions(places: Sequence[int], dim: int) -> Tensor:
    """Sinusoids of whole positions, ``(place, dim)``: sines in even, cosines in odd coordinates (Vaswani et al. 2017)."""
    rates = 10_000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    angles = torch.tensor(list(places), dtype=torch.float64)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :dim]


@dataclass(frozen=True)
class Memory:
    """The examples of all replicas: ``queries (replica, T, d)``, ``contexts``, ``labels (replica, T)``."""

    queries: Tensor
    contexts: Tensor
    labels: Tensor
    batch: int

    @classmethod
    def draw(cls, setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str) -> Memory:
        """Examples of each replica from its own stream."""
        T, n, d = setting.n_examples, setting.n_context, setting.dim
        rows = []
        for stream in random_streams.generators(seeds, "examples"):
            shape = (n, d) if setting.shared else (T, n, d)
            labels = (
                torch.randint(setting.n_classes, (T,), generator=stream)
                if setting.n_classes
                else torch.rand(T, generator=stream)
            )
            rows.append((torch.rand(T, d, generator=stream), torch.rand(shape, generator=stream), labels))
        return cls(*(torch.stack(column).to(device) for column in zip(*rows, strict=True)), setting.batch)

    @property
    def numbers_per_step(self) -> int:
        return 0 if self.batch >= self.labels.shape[1] else self.batch

    def part(self, rows: slice) -> Memory:
        """The examples of some replicas."""
        return replace(self, queries=self.queries[rows], contexts=self.contexts[rows], labels=self.labels[rows])

    def double(self) -> Memory:
        """The same examples in float64."""
        labels = self.labels if self.labels.dtype == torch.int64 else self.labels.double()
        return replace(self, queries=self.queries.double(), contexts=self.contexts.double(), labels=labels)

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        numbers.uniform_(generator=stream)

    def loss(self, model: Layer, parameters: Parameters, numbers: Tensor | None) -> Tensor:
        queries, contexts, labels = self.queries, self.contexts, self.labels
        if numbers is not None:
            index = (numbers * labels.shape[1]).long().clamp_max(labels.shape[1] - 1)
            row = torch.arange(len(labels), device=labels.device)[:, None]
            queries, labels = queries[row, index], labels[row, index]
            contexts = contexts[row, index] if contexts.ndim == 4 else contexts
        out = model(parameters, queries, contexts)
        if labels.dtype == torch.int64:
            return torch.nn.functional.cross_entropy(out.mT, labels, reduction="none").mean(1)
        return ((out[..., 0] - labels) ** 2).mean(1)

    def largest_array(self, model: Layer) -> int:
        return (
            min(self.batch, self.labels.shape[1])
            * model.n_heads
            * max(model.n_context, model.dim if self.contexts.ndim == 4 else 0)
        )

    def evaluate(self, model: Layer, parameters: Parameters) -> dict[str, Tensor]:
        """What is memorised, attention weights, and the spectrum of the features."""
        out, labels = model(parameters, self.queries, self.contexts), self.labels
        tokens = model.tokens(parameters, self.contexts)
        weights = model.weights(parameters, self.queries, tokens)
        Z = (weights @ (tokens[:, None] if tokens.ndim == 3 else tokens)).flatten(2)  # (replica, T, H d)
        values = torch.linalg.svdvals(Z)
        nothing = torch.zeros(len(labels), dtype=torch.float64)
        if labels.dtype == torch.int64:
            sizes = torch.nn.functional.one_hot(labels).sum(1).amax(1)
            scores = {
                "memorised": (out.argmax(-1) == labels).sum(1),
                "most_frequent": sizes,
                "mse": nothing,
                "label_variance": nothing,
            }
        else:
            scores = {
                "memorised": nothing,
                "most_frequent": nothing,
                "mse": ((out[..., 0] - labels) ** 2).mean(1),
                "label_variance": labels.var(1, correction=0),
            }
        return scores | {"largest_weight": weights.amax(-1), "spectrum": values / values[:, :1]}
