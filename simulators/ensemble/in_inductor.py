"""The same trainings by ``torch.compile``, for the benchmark alone: loss and gradient of all replicas as one graph.

Loss and gradient are recorded by ``make_fx`` with attention in plain tensor operations, and the graph of all operations, forward
and backward, is what Inductor compiles: no Python and no autograd is left in it. The optimiser's update stays eager, since its
factors change from step to step. Numbers are drawn beforehand, as in the other columns.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from attnlab.kernels.attention.plain import plain_formulas
from attnlab.simulators.ensemble.layout import Layout
from attnlab.simulators.ensemble.optimisers import Optimiser, State
from attnlab.simulators.ensemble.trainer import Step

Tensor = torch.Tensor


def compiled_step(
    model: Any,
    task: Any,
    optimiser: Optimiser,
    layout: Layout,
    values: Tensor,
    numbers: Tensor | None,
    backend: str = "inductor",
) -> Step:
    """A step like that of :func:`attnlab.simulators.ensemble.trainer.autograd_step`, for tensors shaped as ``values`` and
    ``numbers`` (one step's) are.

    What ``torch.compile`` cannot do, or the lack of a compiler, shows when the step is first called, as torch's own error.
    """

    def differentiated(values: Tensor, *numbers: Tensor) -> tuple[Tensor, Tensor]:
        leaves = {name: view.detach().requires_grad_() for name, view in layout.split(values).items()}
        losses = task.loss(model, leaves, numbers[0].clone() if numbers else None)
        gradients = torch.autograd.grad(losses.sum(), list(leaves.values()))
        return losses.detach(), layout.join(dict(zip(leaves, gradients, strict=True)))

    given = () if numbers is None else (numbers,)
    with plain_formulas():
        recorded = make_fx(differentiated)(values, *given)
    graph = torch.compile(recorded, dynamic=False, backend=backend)

    def step(values: Tensor, state: State, numbers: Tensor | None, count: int) -> Tensor:
        with torch.no_grad():
            losses, gradient = graph(values, *(() if numbers is None else (numbers,)))
        optimiser.update(values, gradient, state, count)
        return losses

    return step
