r"""Looking up a source in one softmax with a growing target: one trained layer, a bias on source scores, or a branch beside it.

Fu et al. 2023 (arXiv 2304.04052). The source holds n pairs of a key and a value in any order, the target is n_target tokens of
random keys, and each of them asks for the value that the source stores with its key; earlier tokens of its key compete. With
:math:`S` source and target scores in one softmax, :math:`y = e + W_O\, \mathrm{softmax}(S)\, V` is read out linearly.

- ``joint``: one softmax;
- ``biased``: :math:`\ln(n + t)` is added to the source's scores, in training and test;
- ``branch``: the output of a softmax over the source alone is added, with an output matrix of its own (partial attention).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import Adam
from attnlab.simulators.ensemble.plan import Plan
from attnlab.simulators.ensemble.schedules import cosine
from attnlab.simulators.ensemble.setting import checked, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train

LAYERS = ("joint", "biased", "branch")


@dataclass(frozen=True)
class LookupSetting:
    """``n_source`` keys and as many values; trained on ``n_target`` target tokens and tested at each of ``target_lengths``.

    ``layer`` of ``dim`` numbers; Adam at ``rate``, which falls as a cosine, for ``n_steps`` steps of ``batch`` sequences.
    ``n_test`` fresh sequences per length.
    """

    layer: str = "joint"
    n_source: int = 8
    n_target: int = 16
    target_lengths: tuple[int, ...] = (16, 64, 256, 1024)
    dim: int = 16
    batch: int = 32
    rate: float = 0.005
    n_steps: int = 700
    n_test: int = 128
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_one_of(self, "layer", LAYERS)
        require_positive(self, "n_source", "n_target", "target_lengths", "dim", "batch", "rate", "n_steps", "n_test")
        require_positive(self, "n_replicas")
        require_every_key(self)


def require_every_key(setting: Any) -> None:
    """``ValueError`` unless a test asks for all keys equally often."""
    if setting.n_test % setting.n_source:
        raise ValueError(
            f"n_test={setting.n_test} is not a multiple of n_source={setting.n_source}: all keys are asked for"
        )


def normal_start(
    shapes: Mapping[str, tuple[int, ...]], dim: int, streams: Sequence[torch.Generator], dtype: torch.dtype
) -> Parameters:
    """Normal entries, (replica, *shape) by name: embeddings "token" of variance 1, matrices of variance 1 / dim."""
    start = {}
    for name, shape in shapes.items():
        std = 1.0 if name == "token" else dim**-0.5
        start[name] = torch.stack([std * torch.randn(shape, generator=each, dtype=dtype) for each in streams])
    return start


@dataclass(frozen=True)
class SourceLayer:
    """The layer on tokens of 2 n + 2 numbers: key, value, and whether of source or target, all one-hot."""

    layer: str
    n_source: int
    dim: int

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        """Normal entries: embeddings of variance 1, matrices of variance 1 / rows."""
        d, n = self.dim, self.n_source
        shapes = {"token": (2 * n + 2, d), "read": (d, n)} | dict.fromkeys(("query", "key", "value", "out"), (d, d))
        if self.layer == "branch":
            shapes["branch"] = (d, d)
        return normal_start(shapes, d, streams, dtype)

    def scores(self, parameters: Parameters, tokens: Tensor, n_last: int) -> Tensor:
        """``(replica, batch, query, token)`` of the last queries; those of later tokens are -10 000."""
        e = tokens @ parameters["token"][:, None]
        q, k = e[:, :, -n_last:] @ parameters["query"][:, None], e @ parameters["key"][:, None]
        L, n = tokens.shape[2], self.n_source
        seen = torch.tril(torch.ones(L, L, dtype=tokens.dtype))[-n_last:]
        s = q @ k.mT / self.dim**0.5 + (seen - 1) * 1e4
        if self.layer == "biased":
            lengths = torch.arange(L - n_last + 1, L + 1, dtype=tokens.dtype)  # n + t
            s = s + torch.log(lengths)[:, None] * (torch.arange(L) < n).to(tokens)
        return s

    def __call__(self, parameters: Parameters, tokens: Tensor, n_last: int) -> Tensor:
        """Logits ``(replica, batch, query, value)``."""
        e = tokens @ parameters["token"][:, None]
        v, s = e @ parameters["value"][:, None], self.scores(parameters, tokens, n_last)
        y = e[:, :, -n_last:] + torch.softmax(s, -1) @ v @ parameters["out"][:, None]
        if self.layer == "branch":
            n = self.n_source
            y = y + torch.softmax(s[..., :n], -1) @ v[:, :, :n] @ parameters["branch"][:, None]
        return y @ parameters["read"][:, None]


@dataclass(frozen=True)
class Lookup:
    """Sources and targets, and the cross-entropy at the last ``n_last`` target tokens."""

    n_source: int
    n_target: int
    batch: int
    n_last: int

    @property
    def numbers_per_step(self) -> int:
        return self.batch * (2 * self.n_source + self.n_target)

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        numbers.uniform_(generator=stream)

    def sequences(self, numbers: Tensor, every_key: bool = False) -> tuple[Tensor, Tensor]:
        """One-hot tokens ``(replica, batch, n + t, 2 n + 2)`` and answers ``(replica, batch, n_last)``.

        ``every_key``: the last tokens of successive sequences have the keys 0, 1, ... in turn.
        """
        n, t = self.n_source, self.n_target
        drawn = numbers.view(len(numbers), self.batch, -1)
        keys = (drawn * n).long().clamp_max(n - 1)
        values, asked = keys[..., n : 2 * n], keys[..., 2 * n :]
        if every_key:
            own = (torch.arange(self.batch) % n).expand(len(numbers), -1)[..., None]
            asked = torch.cat([asked[..., :-1], own], -1)
        words = torch.arange(n)
        # source token j holds key j: without positions its place does not matter, and values are independent
        key = torch.cat([words.expand(*asked.shape[:2], n), asked], -1)[..., None] == words
        value = values[..., None] == words
        is_source = (torch.arange(n + t) < n)[:, None].expand(*key.shape[:3], 1)
        none = torch.zeros_like(key[:, :, n:])
        tokens = torch.cat([key, torch.cat([value, none], 2), is_source, ~is_source], -1).to(numbers)
        return tokens, values.gather(-1, asked[..., -self.n_last :])

    def loss(self, model: SourceLayer, parameters: Parameters, numbers: Tensor) -> Tensor:
        """Cross-entropy ``(replica,)``."""
        tokens, answers = self.sequences(numbers)
        return nats(model(parameters, tokens, self.n_last), answers).mean((1, 2))

    def largest_array(self, model: SourceLayer) -> int:
        L = self.n_source + self.n_target
        return self.batch * L * max(2 * self.n_source + 2, model.dim, self.n_last)


def nats(logits: Tensor, answers: Tensor) -> Tensor:
    """Cross-entropies ``(replica, batch, query)``."""
    return cross_entropy(logits.flatten(0, 2), answers.flatten(), reduction="none").view(answers.shape)


def fresh(
    task: Lookup, lengths: Sequence[int], n_test: int, seeds: Sequence[np.random.SeedSequence]
) -> Iterator[tuple[Tensor, Tensor]]:
    """For each length of the target ``n_test`` sequences of each replica and the answers at their last token."""
    streams = random_streams.generators(seeds, "test")
    for t in lengths:
        test = replace(task, n_target=t, batch=n_test, n_last=1)
        numbers = torch.empty(len(seeds), test.numbers_per_step)
        for row, stream in zip(numbers, streams, strict=True):
            test.fill(row, stream)
        yield test.sequences(numbers, every_key=True)


@simulation(name="source_attention.lookup", block=8)
def lookup(setting: LookupSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """At the last token of fresh sequences of each length, the keys that are asked for in turn, ``(replica, length)``: ``nats``,
    the mean cross-entropy, ``start_nats`` before training, ``odds``, the mean of (1 - m) / m, m the source's share of the
    softmax, and ``mass``, the mean of m, ``start_mass`` before training.

    For theory, exponentials of scores: ``own (replica, key)`` of a token with itself, ``target (replica, key)`` with target
    tokens, mean over keys, ``square``, of squares, ``middle``, the exponential of the mean score; ``inverse (replica, length,
    key)`` and ``inverse2``: means over sequences of one over the sum over source tokens, and of its square.
    """
    model = SourceLayer(setting.layer, setting.n_source, setting.dim)
    task = Lookup(setting.n_source, setting.n_target, setting.batch, setting.n_target)
    start = model.initialise(random_streams.generators(seeds, "parameters"), torch.float32)
    run = train(
        model,
        task,
        Adam(setting.rate, schedule=cosine(setting.n_steps)),
        seeds,
        Plan(setting.n_steps, loss_steps=(setting.n_steps,), label=setting.layer),
    )
    trained = {name: x.cpu() for name, x in run.parameters.items()}
    names = ("nats", "start_nats", "odds", "mass", "start_mass", "inverse", "inverse2")
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    for tokens, answers in fresh(task, setting.target_lengths, setting.n_test, seeds):
        with torch.no_grad():
            found["nats"].append(nats(model(trained, tokens, 1), answers).mean((1, 2)))
            found["start_nats"].append(nats(model(start, tokens, 1), answers).mean((1, 2)))
            source, target = _sums(model, trained, tokens)
            first, rest = _sums(model, start, tokens)
        found["odds"].append((target / source).mean(1))
        found["mass"].append((source / (source + target)).mean(1))
        found["start_mass"].append((first / (first + rest)).mean(1))
        n = setting.n_source
        inverse = (1 / source).view(len(seeds), -1, n)  # (replica, round, key)
        found["inverse"].append(inverse.mean(1))
        found["inverse2"].append((inverse**2).mean(1))
    return {name: torch.stack(each, 1).double().numpy() for name, each in found.items()} | _tables(model, trained)


def _sums(model: SourceLayer, parameters: Parameters, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Exponentials of the last token's scores, summed over source and over target, ``(replica, sequence)``."""
    weights = model.scores(parameters, tokens, 1).double()[:, :, 0].exp()
    return weights[..., : model.n_source].sum(-1), weights[..., model.n_source :].sum(-1)


def _tables(model: SourceLayer, parameters: Parameters) -> dict[str, np.ndarray]:
    n = model.n_source
    with torch.no_grad():
        keys = torch.cat([torch.eye(n), torch.zeros(n, n + 1), torch.ones(n, 1)], -1)  # all target tokens
        e = keys @ parameters["token"]
        s = (e @ parameters["query"]) @ (e @ parameters["key"]).mT / model.dim**0.5
        s = s.double().numpy()
    weights = np.exp(s)
    own = np.diagonal(weights, axis1=1, axis2=2).copy()
    return {"own": own, "target": weights.mean(2), "square": (weights**2).mean(2), "middle": np.exp(s.mean(2))}
