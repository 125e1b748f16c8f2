"""The law of the sequences: moments against the stated ones, in standard errors of the sample itself."""

import numpy as np
import pytest
import torch

from attnlab.simulators.tasks.regression import RegressionTask, covariance_root

DIM, CONTEXT, N = 3, 4, 40_000
EPS64 = np.finfo(np.float64).eps


def draw(task, seed=0):
    numbers = torch.empty(1, task.numbers_per_step, dtype=torch.float64)
    task.fill(numbers, torch.Generator().manual_seed(seed))
    return task.sequences(numbers)


def within_five_errors(samples, expected):
    """Whether means over the first axis are within 5 standard errors of what is expected, entry by entry."""
    samples = samples.reshape(len(samples), -1)
    error = samples.std(0) / len(samples) ** 0.5
    return bool(((samples.mean(0) - torch.as_tensor(expected, dtype=torch.float64).flatten()).abs() <= 5 * error).all())


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_covariates_and_queries_have_the_stated_covariance(decay):
    batch = draw(RegressionTask(DIM, CONTEXT, N, 0.5, decay))
    expected = decay ** np.abs(np.subtract.outer(np.arange(DIM), np.arange(DIM))) if decay else np.eye(DIM)
    for x in (batch.tokens[0, :, 0, :DIM], batch.tokens[0, :, -1, :DIM], batch.query[0]):
        products = x[:, :, None] * x[:, None]
        assert within_five_errors(products, expected) and within_five_errors(x, np.zeros(DIM))
        assert not within_five_errors(products, 1.05 * expected)  # the twin
    across = batch.tokens[0, :, 0, :DIM] * batch.tokens[0, :, 1, :DIM]
    assert within_five_errors(across, np.zeros(DIM))


@pytest.mark.parametrize("noise_std", [0.5, 0.0])
def test_labels_have_the_stated_noise_and_share_one_map(noise_std):
    batch = draw(RegressionTask(DIM, CONTEXT, N, noise_std))
    x, y = batch.tokens[0, ..., :DIM], batch.tokens[0, ..., DIM]
    assert within_five_errors(y[:, 0] ** 2, 1 + noise_std**2)  # E |x|^2 / d = 1
    assert within_five_errors((batch.target - batch.signal)[0] ** 2, noise_std**2)
    # E[y_1 y_2 | x] = x_1 . x_2 / d, the covariance of the map's coefficients
    assert within_five_errors(y[:, 0] * y[:, 1] - (x[:, 0] * x[:, 1]).sum(-1) / DIM, 0.0)
    assert within_five_errors(y[:, 0] * batch.target[0] - (x[:, 0] * batch.query[0]).sum(-1) / DIM, 0.0)
    weighted = y[:, 0] * y[:, 1] * (x[:, 0] * x[:, 1]).sum(-1)  # mean E (x_1 . x_2)^2 / d = 1
    assert within_five_errors(weighted, 1.0) and not within_five_errors(weighted, 1.2)  # twin; error of the mean: 0.02


def test_without_noise_labels_are_a_linear_function_of_covariates():
    batch = draw(RegressionTask(DIM, 5, 10, 0.0))
    x, y = batch.tokens[0, ..., :DIM], batch.tokens[0, ..., DIM]
    solution = torch.linalg.lstsq(x, y[..., None])
    assert (x @ solution.solution - y[..., None]).abs().max() < 1e4 * EPS64  # conditioning below about 100
    assert ((batch.query[0] * solution.solution[..., 0]).sum(-1) - batch.target[0]).abs().max() < 1e5 * EPS64


def test_noise_per_replica_follows_its_replica():
    task = RegressionTask(DIM, CONTEXT, N // 4, np.array([0.0, 1.0]))
    numbers = torch.randn(2, task.numbers_per_step, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    both = task.sequences(numbers.clone())
    alone = task.part(slice(1, 2)).sequences(numbers[1:].clone())
    assert torch.equal(both.tokens[1], alone.tokens[0]) and torch.equal(both.target[1], alone.target[0])
    assert torch.equal(both.target[0], both.signal[0])


def test_covariance_root_squares_to_the_covariance():
    root = covariance_root(5, 0.5)
    expected = 0.5 ** np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    assert np.abs((root @ root.mT).numpy() - expected).max() < 10 * EPS64


def test_loss_is_the_mean_squared_error_on_the_noisy_label():
    task = RegressionTask(DIM, CONTEXT, 6, 0.5)
    numbers = torch.randn(2, task.numbers_per_step, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    target = task.sequences(numbers.clone()).target
    loss = task.loss(lambda parameters, tokens, query: 2 * query[..., :1], {}, numbers.clone())
    query = task.sequences(numbers.clone()).query
    assert torch.allclose(loss, ((2 * query[..., 0] - target) ** 2).mean(-1), rtol=10 * EPS64)
