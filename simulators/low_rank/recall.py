"""Training one attention head to recall: each of N keys must return its own value, through linear or softmax attention.

A token holds a query, a key and a value: keys are unit vectors in R^p, values N(0, 1) in R^m, and the query of a token is the
key of the token before it, whose value is its target. Queries read the query part, keys the key part, values the value part, so
that linear attention passes the values through a buffer of d_k d_v numbers and nothing else. The gate reads the whole token, its
own value too, as the published operator does: there one map of the token gives query, key, value and gate. Variants as in
:mod:`attnlab.simulators.low_rank.augmentation`; every variant has an output projection after the gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import Adam
from attnlab.simulators.ensemble.plan import Plan, log_spaced_steps
from attnlab.simulators.ensemble.setting import checked, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train
from attnlab.simulators.low_rank.augmentation import VARIANTS, features, key_weights, softmax_matrix
from attnlab.simulators.low_rank.measures import effective_rank, singular_values


@dataclass(frozen=True)
class RecallSetting:
    """Task: ``n_tokens`` keys in ``key_size`` dimensions, values of ``value_size``. Head: widths ``key_dim``, ``value_dim``."""

    n_tokens: int = 32
    key_size: int = 8
    value_size: int = 8
    key_dim: int = 8
    value_dim: int = 8
    variant: str = "linear"
    batch: int = 16
    learning_rate: float = 5e-3
    n_steps: int = 3_000
    n_test: int = 500
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(
            self,
            "n_tokens",
            "key_size",
            "value_size",
            "key_dim",
            "value_dim",
            "batch",
            "learning_rate",
            "n_steps",
            "n_test",
            "n_replicas",
        )
        require_one_of(self, "variant", VARIANTS)


@simulation(name="low_rank_recall.recall", block=16, devices=("cpu", "cuda"))
def recall(setting: RecallSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Train with Adam, test on fresh sequences.

    ``error (replica,)``: mean squared error over that of the answer 0, on ``n_test`` sequences; ``error_se`` its standard
    error. ``effective_rank (replica,)``: of the outputs of a test sequence before the projection, mean over sequences;
    ``target_rank``: of the values themselves. ``loss (replica, record)`` at ``steps``; ``diverged_at (replica,)``.
    """
    model = RecallHead(setting.key_size, setting.value_size, setting.key_dim, setting.value_dim, setting.variant)
    task = Recall(setting.n_tokens, setting.key_size, setting.value_size, setting.batch)
    steps = log_spaced_steps(setting.n_steps, 60)
    run = train(model, task, Adam(setting.learning_rate), seeds, Plan(setting.n_steps, loss_steps=steps, device=device))
    test = Recall(setting.n_tokens, setting.key_size, setting.value_size, setting.n_test)
    rows = []
    for row, stream in enumerate(random_streams.generators(seeds, "test")):
        numbers = torch.empty(1, test.numbers_per_step)
        test.fill(numbers, stream)
        keys, values = test.sequences(numbers.to(device))
        out, features_out = model.forward(
            {name: each[row : row + 1] for name, each in run.parameters.items()}, keys, values
        )
        ratios = ((out - values) ** 2).sum((-2, -1))[0] / (setting.n_tokens * setting.value_size)
        ranks = [effective_rank(singular_values(each)).mean() for each in (features_out, values)]
        rows.append((ratios.mean(), ratios.std() / setting.n_test**0.5, *ranks))
    columns = torch.tensor(rows, dtype=torch.float64).numpy().T
    return {
        "steps": np.tile(steps, (len(seeds), 1)),
        "loss": run.loss,
        "diverged_at": run.diverged_at,
        **dict(zip(("error", "error_se", "effective_rank", "target_rank"), columns, strict=True)),
    }


@dataclass(frozen=True)
class RecallHead:
    """One head: Wq, Wk ``(replica, key_dim, key_size)``, Wv, Wo, and with a gate its map and bias."""

    key_size: int
    value_size: int
    key_dim: int
    value_dim: int
    variant: str

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        shapes = {
            "Wq": (self.key_dim, self.key_size),
            "Wk": (self.key_dim, self.key_size),
            "Wv": (self.value_dim, self.value_size),
            "Wo": (self.value_size, self.value_dim),
        }
        if self.gated:
            shapes["gate"] = (self.value_dim, 2 * self.key_size + self.value_size)
        start = {
            name: torch.stack([torch.randn(shape, generator=each, dtype=dtype) for each in streams]) / shape[1] ** 0.5
            for name, shape in shapes.items()
        }
        return start | ({"gate_bias": torch.ones(len(streams), self.value_dim, dtype=dtype)} if self.gated else {})

    @property
    def gated(self) -> bool:
        """Whether the output is multiplied by a map of the token."""
        return self.variant in ("gated", "both")

    def forward(self, parameters: Parameters, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Estimates ``(replica, batch, token, value_size)`` and the features before the output projection.

        Row i of the estimates belongs to the token whose query is key i; the token itself holds the key and value that follow.
        """

        def mapped(x: Tensor, name: str) -> Tensor:
            return torch.einsum("rbnj,rij->rbni", x, parameters[name])

        Q, K, V = mapped(keys, "Wq"), mapped(keys, "Wk"), mapped(values, "Wv")
        if self.variant == "softmax":
            out = softmax_matrix(Q, K) @ V
        else:
            weights = key_weights(Q, K)[..., None] if self.variant in ("weighted", "both") else torch.ones(())
            weighted = weights * features(K)
            read = features(Q)
            out = read @ (weighted.mT @ V) / (read @ weighted.sum(-2)[..., None])
        if self.gated:
            tokens = torch.cat([keys, _following(keys), _following(values)], dim=-1)  # query, key and value of a token
            out = out * (mapped(tokens, "gate") + parameters["gate_bias"][:, None, None])
        return mapped(out, "Wo"), out


@dataclass(frozen=True)
class Recall:
    """``batch`` sequences per step; see :meth:`sequences`."""

    n_tokens: int
    key_size: int
    value_size: int
    batch: int

    @property
    def numbers_per_step(self) -> int:
        return self.batch * self.n_tokens * (self.key_size + self.value_size)

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        numbers.normal_(generator=stream)

    def sequences(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Unit keys and standard normal values, ``(replica, batch, token, size)``."""
        rows = numbers.view(len(numbers), -1, self.n_tokens, self.key_size + self.value_size)
        keys, values = rows.split([self.key_size, self.value_size], dim=-1)
        return keys / keys.norm(dim=-1, keepdim=True), values

    def loss(self, model: RecallHead, parameters: Parameters, numbers: Tensor) -> Tensor:
        keys, values = self.sequences(numbers)
        out, _ = model.forward(parameters, keys, values)
        return ((out - values) ** 2).mean((1, 2, 3))

    def largest_array(self, model: RecallHead) -> int:
        return self.batch * self.n_tokens * max(self.n_tokens, self.key_size + self.value_size)


def _following(x: Tensor) -> Tensor:
    """Rows ``(..., token, size)`` moved up by one, the first at the end."""
    return torch.cat([x[..., 1:, :], x[..., :1, :]], dim=-2)
