"""Optimal weights and exact risks of linear attention: against sampling, a certificate of the minimum, and limits."""

import numpy as np
import pytest

from attnlab.theory.in_context_regression.gradient_descent_risks import bayes_risk_limit
from attnlab.theory.linear_attention import one_step as theory

EPS = np.finfo(float).eps
S = np.diag([0.4, 0.3, 0.2, 0.1])


def problem(seed=0, d=3):
    rng = np.random.default_rng(seed)
    A, B = rng.normal(size=(2, d, d))
    return A @ A.T / d, B @ B.T / d, rng.normal(size=(d, d))  # covariance, prior, effective matrix


def test_risk_agrees_with_sampled_prompts_and_not_without_fourth_moments():
    covariance, prior, G = problem()
    N, noise, n = 5, 0.4, 200_000
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, N + 1, 3)) @ np.linalg.cholesky(covariance).T
    w = rng.normal(size=(n, 3)) @ np.linalg.cholesky(prior).T
    y = np.einsum("nld,nd->nl", x, w) + noise * rng.normal(size=(n, N + 1))
    beta = np.einsum("nl,nld->nd", y[:, :N], x[:, :N]) / N
    loss = (y[:, N] - np.einsum("nd,de,ne->n", beta, G, x[:, N])) ** 2
    error = loss.std() / n**0.5
    exact = theory.risk_exact(G, covariance, N, noise, prior)
    assert abs(loss.mean() - exact) < 5 * error
    term = np.trace(covariance @ prior @ covariance @ G @ covariance @ G.T) / N
    assert abs(loss.mean() - (exact - term)) > 5 * error


def test_best_matrix_is_the_only_minimum():
    covariance, prior, _ = problem(2)
    best = theory.best_matrix_exact(covariance, 9, 0.3, prior)
    lowest = theory.best_risk_exact(covariance, 9, 0.3, prior)
    for direction in np.eye(9).reshape(9, 3, 3):
        up, down = (theory.risk_exact(best + s * direction, covariance, 9, 0.3, prior) for s in (1, -1))
        assert min(up, down) > lowest and abs(up - down) < 1e-11 * up  # stationary, and convex in every direction


def test_without_noise_and_prior_it_is_the_inverse_of_gamma():
    gamma = (1 + 1 / 31) * S + np.trace(S) / 31 * np.eye(4)
    np.testing.assert_allclose(theory.best_matrix_exact(S, 31), np.linalg.inv(gamma), rtol=1e-13)
    assert np.abs(theory.best_matrix_exact(S, 31) - np.linalg.inv(S)).max() > 1


def test_white_covariance_with_unit_signal_is_a_step_of_known_size():
    d, N, s2 = 5, 20, 0.3
    eta = 1 / (1 + (d + 1 + d * s2) / N)
    np.testing.assert_allclose(
        theory.best_matrix_exact(np.eye(d), N, s2**0.5, np.eye(d) / d), eta * np.eye(d), atol=1e-14
    )
    assert theory.best_risk_exact(np.eye(d), N, s2**0.5, np.eye(d) / d) == pytest.approx(1 + s2 - eta, abs=1e-13)


def test_best_risk_is_a_sum_over_the_spectrum():
    lam = np.diag(S)
    assert theory.best_risk_exact(S, 31) == pytest.approx(
        np.sum(lam * (1 - 1 / (1 + (1 + lam.sum() / lam) / 31))), abs=1e-14
    )


def test_balanced_limit_is_balanced_and_multiplies_to_the_optimum():
    value, block = theory.balanced_limit_weights_exact(S, 31)
    np.testing.assert_allclose(value * block, theory.best_matrix_exact(S, 31), rtol=1e-14)
    assert np.linalg.norm(block) == pytest.approx(value, rel=1e-14)
    gamma = np.linalg.inv(theory.best_matrix_exact(S, 31))
    assert value == pytest.approx(np.trace(np.linalg.inv(gamma @ gamma)) ** 0.25, rel=1e-13)
    bound = theory.small_start_bound(S, 31)
    assert bound**2 * np.linalg.norm(gamma, 2) * 2 == pytest.approx(2, rel=1e-13)


def test_risk_of_fixed_weights_is_linear_in_the_inverse_length_and_ends_at_the_bias():
    G, T = theory.best_matrix_exact(S, 31), np.diag([0.1, 0.2, 0.3, 0.4])
    bias = theory.long_context_risk_limit(G, T)
    gaps = [M * (theory.risk_exact(G, T, M) - bias) for M in (2, 10, 1000)]
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-9)
    assert bias > 0.1 and abs(theory.long_context_risk_limit(np.linalg.inv(T), T)) < 100 * EPS


def test_ridge_risk_is_least_at_the_bayes_penalty_and_agrees_there_and_elsewhere():
    for xi in (0.2, 1.0, 3.0):
        best = theory.ridge_risk_limit(xi, 0.5, xi * 0.25)
        assert best == pytest.approx(float(bayes_risk_limit(xi, 0.5)), rel=1e-12)
        assert all(theory.ridge_risk_limit(xi, 0.5, xi * 0.25 * f) > best for f in (0.8, 1.25))
    rng, d, N, r = np.random.default_rng(3), 150, 300, 0.4
    found = []
    for _ in range(20):
        X = rng.normal(size=(N, d)) / N**0.5
        scatter = X.T @ X
        inverse = np.linalg.inv(scatter + r * np.eye(d))
        found.append(0.25 + np.sum((r * inverse) ** 2) / d + 0.25 * np.trace(inverse @ scatter @ inverse) / N)
    # fluctuations of linear statistics are of order 1 / d, the bias too
    assert abs(np.mean(found) - theory.ridge_risk_limit(d / N, 0.5, r)) < 1 / d
    assert abs(np.mean(found) - float(bayes_risk_limit(d / N, 0.5))) > 1 / d


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="ridge"):
        theory.ridge_risk_limit(0.5, 0.1, 0.0)
