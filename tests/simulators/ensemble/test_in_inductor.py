"""The trainings by torch.compile, which the benchmark times, are the same trainings: losses and parameters after some steps."""

import numpy as np
import pytest
import torch

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.in_inductor import compiled_step
from attnlab.simulators.ensemble.layout import Layout
from attnlab.simulators.ensemble.optimisers import GradientDescent
from attnlab.simulators.ensemble.trainer import autograd_step, train
from attnlab.simulators.ensemble.trainings import trained_simulations, training_of

STEPS, REPLICAS = 3, 2

pytestmark = pytest.mark.slow


def agree(name, backend):
    """Losses and parameters after some steps by autograd and by the compiled graph differ by rounding.

    By gradient descent, whatever the training uses: Adam divides a gradient of the size of rounding by itself.
    """
    training = training_of(trained_simulations(train)[name], n_replicas=REPLICAS)
    model, task, optimiser = training.model, training.task, GradientDescent(learning_rate=0.01)
    initial = model.initialise(random_streams.generators(training.seeds, "parameters"), training.plan.dtype)
    layout = Layout({key: tuple(value.shape[1:]) for key, value in initial.items()})
    values, drawn = layout.join(initial), [None] * STEPS
    if task.numbers_per_step:
        numbers = torch.empty(REPLICAS, STEPS, task.numbers_per_step, dtype=training.plan.dtype)
        for own, stream in zip(numbers, random_streams.generators(training.seeds, "data"), strict=True):
            task.fill(own, stream)
        drawn = [numbers[:, k].clone() for k in range(STEPS)]
    found = []
    for step in (
        autograd_step(model, task, optimiser, layout),
        compiled_step(model, task, optimiser, layout, values, drawn[0], backend),
    ):
        own, state = values.clone(), optimiser.start(values)
        losses = [
            step(own, state, None if given is None else given.clone(), k).numpy() for k, given in enumerate(drawn)
        ]
        found.append((np.array(losses), own))
    (losses, expected), (seen, own) = found
    eps = float(torch.finfo(training.plan.dtype).eps)
    moved = (expected - values).abs().max()
    assert seen.dtype == losses.dtype and seen == pytest.approx(losses, rel=2_000 * eps, abs=2_000 * eps)
    assert moved > 0 and (own - expected).abs().max() <= 2_000 * eps * max(1.0, float(moved))


@pytest.mark.parametrize("name", sorted(trained_simulations(train)))
def test_the_recorded_graph_makes_the_same_steps_as_autograd(name):
    agree(name, "eager")


def test_inductor_makes_the_same_steps_as_autograd():
    try:
        agree("max_margin_attention.train", "inductor")
    except torch._dynamo.exc.BackendCompilerFailed as error:
        pytest.skip(f"torch.compile finds no compiler here: {str(error).splitlines()[0]}")
