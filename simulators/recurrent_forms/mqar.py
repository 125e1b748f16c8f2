r"""Multi-query associative recall by one trained layer in one form: softmax and linear attention, a selective state space model
and a gated recurrence.

Sieber et al. 2024 (arXiv 2405.15731), section 3. A token u is a pair of a key and a value, or a key that is asked for. All
layers are :math:`y_i = \sum_{j \le i} C_i A_i \cdots A_{j+1} B_j v_j` with a linear read-out of :math:`y_i`:

- ``softmax``: weights :math:`e^{q_i \cdot k_j/\sqrt n}` over their sum, no finite state;
- ``linear``: :math:`\phi(q_i) \cdot \phi(k_j)` over their sum, :math:`\phi = \mathrm{elu} + 1`, n states per channel;
- ``ssd``: :math:`\Delta_j\, q_i \cdot k_j\, e^{-a (\Delta_{j+1} + \dots + \Delta_i)}`, :math:`\Delta` a softplus of the token;
- ``gated``: :math:`\sigma(W_o u_i)\, \sigma(W_f u_i) \cdots \sigma(W_f u_{j+1})\, \sigma(W_i u_j)` per channel, one state each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, elu, softplus

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import Adam
from attnlab.simulators.ensemble.plan import Plan
from attnlab.simulators.ensemble.schedules import cosine
from attnlab.simulators.ensemble.setting import checked, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train

FORMS = ("softmax", "linear", "ssd", "gated")
REMEMBERS = 3.0  # logit of a forget gate at the start: it keeps 95 % per token
STEP = 0.1  # step of a selective model at the start


@dataclass(frozen=True)
class MqarSetting:
    """``n_pairs`` pairs of different keys and independent values, ``n_words`` of each, then ``n_queries`` of these keys.

    ``form`` of the layer, ``n_state`` numbers of a query and a key (a gated recurrence has one), ``n_channels`` channels. Adam
    at ``rate``, which falls as a cosine, for ``n_steps`` steps of ``batch`` prompts; ``n_test`` fresh prompts test.
    """

    form: str = "linear"
    n_state: int = 4
    n_pairs: int = 8
    n_queries: int = 4
    n_words: int = 16
    n_channels: int = 16
    batch: int = 16
    rate: float = 0.02
    n_steps: int = 500
    n_test: int = 500
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_one_of(self, "form", FORMS)
        require_positive(self, "n_state", "n_pairs", "n_queries", "n_words", "n_channels", "batch", "rate", "n_steps")
        require_positive(self, "n_test", "n_replicas")
        if not self.n_queries <= self.n_pairs <= self.n_words:
            raise ValueError(
                f"n_queries={self.n_queries}, n_pairs={self.n_pairs}, n_words={self.n_words} must not fall: keys of a "
                "prompt differ, and only stored ones are asked for"
            )


@dataclass(frozen=True)
class Layer:
    """One layer on tokens of 2 ``n_words`` + 1 numbers: a key, a value, and whether it is a query, all one-hot."""

    form: str
    n_state: int
    n_channels: int
    n_words: int

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        """Normal maps of tokens; the read-out has variance 1 / channels. Biases as :data:`REMEMBERS` and :data:`STEP` say."""
        inputs, n, d = 2 * self.n_words + 1, self.n_state, self.n_channels
        shapes = {"value": (inputs, d), "read": (d, self.n_words)}
        if self.form == "gated":
            shapes |= {name: (inputs, d) for name in ("forget", "input", "output")}
        else:
            shapes |= {"query": (inputs, n), "key": (inputs, n)}
        if self.form == "ssd":
            shapes |= {"step": (inputs,)}
        start = {}
        for name, shape in shapes.items():
            std = {"read": d**-0.5, "step": 0.1, "forget": 0.1}.get(name, 1.0)
            start[name] = torch.stack([std * torch.randn(shape, generator=each, dtype=dtype) for each in streams])
        R = len(streams)
        if self.form == "gated":
            start["kept"] = torch.full((R, d), REMEMBERS, dtype=dtype)
        if self.form == "ssd":
            start |= {"pace": torch.full((R,), math.log(math.expm1(STEP)), dtype=dtype)}
            start |= {"log_rate": torch.zeros(R, dtype=dtype)}
        return start

    def __call__(self, parameters: Parameters, tokens: Tensor, n_queries: int) -> Tensor:
        """Logits ``(replica, batch, query, word)`` of the last tokens of ``tokens (replica, batch, token, input)``."""
        L, Q = tokens.shape[2], n_queries
        seen = torch.tril(torch.ones(L, L, dtype=tokens.dtype))[-Q:]  # (query, token)
        v = tokens @ parameters["value"][:, None]
        if self.form == "gated":
            y = self._gated(parameters, tokens, seen, v)
        else:
            y = self._weights(parameters, tokens, seen) @ v
        return y @ parameters["read"][:, None]

    def _weights(self, parameters: Parameters, tokens: Tensor, seen: Tensor) -> Tensor:
        """``(replica, batch, query, token)``."""
        Q = len(seen)
        q = tokens[:, :, -Q:] @ parameters["query"][:, None]
        k = tokens @ parameters["key"][:, None]
        if self.form == "softmax":
            return torch.softmax(q @ k.mT / self.n_state**0.5 + (seen - 1) * 1e4, -1)
        if self.form == "linear":
            weights = ((elu(q) + 1) @ (elu(k) + 1).mT) * seen
            return weights / weights.sum(-1, keepdim=True)
        step = softplus((tokens * parameters["step"][:, None, None]).sum(-1) + parameters["pace"][:, None, None])
        decay = torch.exp(parameters["log_rate"])[:, None, None, None] * _since(step[..., None], Q)[..., 0]
        return (q @ k.mT) * step[:, :, None] * torch.exp(-decay * seen) * seen

    def _gated(self, parameters: Parameters, tokens: Tensor, seen: Tensor, v: Tensor) -> Tensor:
        """``(replica, batch, query, channel)``."""
        Q = len(seen)
        forgets = softplus(
            -(tokens @ parameters["forget"][:, None] + parameters["kept"][:, None, None])
        )  # -ln of a gate
        kept = (
            torch.exp(-_since(forgets, Q) * seen[..., None]) * seen[..., None]
        )  # (replica, batch, query, token, channel)
        written = torch.sigmoid(tokens @ parameters["input"][:, None]) * v
        read = torch.sigmoid(tokens[:, :, -Q:] @ parameters["output"][:, None])
        return read * (kept * written[:, :, None]).sum(3)


def _since(x: Tensor, Q: int) -> Tensor:
    """Sums of ``x (replica, batch, token, channel)`` over tokens after j up to i: ``(replica, batch, i, j, channel)``, i a
    query."""
    L = x.shape[2]
    total = torch.tril(torch.ones(L, L, dtype=x.dtype)) @ x
    return total[:, :, -Q:, None] - total[:, :, None]


@dataclass(frozen=True)
class Mqar:
    """Prompts of stored pairs and queries; the cross-entropy of their values."""

    n_pairs: int
    n_queries: int
    n_words: int
    batch: int

    @property
    def numbers_per_step(self) -> int:
        return self.batch * (self.n_words + 2 * self.n_pairs)

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        numbers.uniform_(generator=stream)

    def prompts(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """One-hot tokens ``(replica, batch, pair or query, input)`` and answers ``(replica, batch, query)``."""
        R, N, W = len(numbers), self.n_pairs, self.n_words
        u, v, order = numbers.view(R, self.batch, -1).split([W, N, N], -1)
        keys = u.argsort(-1)[..., :N]
        values = (v * W).long().clamp_max(W - 1)
        asked = order.argsort(-1)[..., : self.n_queries]
        words = torch.arange(W)
        key = (torch.cat([keys, keys.gather(-1, asked)], -1)[..., None] == words).to(numbers)
        value = (values[..., None] == words).to(numbers)
        query = torch.ones_like(key[:, :, N:, :1])
        stored = torch.cat([key[:, :, :N], value, torch.zeros_like(value[..., :1])], -1)
        questions = torch.cat([key[:, :, N:], torch.zeros_like(key[:, :, N:]), query], -1)
        return torch.cat([stored, questions], 2), values.gather(-1, asked)

    def loss(self, model: Layer, parameters: Parameters, numbers: Tensor) -> Tensor:
        """Cross-entropy ``(replica,)``."""
        tokens, answers = self.prompts(numbers)
        logits = model(parameters, tokens, self.n_queries)
        found = cross_entropy(logits.flatten(0, 2), answers.flatten(), reduction="none")
        return found.view(len(numbers), -1).mean(1)

    def largest_array(self, model: Layer) -> int:
        each = model.n_channels * self.n_queries if model.form == "gated" else 2 * self.n_words + 1
        return self.batch * (self.n_pairs + self.n_queries) * each


@simulation(name="recurrent_forms.mqar", block=16)
def mqar(setting: MqarSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``accuracy (replica,)`` on fresh prompts after training, ``start`` before, and the cross-entropy ``loss`` of the last
    tenth of the steps."""
    model = Layer(setting.form, setting.n_state, setting.n_channels, setting.n_words)
    task = Mqar(setting.n_pairs, setting.n_queries, setting.n_words, setting.batch)
    start = model.initialise(random_streams.generators(seeds, "parameters"), torch.float32)
    tenth = max(1, setting.n_steps // 10)
    run = train(
        model,
        task,
        Adam(setting.rate, schedule=cosine(setting.n_steps)),
        seeds,
        # building a generated step takes longer than these short trainings, most of all for gates
        Plan(
            setting.n_steps, loss_steps=(setting.n_steps - tenth, setting.n_steps), label=setting.form, path="autograd"
        ),
    )
    test = replace(task, batch=setting.n_test)
    numbers = torch.empty(len(seeds), test.numbers_per_step)
    for row, stream in zip(numbers, random_streams.generators(seeds, "test"), strict=True):
        test.fill(row, stream)
    tokens, answers = test.prompts(numbers)
    trained = {name: x.cpu() for name, x in run.parameters.items()}
    with torch.no_grad():
        accuracy, first = (
            (model(parameters, tokens, setting.n_queries).argmax(-1) == answers).double().mean((1, 2)).numpy()
            for parameters in (trained, start)
        )
    return {"accuracy": accuracy, "start": first, "loss": run.loss[:, -1]}
