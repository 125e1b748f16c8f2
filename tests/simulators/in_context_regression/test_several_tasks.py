"""Several tasks in one prompt: the law, the observables of known solutions, and training."""

import numpy as np
import pytest
import torch

from attnlab.simulators.in_context_regression.several_tasks import (
    MultiRegressionTask,
    MultiTaskSetting,
    evaluate,
    observables,
    train_multitask,
)
from attnlab.simulators.tasks.regression import RegressionTask

EPS64 = np.finfo(np.float64).eps
SUPPORTS = ((0, 1, 2), (2, 3))
TASK = MultiRegressionTask(dim=4, supports=SUPPORTS, n_context=5, batch=20_000, noise_std=0.5, coefficient_std=2.0)


@pytest.fixture(scope="module")
def batch():
    numbers = torch.empty(1, TASK.numbers_per_step, dtype=torch.float64)
    TASK.fill(numbers, torch.Generator().manual_seed(0))
    tokens, query, target = TASK.sequences(numbers)
    return tokens[0], query[0], target[0]


def within_five_errors(samples, expected):
    error = samples.std() / len(samples) ** 0.5
    return bool((samples.mean() - expected).abs() <= 5 * error)


@pytest.mark.parametrize("task", [0, 1])
def test_labels_come_from_their_support_with_the_stated_noise(batch, task):
    tokens, _, target = batch
    x, y, size = tokens[..., :4], tokens[..., 4 + task], len(SUPPORTS[task])
    assert within_five_errors(y[:, 0] ** 2, 4 * size * 1.25)  # b^2 |S| (1 + sigma^2)
    assert within_five_errors(target[:, task] ** 2, 4 * size)  # no noise on the query
    assert not within_five_errors(target[:, task] ** 2, 4 * size * 1.25)  # the twin
    for i in range(4):  # E[y_1 x_1i y_2 x_2i] = b^2 on the support
        product = y[:, 0] * x[:, 0, i] * y[:, 1] * x[:, 1, i]
        assert within_five_errors(product, 4.0 * (i in SUPPORTS[task]))
    assert within_five_errors(y[:, 0] * tokens[:, 0, 5 - task], 0.0)  # tasks have independent maps


def test_one_task_on_all_covariates_is_plain_regression():
    task = MultiRegressionTask(3, ((0, 1, 2),), 4, 5, noise_std=0.6, coefficient_std=3**-0.5)
    plain = RegressionTask(3, 4, 5, noise_std=0.6)
    numbers = torch.randn(2, plain.numbers_per_step, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    tokens, query, target = task.sequences(numbers[:, : task.numbers_per_step].clone())
    expected = plain.sequences(numbers.clone())
    assert (tokens - expected.tokens).abs().max() < 50 * EPS64
    assert torch.equal(query, expected.query) and (target[..., 0] - expected.signal).abs().max() < 50 * EPS64


def shared_heads(n_replicas, size):
    """Three heads for two tasks: M_t = 0.9 times the projector on S_t, with sum over heads of mu_t zero."""
    mu = torch.tensor([[1.0, -1.0, 0.0], [0.5, 0.5, -1.0]], dtype=torch.float64) / size  # (task, head)
    masks = TASK.mask().T  # (task, dim)
    diagonals = 0.9 * torch.linalg.pinv(mu) @ masks  # (head, dim)
    KQ = torch.zeros(n_replicas, 3, 6, 6, dtype=torch.float64)
    KQ[:, :, :4, :4] = torch.diag_embed(diagonals)
    OV = torch.zeros(n_replicas, 3, 2, 6, dtype=torch.float64)
    OV[:, :, 0, 4], OV[:, :, 1, 5] = mu[0], mu[1]
    return KQ, OV


def test_observables_of_shared_heads_are_the_projectors():
    KQ, OV = shared_heads(1, 0.1)
    found = observables(KQ, OV, TASK)
    assert (found["step_size"] - 0.9).abs().max() < 50 * EPS64 and found["projector_distance"].max() < 50 * EPS64
    assert (found["effective_diagonal"][0] - 0.9 * TASK.mask().T).abs().max() < 50 * EPS64
    assert found["zero_sum"].max() < 50 * EPS64
    assert (found["omega"][0, 0, 0] - found["KQ_diagonal"][0, 0, :3].mean()).abs() < 10 * EPS64
    KQ[0, 0, 0, 1] = 0.5
    assert observables(KQ, OV, TASK)["projector_distance"].min() > 0.1


def test_three_heads_serve_two_tasks_as_well_as_debiased_gradient_descent(seeds):
    size = 1e-3
    found = evaluate(*shared_heads(2, size), seeds(2), TASK, 500)
    # softmax differs from its linear part by (scores)^2 of relative size below (size * 20)^2, risks are of size 16
    assert np.abs(found["gap_to_debiased_gd"]).max() < 16 * 20 * size
    assert (found["risk_ridge"] < found["risk"]).all()
    spoilt = shared_heads(2, size)
    spoilt[1][:, 0, 0, 4] += 1 / size  # the twin: sum of mu not zero
    assert evaluate(*spoilt, seeds(2), TASK, 500)["gap_to_debiased_gd"][:, 0].min() > 1


def test_gradient_descent_on_a_support_has_its_exact_risk(seeds):
    n = 8
    found = evaluate(*shared_heads(n, 1e-3), seeds(n), TASK, 2_000)
    for t, support in enumerate(SUPPORTS):
        d, L, m, noise2 = len(support), TASK.n_context, TASK.n_context - 1, TASK.noise_std**2
        exact = 4 * d * (1 - 2 * 0.9 * m / L + 0.81 * m * (m + 1 + d + noise2 * d) / L**2)
        sample = found["risk_debiased_gd"][:, t]
        assert abs(sample.mean() - exact) < 5 * sample.std(ddof=1) / n**0.5
        assert abs(sample.mean() - exact * 1.25) > 5 * sample.std(ddof=1) / n**0.5  # the twin: noise on the query


def test_training_improves_and_returns_what_it_promises(seeds):
    setting = MultiTaskSetting(
        dim=3,
        supports=((0, 1), (1, 2)),
        n_context=8,
        n_heads=3,
        batch=16,
        n_steps=300,
        n_records=9,
        learning_rate=5e-3,
        n_test=1_000,
        snapshot_steps=(0, 100),
    )
    found = train_multitask(setting, seeds(2))
    n_records = found["steps"].shape[1]
    assert (found["risk"] + 5 * found["risk_se"] < 2).all()  # 2: the risk of predicting zero
    shapes = {
        "KQ": (2, 3, 3, 5, 5),
        "OV": (2, 3, 3, 2, 5),
        "mu": (2, n_records, 3, 2),
        "omega": (2, n_records, 3, 2),
        "KQ_diagonal": (2, n_records, 3, 3),
        "effective_diagonal": (2, n_records, 2, 3),
        "risk": (2, 2),
        "step_size": (2, n_records, 2),
        "zero_sum": (2, n_records, 2),
        "snapshot_steps": (2, 3),
    }
    assert {name: found[name].shape for name in shapes} == shapes
    assert found["snapshot_steps"][0].tolist() == [0, 100, 300]
    assert np.allclose(found["mu"][:, -1, :, 1], found["OV"][:, -1, :, 1, 4], rtol=1e-12)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("supports", ()),
        ("supports", ((),)),
        ("supports", ((0, 0),)),
        ("supports", ((6,),)),
        ("supports", ((-1, 2),)),
        ("noise_std", -0.1),
        ("coefficient_std", 0),
        ("n_heads", 0),
        ("init", "lineer"),
        ("n_test", float("nan")),
    ],
)
def test_settings_name_what_they_reject(field, value):
    with pytest.raises(ValueError, match=field):
        MultiTaskSetting(**{field: value})
