"""The grid: stacks of variants trained on recall, copying and regression, and what is left when a layer is taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.attention_ablation.model import VARIANTS, Stack
from attnlab.simulators.attention_ablation.tasks import Copy, Recall, Regression
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import Adam
from attnlab.simulators.ensemble.plan import Plan
from attnlab.simulators.ensemble.schedules import cosine
from attnlab.simulators.ensemble.setting import checked, require_one_of, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train

TASKS = ("recall", "copy", "regression")


@dataclass(frozen=True)
class GridSetting:
    """``layers``: a variant per layer (:mod:`attnlab.simulators.attention_ablation.model`).

    ``recall``: ``size`` pairs of ``n_keys`` keys and ``n_values`` values. ``copy``: the token ``size`` positions before, of
    ``n_values``, in
    ``n_keys`` positions. ``regression``: ``size`` dimensions, ``n_keys`` examples. Trained by Adam, its rate falling as a cosine.
    """

    task: str = "recall"
    layers: tuple[str, ...] = ("standard", "standard")
    size: int = 4
    n_keys: int = 8
    n_values: int = 8
    width: int = 24
    n_heads: int = 2
    batch: int = 32
    learning_rate: float = 0.005
    n_steps: int = 600
    n_test: int = 2_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_one_of(self, "task", TASKS)
        require_positive(self, "size", "n_keys", "n_values", "width", "n_heads", "batch", "learning_rate", "n_steps")
        require_positive(self, "n_test", "n_replicas")
        for variant in self.layers:
            if variant not in VARIANTS:
                raise ValueError(f"layers={self.layers!r} holds {variant!r}; use {', '.join(map(repr, VARIANTS))}")
        if self.width % self.n_heads:
            raise ValueError(f"n_heads={self.n_heads} does not divide width={self.width}; use another")
        if self.task != "regression" and self.size >= self.n_keys + (self.task == "recall"):
            raise ValueError(f"size={self.size} is too large for n_keys={self.n_keys}; use a smaller one")


@simulation(name="attention_ablation.grid", block=16)
def grid(setting: GridSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """On ``n_test`` fresh prompts ``(replica,)``: ``accuracy`` at the end, ``start`` before training, ``skipped (replica,
    layer)`` at the end without a layer, ``logit``, the largest size of a score of a ``non_approximate`` layer. For regression
    ``accuracy`` is the explained product, the mean of answer times prediction over that of squared answers."""
    task: Recall | Regression
    if setting.task == "regression":
        task = Regression(setting.size, setting.n_keys, setting.batch)
    else:
        task = (Recall if setting.task == "recall" else Copy)(
            setting.size, setting.n_keys, setting.n_values, setting.batch
        )
    model = Stack(setting.layers, task.n_inputs, task.n_positions, task.n_outputs, setting.width, setting.n_heads)
    start = model.initialise(random_streams.generators(seeds, "parameters"), torch.float32)
    run = train(
        model,
        task,
        Adam(setting.learning_rate, schedule=cosine(setting.n_steps)),
        seeds,
        Plan(setting.n_steps, loss_steps=(setting.n_steps,), label=setting.task),
    )
    test = replace(task, batch=setting.n_test)
    numbers = torch.empty(len(seeds), test.numbers_per_step)
    for row, stream in zip(numbers, random_streams.generators(seeds, "test"), strict=True):
        test.fill(row, stream)
    tokens, answers = test.sequences(numbers)
    with torch.no_grad():
        layers = range(len(setting.layers))
        found = {
            "accuracy": _score(model, run.parameters, tokens, answers),
            "start": _score(model, start, tokens, answers),
            "skipped": torch.stack([_score(model, run.parameters, tokens, answers, skip) for skip in layers], 1),
            "logit": _logit(model, run.parameters, tokens),
        }
    return {name: x.double().numpy() for name, x in found.items()}


def _score(model: Stack, parameters: Parameters, tokens: Tensor, answers: Tensor, skip: int = -1) -> Tensor:
    n_last = answers.shape[2] if answers.ndim == 3 else 1
    out = model.forward(parameters, tokens, n_last, skip)[:, :, -n_last:]
    if answers.ndim == 3:
        return (out.argmax(-1) == answers).double().mean((1, 2))
    return (out[:, :, 0, 0] * answers).mean(1) / (answers**2).mean(1)


def _logit(model: Stack, parameters: Parameters, tokens: Tensor) -> Tensor:
    """Largest size of a score in the first layer, where it has one per key; 0 elsewhere."""
    if model.layers[0] != "non_approximate":
        return torch.zeros(len(tokens))
    h = tokens[:, :200] @ parameters["token"][:, None] + parameters["position"][:, None, : tokens.shape[2]]
    return model.scores(parameters, 0, "non_approximate", h, 1).abs().amax((1, 2, 3, 4))
