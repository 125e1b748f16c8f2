r"""Softmax attention with merged or separate key and query on in-context linear regression, trained on fresh sequences.

The softmax counterpart of :mod:`linear_attention`: the output of head i is :math:`v_i \sum_l \mathrm{softmax}_l(x_l^T U_i x_q)\,
y_l`, with ``U_i`` free (merged) or of rank ``rank`` (separate). Values read the label, key and query the covariates, and the
query is no key: the blocks that small linear attention keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import GradientDescent
from attnlab.simulators.ensemble.plan import Plan, Record, equally_spaced_steps
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train as train_ensemble
from attnlab.simulators.linear_attention.model import LinearAttention


@dataclass(frozen=True)
class SoftmaxSetting:
    """As ``linear_attention.Setting``; ``batch`` fresh sequences per step. ``score``: ``"softmax"``, or ``"linear"`` for the same
    training without softmax (scores over N). The loss is averaged between ``n_records`` records at equal distances."""

    spectrum: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1)
    n_context: int = 31
    kind: str = "separate"
    score: str = "softmax"
    n_heads: int = 5
    rank: int = 1
    init_scale: float = 0.15
    batch: int = 32
    learning_rate: float = 0.1
    n_steps: int = 6_000
    n_records: int = 200
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_positive(
            self,
            "spectrum",
            "n_context",
            "n_heads",
            "rank",
            "init_scale",
            "batch",
            "learning_rate",
            "n_steps",
            "n_records",
            "n_replicas",
        )
        require_one_of(self, "kind", ("merged", "separate"))
        require_one_of(self, "score", ("softmax", "linear"))
        require_at_least(self, 1, "n_records")


@simulation(name="linear_attention_softmax.train", block=16, devices=("cpu", "cuda"))
def train(setting: SoftmaxSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Stochastic gradient descent in float32.

    Returns, along ``steps (replica, record)``: ``time``, twice the learning rate times steps; ``loss``, the mean batch loss
    since the record before; ``v (..., head)``. ``diverged_at (replica,)``.
    """
    model = SoftmaxAttention(
        setting.kind,
        len(setting.spectrum),
        setting.n_heads,
        setting.rank,
        init_scale=setting.init_scale,
        score=setting.score,
    )
    task = FreshSequences(setting.spectrum, setting.n_context, setting.batch)
    steps = equally_spaced_steps(setting.n_steps, setting.n_records)
    run = train_ensemble(
        model,
        task,
        GradientDescent(setting.learning_rate),
        seeds,
        Plan(setting.n_steps, loss_steps=steps, device=device),
        [Record(lambda model, parameters: {"v": parameters["v"]}, steps)],
    )
    tiled = np.tile(steps, (len(seeds), 1))
    return (
        {"steps": tiled, "time": 2 * setting.learning_rate * tiled, "loss": run.loss}
        | run.records
        | {"diverged_at": run.diverged_at}
    )


@dataclass(frozen=True)
class SoftmaxAttention(LinearAttention):
    """Heads whose scores go through a softmax over the context (``score="softmax"``), or are divided by its length."""

    score: str = "softmax"

    def __call__(self, parameters: Parameters, x: Tensor, y: Tensor, query: Tensor) -> Tensor:
        """Predictions ``(replica, n)`` from ``x (replica, n, context, dim)``, ``y (replica, n, context)``, ``query``."""
        if self.kind == "merged":
            U = parameters["U"]
        else:
            U = parameters["K"].mT @ parameters["Q"]  # (replica, head, dim, dim)
        asked = (query[:, None] @ U.mT).transpose(1, 2)  # (replica, n, head, dim)
        scores = asked @ x.mT  # (replica, n, head, context)
        weights = torch.softmax(scores, dim=-1) if self.score == "softmax" else scores / x.shape[-2]
        return ((weights @ y[..., None])[..., 0] @ parameters["v"][..., None])[..., 0]


@dataclass(frozen=True)
class FreshSequences:
    """``batch`` new sequences per step: ``x ~ N(0, diag(spectrum))``, ``w ~ N(0, I)``, no noise."""

    spectrum: tuple[float, ...]
    n_context: int
    batch: int

    @property
    def numbers_per_step(self) -> int:
        return self.batch * len(self.spectrum) * (self.n_context + 2)

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        numbers.normal_(generator=stream)

    def loss(self, model: SoftmaxAttention, parameters: Parameters, numbers: Tensor) -> Tensor:
        """Mean squared error ``(replica,)``."""
        R, d = len(numbers), len(self.spectrum)
        each = numbers.view(R, self.batch, self.n_context + 2, d)
        x = each[..., :-1, :] * torch.tensor(self.spectrum, dtype=numbers.dtype, device=numbers.device).sqrt()
        y = (x @ each[..., -1, :, None])[..., 0]
        predicted = model(parameters, x[..., :-1, :], y[..., :-1], x[..., -1, :])
        return ((predicted - y[..., -1]) ** 2).mean(-1)

    def largest_array(self, model: Any) -> int:
        return self.batch * self.n_context * max(len(self.spectrum), model.n_heads)
