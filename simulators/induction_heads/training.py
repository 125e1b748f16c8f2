"""Training a two-layer attention network on in-context classification, and watching the induction head form.

Reddy 2024 (arXiv 2312.03002). The network is in :mod:`induction_heads_model`, the law of the sequences in
:mod:`induction_heads_task`, what is measured in :mod:`induction_heads_measures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.simulators.ensemble.optimisers import GradientDescent
from attnlab.simulators.ensemble.plan import Plan, Record, equally_spaced_steps
from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.setting import checked, require_at_least, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train as train_ensemble
from attnlab.simulators.induction_heads.compiled import compiled_steps
from attnlab.simulators.induction_heads.measures import Watched, draw_tests
from attnlab.simulators.induction_heads.model import InductionNetwork
from attnlab.simulators.tasks.labelled_items import make_task, tables


@dataclass(frozen=True)
class Setting:
    """Task, network and training. The paper has dim 63, n_context 8, n_labels 32, n_positions 65, batch 128, learning
    rate 0.01 and 150 000 steps or more; the defaults are a smaller network that keeps the abrupt transition.

    Data: as in :class:`ClassificationTask`; ``n_classes`` K, ``n_labels`` L, ``within_class_noise`` epsilon.
    ``decay``: each step multiplies the parameters by 1 - decay, whatever the learning rate. ``n_records`` equally spaced
    records; ``n_test`` sequences per replica and test.
    """

    dim: int = 31
    n_context: int = 4
    n_labels: int = 16
    n_classes: int = 256
    n_positions: int = 17
    burstiness: int = 1
    within_class_noise: float = 0.1
    rank_exponent: float = 0.0
    p_bursty: float = 1.0
    p_novel: float = 1.0
    n_novel: int = 128
    distinct_labels: bool = True
    batch: int = 32
    learning_rate: float = 0.1
    decay: float = 1e-6
    n_steps: int = 5_000
    n_records: int = 100
    n_test: int = 400
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(
            self,
            "dim",
            "n_context",
            "n_labels",
            "n_classes",
            "n_positions",
            "burstiness",
            "n_novel",
            "batch",
            "learning_rate",
            "n_steps",
            "n_records",
            "n_test",
            "n_replicas",
        )
        require_at_least(self, 0, "within_class_noise", "rank_exponent", "p_bursty", "p_novel", "decay")
        make_task(self, torch.zeros(1, self.n_classes, 1), torch.zeros(1, self.n_labels, 1))


@dataclass(frozen=True, eq=False, kw_only=True)
class WatchedNetwork(Watched, InductionNetwork):
    """The network with its tests."""


@simulation(name="induction_heads.train", block=8, devices=("cpu", "cuda"))
def train(setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Train with stochastic gradient descent.

    Along ``steps (replica, record)``: ``loss`` (mean batch loss since the record before) and what
    :class:`induction_heads_measures.Watched` observes. ``layer_1 (replica, 2, token, token)`` and ``layer_2 (replica, 2,
    n_context, token)``: attention before and after training. ``diverged_at (replica,)``.
    """
    made = tables(generators(seeds, "tables"), setting.n_classes, setting.n_labels, setting.dim, torch.float32)
    task = make_task(setting, **{name: table.to(device) for name, table in made.items()})
    tests = draw_tests(make_task(setting, **made), setting.n_test, seeds, torch.float32, device)
    model = WatchedNetwork(setting.dim, setting.n_positions, setting.n_labels, tests=tests)
    steps = equally_spaced_steps(setting.n_steps, setting.n_records)
    run = train_ensemble(
        model,
        task,
        GradientDescent(setting.learning_rate, weight_decay=setting.decay / setting.learning_rate),
        seeds,
        Plan(setting.n_steps, loss_steps=steps, device=device, compiled=compiled_steps),
        [Record(WatchedNetwork.observe, steps), Record(WatchedNetwork.attention, (0, setting.n_steps))],
    )
    return {"steps": np.tile(steps, (len(seeds), 1)), "loss": run.loss} | run.records | {"diverged_at": run.diverged_at}
