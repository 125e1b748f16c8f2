"""How a cell is trained: Adam with a clipped gradient, warm-up and a final fall, and how its score is measured afterwards.

Every operator and task has a step of its own, whose tracing and building takes some seconds. It is generated for trainings that
earn that back (``WORTH``) and for sequences whose maps stay in the cache (``LONGEST``); all others, and those with an operation
that is not known, train by autograd. Results say which of both they took.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from attnlab.kernels.operators.operator import Operator
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.optimisers import Adam, Clipped
from attnlab.simulators.ensemble.plan import Plan, Run
from attnlab.simulators.ensemble.trainer import train
from attnlab.simulators.task_matrix.model import MatrixModel
from attnlab.simulators.task_matrix.task import MatrixTask
from attnlab.simulators.task_matrix.vectors import GridFilter

WARM_UP, FALL, LEAST = 50, 0.3, 0.02
WORTH = 6_000  # updates (steps times replicas) from which a step is generated
LONGEST = 32  # tokens up to which one is; at 64 it was no faster than autograd
N_TEST = 128  # sequences per replica on which the score is measured


def schedule(n_steps: int, step: int) -> float:
    """1/50 to 1 in the first 50 steps (fewer in short runs), 1, and from 70 % on a straight fall to .02."""
    warm_up = min(WARM_UP, max(n_steps // 4, 1))
    falls = (step + 1 - (1 - FALL) * n_steps) / (FALL * n_steps)
    return min((step + 1) / warm_up, 1.0, 1 - (1 - LEAST) * max(falls, 0.0))


def built(
    operator: Operator, task: MatrixTask, seeds: Sequence[np.random.SeedSequence]
) -> tuple[MatrixModel, MatrixTask]:
    """The model of an operator on a task, and the task with all that is drawn once per replica."""
    model = MatrixModel(
        operator, task.fields, task.n_features, task.n_outputs, task.length, task.positions, task.causal, task.shape
    ).with_frozen(random_streams.generators(seeds, "parameters"), torch.float32)
    if isinstance(task, GridFilter):
        task = task.with_taps(random_streams.generators(seeds, "task"), torch.float32)
    return model, replace(task, n_uniform=model.n_uniform)


def trained(
    model: MatrixModel, task: MatrixTask, rates: Sequence[float], seeds: Sequence[np.random.SeedSequence], n_steps: int
) -> Run:
    """A training of ``n_steps`` with one rate per replica; losses over the last tenth of the steps are its last record."""
    optimiser = Clipped(
        Adam(tuple(rates), betas=(0.9, 0.98), schedule=lambda step: schedule(n_steps, step)), largest=1.0
    )
    ends = (max(n_steps - max(n_steps // 10, 1), 0), n_steps)
    label = f"{type(model.operator).__name__}, {n_steps} steps"
    pays = n_steps * len(seeds) >= WORTH and model.length <= LONGEST
    plan = Plan(n_steps, loss_steps=ends, path="auto" if pays else "autograd", chunk=len(seeds), label=label)
    return train(model, task, optimiser, seeds, plan)


def scores(model: MatrixModel, task: MatrixTask, run: Run, seeds: Sequence[np.random.SeedSequence]) -> np.ndarray:
    """Scores (replica,) on fresh sequences, NaN where a replica diverged."""
    shown = replace(task, batch=min(N_TEST, 16 * 1024 // task.length)) if task.own_numbers else task
    numbers = torch.empty(len(seeds), 1, shown.numbers_per_step)
    for row, stream in zip(numbers, random_streams.generators(seeds, "test"), strict=True):
        shown.fill(row, stream)
    with torch.no_grad():
        found = shown.score(model, run.parameters, numbers[:, 0]).double().numpy()
    return np.where(run.diverged_at < 0, found, np.nan)
