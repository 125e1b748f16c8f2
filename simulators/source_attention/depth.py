r"""Looking up a source through a decoder of several layers: the task of :mod:`trained` with a residual stream.

Fu et al. 2023 (arXiv 2304.04052); depth as in the random stacks of the fact sheet. With :math:`N` the norm by root mean square
and one causal softmax over source and target in each layer,

.. math:: x \leftarrow x + \mathrm{softmax}\big(N(x) Q (N(x) K)^\top / \sqrt d\big)\, N(x) V O .

A target token that has looked up its value carries it, so that in later layers the earlier target tokens of a key answer, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import Adam
from attnlab.simulators.ensemble.plan import Plan
from attnlab.simulators.ensemble.schedules import cosine
from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train
from attnlab.simulators.source_attention.trained import Lookup, fresh, nats, normal_start, require_every_key

MATRICES = ("query", "key", "value", "out")


@dataclass(frozen=True)
class DepthSetting:
    """``n_layers`` layers of ``dim`` numbers on ``n_source`` keys and as many values; trained on ``n_target`` target tokens and
    tested at each of ``target_lengths``.

    Adam at ``rate``, which falls as a cosine, for ``n_steps`` steps of ``batch`` sequences. ``n_test`` fresh sequences per
    length.
    """

    n_layers: int = 1
    n_source: int = 8
    n_target: int = 16
    target_lengths: tuple[int, ...] = (16, 64, 256, 1024)
    dim: int = 16
    batch: int = 32
    rate: float = 0.005
    n_steps: int = 700
    n_test: int = 64
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_layers", "n_source", "n_target", "target_lengths", "dim", "batch", "rate", "n_steps")
        require_positive(self, "n_test", "n_replicas")
        require_every_key(self)


@dataclass(frozen=True)
class Decoder:
    """The decoder on tokens of 2 n + 2 numbers: key, value, and whether of source or target, all one-hot."""

    n_layers: int
    n_source: int
    dim: int

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        """Normal entries: embeddings of variance 1, matrices of variance 1 / rows."""
        d, n = self.dim, self.n_source
        shapes = {"token": (2 * n + 2, d), "read": (d, n)}
        shapes |= {name: (self.n_layers, d, d) for name in MATRICES}
        return normal_start(shapes, d, streams, dtype)

    def projected(self, parameters: Parameters, x: Tensor, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of a layer, ``(replica, batch, token, dim)``."""
        z = x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6)
        query, key, value = (z @ parameters[name][:, None, layer] for name in MATRICES[:3])
        return query, key, value

    def __call__(self, parameters: Parameters, tokens: Tensor) -> Tensor:
        """Logits ``(replica, batch, target token, value)``."""
        x = tokens @ parameters["token"][:, None]
        for layer in range(self.n_layers):
            q, k, v = self.projected(parameters, x, layer)
            x = x + attention(q, k, v, mask="causal", scale=self.dim**-0.5) @ parameters["out"][:, None, layer]
        return x[:, :, self.n_source :] @ parameters["read"][:, None]

    def last(self, parameters: Parameters, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the last token, ``(replica, batch, 1, value)``, and its weight on the source ``(layer, replica, batch)``."""
        x, mass = tokens @ parameters["token"][:, None], []
        for layer in range(self.n_layers):
            q, k, v = self.projected(parameters, x, layer)
            weights = torch.softmax(q[:, :, -1:] @ k.mT / self.dim**0.5, -1)
            mass.append(weights[:, :, 0, : self.n_source].sum(-1))
            if layer == self.n_layers - 1:
                x, mixed = x[:, :, -1:], weights @ v
            else:
                mixed = attention(q, k, v, mask="causal", scale=self.dim**-0.5)
            x = x + mixed @ parameters["out"][:, None, layer]
        return x @ parameters["read"][:, None], torch.stack(mass)


class DeepLookup(Lookup):
    """The same sequences; the cross-entropy of a decoder at all target tokens."""

    def loss(self, model: Decoder, parameters: Parameters, numbers: Tensor) -> Tensor:  # type: ignore[override]
        """Cross-entropy ``(replica,)``."""
        tokens, answers = self.sequences(numbers)
        return nats(model(parameters, tokens), answers).mean((1, 2))

    def largest_array(self, model: Decoder) -> int:  # type: ignore[override]
        L = self.n_source + self.n_target
        return self.batch * L * max(2 * self.n_source + 2, model.dim, L)


@simulation(name="source_attention.deep_lookup", block=8)
def deep_lookup(setting: DepthSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """At the last token of fresh sequences of each length, the keys that are asked for in turn: ``nats (replica, length)``, the
    mean cross-entropy, and ``mass (replica, length, layer)``, the mean share of the source in each layer's softmax;
    ``start_nats`` and ``start_mass`` before training.
    """
    model = Decoder(setting.n_layers, setting.n_source, setting.dim)
    task = DeepLookup(setting.n_source, setting.n_target, setting.batch, setting.n_target)
    start = model.initialise(random_streams.generators(seeds, "parameters"), torch.float32)
    run = train(
        model,
        task,
        Adam(setting.rate, schedule=cosine(setting.n_steps)),
        seeds,
        Plan(setting.n_steps, loss_steps=(setting.n_steps,), label=f"{setting.n_layers} layers"),
    )
    trained = {name: x.cpu() for name, x in run.parameters.items()}
    found: dict[str, list[Tensor]] = {name: [] for name in ("nats", "mass", "start_nats", "start_mass")}
    for tokens, answers in fresh(task, setting.target_lengths, setting.n_test, seeds):
        with torch.no_grad():
            for when, parameters in (("", trained), ("start_", start)):
                logits, mass = model.last(parameters, tokens)
                found[f"{when}nats"].append(nats(logits, answers).mean((1, 2)))
                found[f"{when}mass"].append(mass.mean(-1).T)
    return {name: torch.stack(each, 1).double().numpy() for name, each in found.items()}
