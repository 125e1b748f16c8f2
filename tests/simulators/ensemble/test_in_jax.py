"""The trainings in JAX, which the benchmark times, are the same trainings: losses and parameters after some steps."""

import numpy as np
import pytest
import torch

from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.layout import Layout
from attnlab.simulators.ensemble.trainer import autograd_step, train
from attnlab.simulators.ensemble.trainings import trained_simulations, training_of

STEPS, REPLICAS = 3, 2

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", sorted(trained_simulations(train)))
def test_jax_makes_the_same_steps_as_autograd(name):
    pytest.importorskip("jax", reason="JAX is not installed (extra bench)")
    from attnlab.kernels.generated.graph import Refused
    from attnlab.simulators.ensemble.in_jax import JaxSteps

    training = training_of(trained_simulations(train)[name], n_replicas=REPLICAS)
    model, task, optimiser = training.model, training.task, training.optimiser
    initial = model.initialise(random_streams.generators(training.seeds, "parameters"), training.plan.dtype)
    layout = Layout({key: tuple(value.shape[1:]) for key, value in initial.items()})
    values, numbers = layout.join(initial), None
    if task.numbers_per_step:
        numbers = torch.empty(REPLICAS, STEPS, task.numbers_per_step, dtype=training.plan.dtype)
        for own, stream in zip(numbers, random_streams.generators(training.seeds, "data"), strict=True):
            task.fill(own, stream)
    try:
        steps = JaxSteps(model, task, optimiser, layout, values)
    except Refused as reason:
        pytest.skip(str(reason))
    (found, _), losses = steps.run(steps.start(layout, values), numbers, STEPS)
    step, state, expected, seen = (
        autograd_step(model, task, optimiser, layout),
        optimiser.start(values),
        values.clone(),
        [],
    )
    for k in range(STEPS):
        seen.append(step(expected, state, None if numbers is None else numbers[:, k].clone(), k).numpy())
    eps = float(torch.finfo(training.plan.dtype).eps)
    assert losses.dtype == str(training.plan.dtype)[6:]  # nothing is widened on the way
    moved = float((expected - values).abs().max())
    assert np.asarray(losses) == pytest.approx(np.array(seen), rel=2_000 * eps, abs=2_000 * eps)
    for key, value in layout.split(expected).items():
        gap = np.abs(np.asarray(found[key])[:, 0] - value.numpy()).max()
        # Adam divides a gradient of the size of rounding by itself: there a step may be any share of the rate
        assert gap <= (0.02 * moved if "square" in state else 2_000 * eps * max(1.0, moved)), (key, gap, moved)
