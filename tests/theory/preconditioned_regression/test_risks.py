"""Exact risk of preconditioned gradient descent for any covariance and prior, against sampling and perturbations."""

import numpy as np
import pytest

from attnlab.theory.in_context_regression.gradient_descent_risks import (
    debiased_gd_best_risk_exact,
    debiased_gd_best_step_exact,
    debiased_gd_risk_exact,
    plain_gd_best_step_exact,
    plain_gd_risk_exact,
)
from attnlab.theory.preconditioned_regression.risks import (
    autoregressive_covariance,
    best_debiased_preconditioned_risk_exact,
    best_debiased_preconditioner_exact,
    best_plain_preconditioner_exact,
    debiased_preconditioned_risk_exact,
    plain_preconditioned_risk_exact,
)

COVARIANCE = autoregressive_covariance(5, 0.5)
NOISE = 0.1**0.5


def _random_problem(seed=0, dim=3):
    rng = np.random.default_rng(seed)
    A, B = rng.normal(size=(2, dim, dim))
    return A @ A.T / dim, B @ B.T / dim, rng.normal(size=(dim, dim))  # covariance, prior, preconditioner


def test_risk_agrees_with_sampling_for_a_preconditioner_without_symmetry():
    covariance, prior, M = _random_problem()
    dim, n_context, noise_std, n = 3, 8, 0.5, 200_000
    rng = np.random.default_rng(1)
    root, prior_root = np.linalg.cholesky(covariance), np.linalg.cholesky(prior)
    X, x_q = rng.normal(size=(n, n_context, dim)) @ root.T, rng.normal(size=(n, dim)) @ root.T
    beta = rng.normal(size=(n, dim)) @ prior_root.T
    y = np.einsum("nld,nd->nl", X, beta) + noise_std * rng.normal(size=(n, n_context))
    y_q = np.sum(beta * x_q, axis=1) + noise_std * rng.normal(size=n)
    scores = np.einsum("nld,de,ne->nl", X, M, x_q)
    for centre, risk in ((True, debiased_preconditioned_risk_exact), (False, plain_preconditioned_risk_exact)):
        s = scores - scores.mean(axis=1, keepdims=True) if centre else scores
        loss = (y_q - np.sum(y * s, axis=1) / n_context) ** 2
        error = loss.std() / n**0.5
        assert abs(loss.mean() - risk(M, covariance, n_context, noise_std, prior)) < 5 * error
        # The twin is the transposed preconditioner, score x_q^T M x_l.
        assert abs(loss.mean() - risk(M.T, covariance, n_context, noise_std, prior)) > 5 * error


def test_identity_covariance_gives_back_gradient_descent():
    for step in (0.3, 1.2):
        M = step * np.eye(4)
        assert (
            abs(debiased_preconditioned_risk_exact(M, np.eye(4), 11, 0.7) - debiased_gd_risk_exact(step, 4, 11, 0.7))
            < 1e-13
        )
        assert (
            abs(plain_preconditioned_risk_exact(M, np.eye(4), 11, 0.7) - plain_gd_risk_exact(step, 4, 11, 0.7)) < 1e-13
        )
    best = best_debiased_preconditioner_exact(np.eye(4), 11, 0.7)
    np.testing.assert_allclose(best, debiased_gd_best_step_exact(4, 11, 0.7) * np.eye(4), atol=1e-14)
    np.testing.assert_allclose(
        best_plain_preconditioner_exact(np.eye(4), 11, 0.7),
        plain_gd_best_step_exact(4, 11, 0.7) * np.eye(4),
        atol=1e-14,
    )
    assert (
        abs(best_debiased_preconditioned_risk_exact(np.eye(4), 11, 0.7) - debiased_gd_best_risk_exact(4, 11, 0.7))
        < 1e-13
    )


@pytest.mark.parametrize(
    ("best", "risk"),
    [
        (best_debiased_preconditioner_exact, debiased_preconditioned_risk_exact),
        (best_plain_preconditioner_exact, plain_preconditioned_risk_exact),
    ],
)
def test_best_preconditioner_is_stationary_and_the_risk_rises_in_every_direction(best, risk):
    covariance, prior, _ = _random_problem(seed=2)
    M = best(covariance, 9, 0.4, prior)
    lowest = risk(M, covariance, 9, 0.4, prior)
    for direction in np.eye(9).reshape(9, 3, 3):
        up, down = (risk(M + s * direction, covariance, 9, 0.4, prior) for s in (1.0, -1.0))
        assert up > lowest and down > lowest
        # The risk is quadratic, so equal steps cost the same at the minimum; rounding of about 1e2 terms.
        assert abs(up - down) < 1e-11 * max(up, 1.0)
    assert (
        best is best_plain_preconditioner_exact
        or abs(lowest - best_debiased_preconditioned_risk_exact(covariance, 9, 0.4, prior)) < 1e-13
    )


def test_default_prior_gives_the_inverse_covariance_with_a_ridge():
    ridge = (np.trace(COVARIANCE) + 5 * NOISE**2) / 40
    np.testing.assert_allclose(
        best_debiased_preconditioner_exact(COVARIANCE, 40, NOISE),
        np.linalg.inv(COVARIANCE + ridge * np.eye(5)),
        atol=1e-13,
    )


def test_published_eigenvalues_and_distances_to_simpler_preconditioners_are_reproduced():
    M = best_debiased_preconditioner_exact(COVARIANCE, 40, NOISE)
    np.testing.assert_allclose(np.linalg.eigvalsh(M)[::-1], [2.01, 1.68, 1.21, 0.73, 0.42], atol=0.005 + 1e-9)
    size = np.linalg.norm(M)
    isotropic = M - np.trace(M) / 5 * np.eye(5)
    assert abs(np.linalg.norm(isotropic) / size - 0.44) < 0.01
    lowest = best_debiased_preconditioned_risk_exact(COVARIANCE, 40, NOISE)
    for rival in (np.linalg.inv(COVARIANCE), np.trace(M) / 5 * np.eye(5)):
        assert debiased_preconditioned_risk_exact(rival, COVARIANCE, 40, NOISE) > lowest + 0.01


def test_long_contexts_recover_the_inverse_covariance():
    gaps = [
        np.linalg.norm(best_debiased_preconditioner_exact(COVARIANCE, n, NOISE) @ COVARIANCE - np.eye(5))
        for n in (10_000, 20_000)
    ]
    assert abs(gaps[0] / gaps[1] - 2) < 0.01


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"preconditioner has shape \(2, 2\), expected \(5, 5\)"):
        debiased_preconditioned_risk_exact(np.eye(2), COVARIANCE, 40, NOISE)
    with pytest.raises(ValueError, match="covariance must be symmetric with no negative eigenvalue"):
        best_debiased_preconditioner_exact(np.diag([1.0, -1.0]), 40, NOISE)
    with pytest.raises(ValueError, match="prior has shape"):
        best_debiased_preconditioner_exact(COVARIANCE, 40, NOISE, np.eye(4))
    with pytest.raises(ValueError, match="correlation"):
        autoregressive_covariance(5, 1.0)
