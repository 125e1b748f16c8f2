"""Optimisers of stacked models against torch.optim, replica by replica."""

import numpy as np
import pytest
import torch

from attnlab.simulators.ensemble.optimisers import Adam, Clipped, GradientDescent, NormalisedGradientDescent
from attnlab.simulators.ensemble.schedules import cosine

EPS64 = np.finfo(np.float64).eps
N_STEPS = 100
# Each update rounds about 10 times at the size of the parameters (below 10 here); the quadratic below contracts, so
# errors add up at most linearly: 100 steps * 10 roundings * size 10 * EPS64, times 10 for Adam's division by sqrt(v).
ROUNDING = N_STEPS * 10 * 10 * 10 * EPS64


@pytest.fixture
def start():
    return torch.linspace(-2, 3, 12, dtype=torch.float64).reshape(3, 4)


def gradient(values):
    """Gradient of a smooth convex function that couples the parameters of a replica but not the replicas."""
    curvature = torch.tensor([1.0, 0.3, 3.0, 0.1], dtype=torch.float64)
    return curvature * values + 0.1 * torch.tanh(values.sum(1, keepdim=True))


def ours(optimiser, start):
    values = start.clone()
    state = optimiser.start(values)
    for step in range(N_STEPS):
        optimiser.update(values, gradient(values), state, step)
    return values


def torchs(make, start, factor=lambda step: 1.0, largest=None):
    rows = []
    for row in start:
        parameter = row.clone()[None].requires_grad_()
        optimiser = make([parameter])
        base = optimiser.param_groups[0]["lr"]
        for step in range(N_STEPS):
            optimiser.param_groups[0]["lr"] = base * factor(step)
            parameter.grad = gradient(parameter.detach())
            if largest is not None:
                torch.nn.utils.clip_grad_norm_([parameter], largest)
            optimiser.step()
        rows.append(parameter.detach()[0])
    return torch.stack(rows)


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_adam_equals_torch_optim_adam(start, decay):
    expected = torchs(lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.8, 0.99), eps=1e-6, weight_decay=decay), start)
    found = ours(Adam(0.05, betas=(0.8, 0.99), eps=1e-6, weight_decay=decay), start)
    assert (found - expected).abs().max() < ROUNDING


def test_adam_without_bias_correction_is_another_optimiser(start):
    class Uncorrected(Adam):
        def update(self, values, gradient, state, step):
            super().update(values, gradient, state, 10**6)  # both corrections are 1 by then

    expected = torchs(lambda p: torch.optim.Adam(p, lr=0.05), start)
    assert (ours(Uncorrected(0.05), start) - expected).abs().max() > 1e6 * ROUNDING


@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.9, 0.0), (0.5, 0.1)])
def test_gradient_descent_equals_torch_optim_sgd(start, momentum, decay):
    expected = torchs(lambda p: torch.optim.SGD(p, lr=0.05, momentum=momentum, weight_decay=decay), start)
    found = ours(GradientDescent(0.05, momentum=momentum, weight_decay=decay), start)
    assert (found - expected).abs().max() < ROUNDING


def test_schedule_scales_the_learning_rate(start):
    schedule = cosine(N_STEPS, final=0.1)
    expected = torchs(lambda p: torch.optim.Adam(p, lr=0.05), start, schedule)
    assert (ours(Adam(0.05, schedule=schedule), start) - expected).abs().max() < ROUNDING
    assert (ours(Adam(0.05), start) - expected).abs().max() > 1e6 * ROUNDING


@pytest.mark.parametrize("kind", [Adam, GradientDescent, NormalisedGradientDescent])
def test_learning_rates_per_replica_act_on_their_replica_only(start, kind):
    rates = [0.001, 0.005, 0.01]  # paths of length 1 at most: near its minimum, normalised descent amplifies rounding
    together = ours(kind(rates), start)
    for row, rate in enumerate(rates):
        alone = ours(kind(rate), start[row : row + 1])
        assert (together[row] - alone[0]).abs().max() < ROUNDING
        part = kind(rates).part(slice(row, row + 1))
        assert torch.equal(ours(part, start[row : row + 1])[0], together[row])


def test_normalised_step_has_the_length_of_the_learning_rate(start):
    optimiser, values = NormalisedGradientDescent(0.25), start.clone()
    optimiser.update(values, gradient(start), {}, 0)
    lengths = torch.linalg.vector_norm(values - start, dim=1)
    assert (lengths - 0.25).abs().max() < 20 * EPS64  # about 10 roundings at the size of start (3)


def test_normalised_step_leaves_a_replica_without_gradient_where_it_is(start):
    values = start.clone()
    NormalisedGradientDescent(0.25).update(values, torch.zeros_like(start), {}, 0)
    assert torch.equal(values, start)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_clipped_gradient_is_that_of_torch(start, decay):
    """Torch adds 1e-6 to norms: 1e-6 of a step of at most 0.05 * largest, 100 times."""
    largest, short = 0.5, 0.05 * 0.5
    expected = torchs(lambda p: torch.optim.SGD(p, lr=0.05, weight_decay=decay), start, largest=largest)
    descent = GradientDescent(0.05, weight_decay=decay)
    assert (ours(Clipped(descent, largest), start) - expected).abs().max() < N_STEPS * 1e-6 / largest * short + ROUNDING
    assert (ours(descent, start) - expected).abs().max() > 0.1
    norms = gradient(start).norm(dim=1)
    assert torch.equal(ours(Clipped(descent, 100.0), start), ours(descent, start)) and norms.max() < 100


def test_the_gradient_is_clipped_per_replica_and_small_ones_are_left_alone():
    def moved(optimiser, gradient):
        values = torch.zeros(2, 3)
        optimiser.update(values, gradient, optimiser.start(values), 0)
        return values

    gradient = torch.tensor([[0.1, 0.2, 0.0], [30.0, 40.0, 0.0]])
    shortened = torch.tensor([[0.1, 0.2, 0.0], [0.6, 0.8, 0.0]])
    adam = Adam(0.1, eps=1.0)  # large, so that Adam sees the size of a gradient
    assert torch.allclose(moved(Clipped(adam), gradient), moved(adam, shortened))
    assert not torch.allclose(moved(Clipped(adam), gradient), moved(adam, gradient))


@pytest.mark.parametrize("largest", [0.0, float("inf"), float("nan"), [1.0, 2.0]])
def test_a_bound_of_gradients_that_cannot_be_used_is_named(largest):
    with pytest.raises(ValueError, match="largest="):
        Clipped(Adam(0.1), largest)
    with pytest.raises(ValueError, match="clipped twice"):
        Clipped(Clipped(Adam(0.1)), 2.0)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), [0.1, float("inf")]])
def test_learning_rates_that_cannot_be_used_are_named(rate):
    with pytest.raises(ValueError, match="learning_rate"):
        Adam(rate)


def test_momentum_and_betas_outside_their_range_are_named():
    with pytest.raises(ValueError, match=r"momentum=1\.0"):
        GradientDescent(0.1, momentum=1.0)
    with pytest.raises(ValueError, match="betas"):
        Adam(0.1, betas=(0.9, 1.0))
