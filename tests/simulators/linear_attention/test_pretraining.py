"""Pretraining on finite data and risks of given matrices: the law of the features, the fit, exact population errors."""

import numpy as np
import pytest
import torch

from attnlab.simulators.linear_attention.pretraining import (
    PretrainingSetting,
    features,
    population_errors,
    pretrain,
    ridge_weights,
)
from attnlab.simulators.linear_attention.risk import RiskSetting, risk


def explicit(tasks, n, length, rho, rng):
    """The features with every covariate drawn: the definition."""
    d = tasks.shape[1]
    w = tasks[rng.integers(len(tasks), size=n)]
    x = rng.normal(size=(n, length + 1, d)) / d**0.5
    y = np.einsum("nld,nd->nl", x, w) + rho**0.5 * rng.normal(size=(n, length + 1))
    a = d / length * np.einsum("nl,nld->nd", y[:, :-1], x[:, :-1])
    g = (y[:, :-1] ** 2).mean(1)
    return (x[:, -1, :, None] * np.concatenate([a, g[:, None]], 1)[:, None]).reshape(n, -1), y[:, -1]


def sphere(rng, k, d):
    rows = rng.normal(size=(k, d))
    return rows * d**0.5 / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("length", [1, 4])
def test_features_have_the_moments_of_features_with_every_covariate_drawn(length):
    rng, n, rho = np.random.default_rng(0), 100_000, 0.3
    tasks = sphere(rng, 2, 3)
    (H, y), (K, z) = features(tasks, n, length, rho, rng), explicit(tasks, n, length, rho, rng)
    H, y = H.numpy(), y.numpy()
    for left, right in ((H * y[:, None], K * z[:, None]), (H[:, :, None] * H[:, None], K[:, :, None] * K[:, None])):
        error = np.sqrt((left.var(0) + right.var(0)) / n)
        assert (np.abs(left.mean(0) - right.mean(0)) < 5.5 * error + 1e-12).all()


@pytest.mark.parametrize("n", [5, 40])
def test_both_normal_equations_give_the_ridge_solution(n):
    rng = np.random.default_rng(1)
    H, y = rng.normal(size=(n, 12)), rng.normal(size=n)
    expected = np.linalg.solve(H.T @ H + 0.3 * np.eye(12), H.T @ y)
    np.testing.assert_allclose(
        ridge_weights(torch.from_numpy(H), torch.from_numpy(y), 0.3).numpy(), expected, rtol=1e-9, atol=1e-12
    )


def test_population_errors_agree_with_fresh_sequences_of_new_and_of_seen_tasks():
    rng, d, length, rho, n = np.random.default_rng(2), 4, 6, 0.2, 200_000
    tasks = sphere(rng, 2, d)
    Gamma = np.concatenate([0.4 * np.eye(d) + 0.1 * rng.normal(size=(d, d)), 0.2 * rng.normal(size=(d, 1))], axis=1)
    new, seen = population_errors(Gamma, tasks, length, rho)
    for expected, rival, drawn in ((seen, new, tasks), (new, seen, rng.normal(size=(n, d)))):
        H, y = explicit(drawn, n, length, rho, rng)
        losses = (H @ Gamma.ravel() - y) ** 2
        error = losses.std() / n**0.5
        assert abs(losses.mean() - expected) < 5 * error < abs(losses.mean() - rival)


def test_fit_on_many_sequences_nears_the_population_optimum_and_few_overfit(seeds):
    found = pretrain(PretrainingSetting(dims=(6,), kappa=2.0, alpha=3.0, taus=(0.5, 2.0, 30.0)), seeds(8))
    idg = found["idg_error"][:, 0].mean(0)
    assert idg[2] < idg[1] < 3 and idg[2] < 0.6 < idg[0]
    assert (found["n_sequences"][0, 0] == [18, 72, 1080]).all()
    same = pretrain(PretrainingSetting(dims=(6,), infinite_tasks=True, taus=(2.0,)), seeds(2))
    assert np.array_equal(same["icl_error"], same["idg_error"])


def test_risk_without_weights_is_the_variance_of_the_label(seeds):
    found = risk(RiskSetting(spectrum=(1.0, 0.5), noise_std=0.5, n_sequences=4_000), seeds(8))
    mean, error = found["risk"][:, 0].mean(0), found["risk"][:, 0].std(0) / 8**0.5
    assert (np.abs(mean - 1.75) < 5 * error).all()


def test_risk_agrees_with_errors_on_drawn_queries_and_tends_to_the_unlimited_one(seeds):
    G, S, N = np.array([[0.7, 0.2], [-0.1, 1.1]]), np.array([1.0, 0.5]), 8
    rng, n = np.random.default_rng(3), 100_000
    x, w = rng.normal(size=(n, N + 1, 2)) * S**0.5, rng.normal(size=(n, 2))
    y = np.einsum("nld,nd->nl", x, w)
    beta = np.einsum("nl,nld->nd", y[:, :N], x[:, :N]) / N
    losses = (np.einsum("nd,de,ne->n", beta, G, x[:, N]) - y[:, N]) ** 2
    found = risk(
        RiskSetting(matrices=(tuple(map(tuple, G)),), spectrum=tuple(S), lengths=(N, 500), n_sequences=2_000), seeds(8)
    )
    both = (losses.var() / n + found["risk"][:, 0, 0].var() / 8) ** 0.5
    assert abs(found["risk"][:, 0, 0].mean() - losses.mean()) < 5 * both
    far = found["risk"][:, 0, 1] - found["unlimited"][:, 0]  # of order 3 / 500, paired
    assert np.abs(far.mean()) < 0.02 < abs(found["risk"][:, 0, 0].mean() - found["unlimited"].mean())


@pytest.mark.parametrize("bad", [{"alpha": 0}, {"ridge": 0}, {"dims": (2,), "kappa": 0.1}, {"taus": (0.0,)}])
def test_settings_name_what_they_reject(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        PretrainingSetting(**bad)


def test_matrices_of_another_size_are_named():
    with pytest.raises(ValueError, match="matrices"):
        RiskSetting(matrices=(((0.9, 0.0), (0.0, 0.8)),), spectrum=(1.0, 0.5, 0.2))
