"""Training two layers of attention on in-context classification in compiled code: data, gradient and descent of many steps
in one call.

Put in the place of the autograd step through ``Plan.compiled``; the trainer does the rest as before. Batches come from
the counter-based stream of ``attnlab.kernels.induction_step``, whose law is that of the task, so they differ from those of
the autograd step, and the path is part of a result's identity. Where the compiled step cannot do it,
:func:`compiled_steps` returns None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels import induction_step
from attnlab.kernels.induction_step import fused
from attnlab.simulators.ensemble.optimisers import GradientDescent, constant
from attnlab.simulators.ensemble.random_streams import stream
from attnlab.simulators.induction_heads.model import InductionNetwork
from attnlab.simulators.tasks.labelled_items import ClassificationTask


def compiled_steps(
    model: Any, task: Any, optimiser: Any, seeds: Sequence[np.random.SeedSequence], dtype: torch.dtype
) -> CompiledSteps | None:
    """The compiled steps of a chunk of replicas on the CPU.

    None for other models (also subclasses that compute logits in their own way), tasks and optimisers, momentum,
    schedules, float64, and where no compiler works. Every knob of :class:`ClassificationTask` is supported, and learning
    rates per replica; weight decay is applied as ``learning_rate * weight_decay`` of the parameter.
    """
    if not (
        _same(model, InductionNetwork, "__call__", "forward")
        and _same(task, ClassificationTask, "loss", "sequences")
        and isinstance(optimiser, GradientDescent)
    ):
        return None
    if (
        optimiser.momentum
        or optimiser.schedule is not constant
        or dtype is not torch.float32
        or not fused.available("float32")
    ):
        return None
    if (model.dim, model.n_positions, model.n_labels) != (task.dim, task.n_positions, task.n_labels):
        return None
    shape = induction_step.Shape(task.dim, task.n_context, task.n_positions, task.n_labels, task.batch)
    law = induction_step.Law(
        task.within_class_noise,
        task.burstiness,
        task.p_bursty,
        task.p_novel,
        task.rank_exponent,
        task.n_novel,
        task.distinct_labels,
        task.label_shift % task.n_labels,
    )
    data = induction_step.Stream(
        induction_step.replica_seeds([stream(seed, "data") for seed in seeds]),
        task.classes.float().numpy(),
        task.labels.float().numpy(),
        law,
    )
    data.check(shape, len(seeds))
    rate = np.asarray(optimiser.learning_rate, np.float64)
    return CompiledSteps(shape, data, induction_step.Optimiser(rate, rate * optimiser.weight_decay))


@dataclass(frozen=True, eq=False)
class CompiledSteps:
    """``run`` makes updates ``start`` to ``stop - 1`` of a matrix of parameters in place; there is no optimiser state."""

    shape: induction_step.Shape
    data: induction_step.Stream | induction_step.Batches
    optimiser: induction_step.Optimiser

    def run(self, values: Tensor, state: dict[str, Tensor], start: int, stop: int) -> np.ndarray:
        """Losses ``(replica, step)`` before each update; ``values (replica, parameter)`` in the order of the model's."""
        rows = values if values.is_contiguous() else values.contiguous()
        never = np.full(len(values), -1, np.int64)
        losses = fused.advance(self.shape, rows.numpy(), start, stop - start, self.data, self.optimiser, never)
        if rows is not values:
            values.copy_(rows)
        return losses


def _same(thing: Any, kind: type, *methods: str) -> bool:
    """Whether the thing is of a kind and keeps its methods."""
    return isinstance(thing, kind) and all(getattr(type(thing), name) is getattr(kind, name) for name in methods)
