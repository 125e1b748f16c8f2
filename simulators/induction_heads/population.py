"""The minimal induction head on all sequences at once: gradient descent on the exact loss, without sampling noise.

Contents are orthonormal: the items and the labels are unit vectors, the context holds the items in order with every
choice of different labels, and every item is the target once. Reddy 2024 (arXiv 2312.03002), the limit of infinite
dimension.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters
from attnlab.simulators.ensemble.optimisers import GradientDescent
from attnlab.simulators.ensemble.plan import Plan, Record, equally_spaced_steps
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train as train_ensemble
from attnlab.simulators.induction_heads.circuit import InductionCircuit
from attnlab.simulators.tasks.labelled_items import Sequences


@dataclass(frozen=True)
class PopulationSetting:
    """``init_scale`` s: beta1 and alpha start at s times uniform numbers between 1/2 and 3/2, and so does the readout
    overlap; ``label_bias``: beta2 is trained, too, and starts at zero. Without ``attention`` only the readout is trained, and
    attention stays uniform."""

    n_context: int = 4
    n_labels: int = 4
    label_bias: bool = False
    attention: bool = True
    init_scale: float = 0.01
    learning_rate: float = 0.5
    n_steps: int = 3_000
    n_records: int = 1_000
    n_replicas: int = 8

    def __post_init__(self) -> None:
        checked(self)
        require_at_least(self, 2, "n_context")
        require_positive(self, "init_scale", "learning_rate", "n_steps", "n_records", "n_replicas")
        if not self.n_context <= self.n_labels <= self.n_context + 3:
            raise ValueError(
                f"n_labels={self.n_labels!r} with n_context={self.n_context!r}: use at least as many labels as "
                "items, and at most 3 more (the number of sequences grows like a factorial)"
            )


@dataclass(frozen=True, eq=False)
class AllSequences:
    """All sequences of the orthonormal law as a task without samples."""

    batch: Sequences

    numbers_per_step: ClassVar[int] = 0

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        """There is nothing to draw."""

    def loss(self, model: Any, parameters: Parameters, numbers: Tensor | None) -> Tensor:
        """Mean cross-entropy ``(replica,)`` over all sequences."""
        replicas = len(parameters["alpha"])
        contents = self.batch.contents.expand(replicas, -1, -1, -1)
        logits = model(parameters, contents, self.batch.start.expand(replicas, -1))
        right = self.batch.label.expand(replicas, -1)[..., None]
        return -torch.log_softmax(logits, dim=-1).gather(2, right).mean((1, 2))

    def largest_array(self, model: Any) -> int:
        return self.batch.contents.numel()


def all_sequences(
    n_context: int, n_labels: int, dtype: torch.dtype = torch.float64, device: str = "cpu"
) -> AllSequences:
    """Every choice of ``n_context`` different labels in order, times every target; items are the first unit vectors."""
    N, L = n_context, n_labels
    units = torch.eye(N + L, dtype=dtype)
    choices = torch.tensor(list(itertools.permutations(range(L), N)))  # (choice, N)
    labels, target = choices.repeat_interleave(N, 0), torch.arange(N).repeat(len(choices))
    items = units[:N].expand(len(labels), N, N + L)
    pairs = torch.stack([items, units[N + labels]], dim=2).flatten(1, 2)
    contents = torch.cat([pairs, units[target][:, None]], dim=1)
    right = labels.gather(1, target[:, None])[:, 0]
    match = torch.arange(N) == target[:, None]
    made = contents[None], torch.zeros(1, len(labels), dtype=torch.long), right[None], labels[None], match[None]
    return AllSequences(Sequences(*(each.to(device) for each in made)))


@dataclass(frozen=True)
class ScatteredCircuit(InductionCircuit):
    """The circuit with a linear readout whose numbers start scattered around ``init_scale``."""

    def initialise(self, streams: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        """As :class:`PopulationSetting` says; no other part of the readout is there at the start."""
        factors = torch.stack([0.5 + torch.rand(3, dtype=dtype, generator=stream) for stream in streams])
        start = self.init_scale * factors  # (replica, 3)
        found = {"beta1": start[:, 0].clone(), "alpha": start[:, 1].clone()}
        if self.label_bias:
            found["beta2"] = torch.zeros(len(streams), dtype=dtype)
        return found | {"R": start[:, 2, None, None] * self.labels.cpu().to(dtype)}


@simulation(name="induction_heads_population.train_population", block=16, devices=("cpu", "cuda"))
def train_population(
    setting: PopulationSetting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Gradient descent on the loss over all sequences, in float64.

    Along ``steps (replica, record)``: ``time`` (learning rate times steps), ``beta1``, ``alpha``, ``beta2``, ``xi`` and
    ``loss``. ``diverged_at (replica,)``.
    """
    N, L = setting.n_context, setting.n_labels
    task = all_sequences(N, L, device=device)
    labels = torch.eye(N + L, dtype=torch.float64, device=device)[N:].expand(len(seeds), L, N + L)
    model = ScatteredCircuit(
        labels, setting.label_bias, "linear", init_scale=setting.init_scale, attention=setting.attention
    )
    steps = equally_spaced_steps(setting.n_steps, setting.n_records)

    def observe(model: ScatteredCircuit, parameters: Parameters) -> dict[str, Tensor]:
        beta2 = parameters.get("beta2", torch.zeros_like(parameters["alpha"]))
        return {
            "beta1": parameters["beta1"],
            "alpha": parameters["alpha"],
            "beta2": beta2,
            "xi": model.overlap(parameters),
        }

    run = train_ensemble(
        model,
        task,
        GradientDescent(setting.learning_rate),
        seeds,
        Plan(setting.n_steps, loss_steps=steps, dtype=torch.float64, device=device, chunk=len(seeds)),
        [Record(observe, steps)],
    )
    tiled = np.tile(steps, (len(seeds), 1))
    return (
        {"steps": tiled, "time": setting.learning_rate * tiled, "loss": run.loss}
        | run.records
        | {"diverged_at": run.diverged_at}
    )
