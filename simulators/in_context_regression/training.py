"""Training softmax attention on in-context linear regression, and measuring what it has learnt.

He, Pan, Chen and Yang 2025 (arXiv 2503.12734). The model is in :mod:`in_context_regression_model`, the law of the
sequences in :mod:`in_context_regression_task`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnlab.simulators.ensemble.optimisers import Adam
from attnlab.simulators.ensemble.plan import Plan, Record, log_spaced_steps
from attnlab.simulators.ensemble.setting import (
    checked,
    require_at_least,
    require_inside,
    require_one_of,
    require_positive,
)
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.ensemble.trainer import train as train_ensemble
from attnlab.simulators.in_context_regression.evaluation import Evaluation, evaluate
from attnlab.simulators.in_context_regression.model import AttentionRegressor
from attnlab.simulators.tasks.regression import RegressionTask


@dataclass(frozen=True)
class Setting:
    """Task, model and training; the defaults are the paper's but for ``batch`` (256), ``n_steps`` (500 001).

    ``covariance_decay``: rho of the covariates' covariance ``rho ** |i - j|``. ``init``: ``"linear"``, or ``"small"``,
    the same times ``init_scale`` (not read with ``"linear"``). ``n_records``: log-spaced records of the observables.
    ``snapshot_steps``: steps at which whole matrices are kept; those beyond ``n_steps`` are left out, the last step is
    always kept. ``n_test``: fresh sequences per replica for the evaluation at the training length and at
    ``test_lengths``.
    """

    dim: int = 5
    n_context: int = 40
    noise_std: float = 0.1**0.5
    covariance_decay: float = 0.0
    n_heads: int = 4
    init: str = "linear"
    init_scale: float = 0.1
    batch: int = 64
    learning_rate: float = 1e-3
    n_steps: int = 20_000
    n_records: int = 100
    snapshot_steps: tuple[int, ...] = (1, 1_000, 2_000, 10_000, 100_000)
    n_test: int = 10_000
    test_lengths: tuple[int, ...] = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(
            self,
            "dim",
            "n_context",
            "n_heads",
            "init_scale",
            "batch",
            "learning_rate",
            "n_steps",
            "n_records",
            "test_lengths",
            "n_replicas",
        )
        require_at_least(self, 0, "noise_std", "snapshot_steps")
        require_at_least(self, 2, "n_test")
        require_inside(self, -1, 1, "covariance_decay")
        require_one_of(self, "init", ("linear", "small"))
        if not self.test_lengths:
            raise ValueError("test_lengths=() is empty; give at least one prompt length")


@simulation(name="in_context_regression.train", block=16, devices=("cpu", "cuda"))
def train(setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Train with Adam and evaluate the final models.

    Along ``steps (replica, record)``: ``loss`` (mean batch loss since the record before) and the observables of
    ``in_context_regression_model.observables``. At ``snapshot_steps``: ``KQ (replica, snapshot, head, n, n)`` and
    ``OV (replica, snapshot, head, n)``, the last of them final. ``effective_matrix (replica, dim, dim)``: final sum of
    mu KQ. ``diverged_at (replica,)``. From ``in_context_regression_evaluation.evaluate``: risks at the training length
    and by length.
    """
    model = AttentionRegressor(setting.dim, setting.n_heads, init=setting.init, init_scale=setting.init_scale)
    task = RegressionTask(setting.dim, setting.n_context, setting.batch, setting.noise_std, setting.covariance_decay)
    steps = log_spaced_steps(setting.n_steps, setting.n_records)
    snapshots = tuple(sorted({step for step in setting.snapshot_steps if step < setting.n_steps} | {setting.n_steps}))
    run = train_ensemble(
        model,
        task,
        Adam(setting.learning_rate),
        seeds,
        Plan(setting.n_steps, loss_steps=steps, device=device),
        [Record(AttentionRegressor.observe, steps), Record(AttentionRegressor.matrices, snapshots)],
    )
    records = dict(run.records)
    kept = {"snapshot_steps": np.tile(snapshots, (len(seeds), 1)), "KQ": records.pop("KQ"), "OV": records.pop("OV")}
    KQ, OV = (torch.from_numpy(kept[name][:, -1]) for name in ("KQ", "OV"))
    d = setting.dim
    effective = torch.einsum("rh,rhij->rij", OV[..., -1], KQ[..., :d, :d])
    return (
        {"steps": np.tile(steps, (len(seeds), 1)), "loss": run.loss}
        | records
        | kept
        | {"effective_matrix": effective.numpy(), "diverged_at": run.diverged_at}
        | evaluate(KQ, OV[:, :, None], seeds, Evaluation(task, setting.n_test, setting.test_lengths))
    )
