"""Training attention on in-context regression in compiled code: data, gradient and Adam of many steps in one call.

Put in the place of the autograd step through ``Plan.compiled``; the trainer does the rest as before. Batches come from
the counter-based stream of ``attnlab.kernels.compiled.philox``, so they differ from those of the autograd step, and the path is
part of a result's identity. Where the compiled step cannot do it, :func:`compiled_steps` returns None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels import icl_step
from attnlab.kernels.icl_step import fused
from attnlab.simulators.ensemble.layout import Layout
from attnlab.simulators.ensemble.optimisers import Adam, constant
from attnlab.simulators.in_context_regression.model import AttentionRegressor
from attnlab.simulators.in_context_regression.several_tasks_task import MultiRegressionTask
from attnlab.simulators.tasks.regression import RegressionTask, covariance_root


def compiled_steps(
    model: Any, task: Any, optimiser: Any, seeds: Sequence[np.random.SeedSequence], dtype: torch.dtype
) -> CompiledSteps | None:
    """The compiled steps of a chunk of replicas on the CPU, for :class:`RegressionTask` and :class:`MultiRegressionTask`.

    None for other models, tasks and optimisers, schedules, weight decay, float64, more than 64 covariates or heads or
    16 labels, and where no compiler works.
    """
    if not (isinstance(model, AttentionRegressor) and isinstance(optimiser, Adam)):
        return None
    if optimiser.weight_decay or optimiser.schedule is not constant or dtype is not torch.float32:
        return None
    if type(task) is RegressionTask:
        n_labels, root = 1, covariance_root(task.dim, task.covariance_decay).numpy() if task.covariance_decay else None
        law, noise = icl_step.Law(covariance_root=root), np.asarray(task.noise_std, np.float64)
    elif type(task) is MultiRegressionTask:
        n_labels, noise = len(task.supports), task.noise_std
        scale = tuple(task.coefficient_std * len(support) ** 0.5 for support in task.supports)
        law = icl_step.Law(
            supports=task.supports, coefficient_std=task.coefficient_std, noise_scale=scale, clean_query=True
        )
    else:
        return None
    shape = icl_step.Shape(task.dim, task.n_context, model.n_heads, task.batch, n_labels=n_labels)
    if (model.dim, model.n_labels) != (shape.dim, n_labels) or not fused.available(shape, "float32"):
        return None
    stream = icl_step.Stream(icl_step.replica_seeds(list(seeds)), noise, law)
    rate = np.asarray(optimiser.learning_rate, np.float64)
    return CompiledSteps(shape, stream, icl_step.Optimiser(rate, "adam", optimiser.betas, optimiser.eps))


@dataclass(frozen=True, eq=False)
class CompiledSteps:
    """``run`` makes updates ``start`` to ``stop - 1`` of a matrix of parameters and its optimiser state, in place."""

    shape: icl_step.Shape
    data: icl_step.Stream | icl_step.Batches
    optimiser: icl_step.Optimiser

    def run(self, values: Tensor, state: dict[str, Tensor], start: int, stop: int) -> np.ndarray:
        """Losses ``(replica, step)`` before each update; ``values (replica, parameter)`` in the order Q, K, V, O."""
        before = icl_step.State(
            self._contiguous(values),
            self._contiguous(state["mean"]),
            self._contiguous(state["square"]),
            start,
            np.full(len(values), -1, np.int64),
        )
        after, losses = icl_step.train(
            self.shape, before, stop - start, data=self.data, optimiser=self.optimiser, path="c"
        )
        for target, part in ((values, after.params), (state["mean"], after.moment1), (state["square"], after.moment2)):
            target.copy_(torch.from_numpy(self._layout.join(part)))
        return losses

    @property
    def _layout(self) -> Layout:
        return Layout(self.shape.parameter_shapes())

    def _contiguous(self, matrix: Tensor) -> dict[str, np.ndarray]:
        return {name: np.ascontiguousarray(view) for name, view in self._layout.split(matrix.numpy()).items()}
