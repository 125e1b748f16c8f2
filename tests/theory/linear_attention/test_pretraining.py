"""Learning curves of pretraining: the deterministic equations they come from, limits, continuity in the ridge."""

import numpy as np
import pytest
from scipy.optimize import brentq

from attnlab.theory.linear_attention import pretraining as theory

CASES = [(1, 0.5, 2, 0.01), (10, 0.5, 4, 0.01), (1, 0.5, 0.5, 0.01), (2, 1.5, 0.6, 0.1), (5, 2, 3, 0.2)]


def test_resolvent_solves_the_marchenko_pastur_equation_and_is_that_of_drawn_tasks():
    for kappa in (0.4, 1.0, 2.5, np.inf):
        for x in (1e-6, 0.3, 5.0):
            m = theory.resolvent_of_tasks(x, kappa)
            assert x * m**2 / kappa + (x + 1 - 1 / kappa) * m == pytest.approx(1, rel=1e-8)  # cancels for small x
    rng, d, k = np.random.default_rng(0), 200, 100
    W = rng.normal(size=(k, d))
    found = np.trace(np.linalg.inv(W.T @ W / k + 0.3 * np.eye(d))) / d
    assert abs(found - theory.resolvent_of_tasks(0.3, 0.5)) < 5 / d  # linear statistics fluctuate by 1 / d
    assert abs(found - theory.resolvent_of_tasks(0.3, 1.0)) > 5 / d


@pytest.mark.parametrize("case", CASES)
def test_ridge_formula_is_continuous_to_the_ridgeless_one(case):
    assert theory.icl_error_limit(*case, 1e-9) == pytest.approx(theory.icl_error_limit(*case), rel=1e-6)
    assert theory.icl_error_limit(*case, 0.3) != pytest.approx(theory.icl_error_limit(*case), rel=1e-2)


@pytest.mark.parametrize("tau", [0.3, 0.9, 1.1, 4.0])
def test_unlimited_tasks_make_both_errors_one(tau):
    for kappa in (1e9, np.inf):
        assert theory.icl_error_limit(2, kappa, tau, 0.1) == pytest.approx(
            theory.idg_error_limit(2, kappa, tau, 0.1), rel=1e-6
        )
    assert theory.icl_error_limit(2, 0.5, tau, 0.1) > theory.idg_error_limit(2, 0.5, tau, 0.1) * 1.1


def test_unlimited_data_leave_the_part_that_no_task_spans():
    for kappa in (0.3, 0.8, 1.5):
        error = theory.icl_error_limit(1e7, kappa, np.inf, 0.05) - 0.05
        assert error == pytest.approx(float(theory.memorisation_error_limit(kappa)), abs=1e-5)
    assert theory.idg_error_limit(1e7, 0.3, np.inf, 0.05) == pytest.approx(0.05, abs=1e-5)


def test_no_data_leave_the_variance_of_labels_and_the_error_diverges_on_both_sides_of_one():
    assert theory.icl_error_limit(2, 0.5, 1e-9, 0.1) == pytest.approx(1.1, rel=1e-6)
    assert theory.icl_error_limit(2, 0.5, 1.0, 0.1) == theory.idg_error_limit(2, 0.5, 1.0, 0.1) == np.inf
    near, far = (theory.icl_error_limit(2, 0.5, 1 + side * gap, 0.1) for side, gap in ((1, 1e-4), (1, 1e-3)))
    assert near / far == pytest.approx(10, rel=0.02)  # a simple pole
    near, far = (theory.icl_error_limit(2, 0.5, 1 - gap, 0.1) for gap in (1e-4, 1e-3))
    assert near / far == pytest.approx(10, rel=0.02)


def test_limit_of_many_sequences_is_the_error_of_the_population_optimum():
    # tau -> infinity: ridge regression on the task covariance of penalty x, evaluated on new tasks, in finite dimension
    rng, d, kappa, alpha, rho = np.random.default_rng(1), 400, 0.5, 3.0, 0.1
    W = rng.normal(size=(int(kappa * d), d))
    R = W.T @ W / len(W)
    x = (1 + rho) / alpha
    A = R @ np.linalg.inv(R + x * np.eye(d))
    error = 1 + rho + (-2 * np.trace(A) + np.trace(A @ A.T) * (1 + x)) / d
    assert abs(error - theory.icl_error_limit(alpha, kappa, np.inf, rho)) < 5 / d
    assert abs(error - theory.icl_error_limit(alpha, 1.0, np.inf, rho)) > 5 / d


def test_weights_of_the_ridgeless_fit_are_counted():
    assert theory.interpolation_threshold_exact(7) == 56


def test_effective_ridge_is_where_the_balance_vanishes():
    x, kappa, tau, ridge = 0.5, 0.5, 0.7, 0.2
    eps = brentq(lambda e: 1 - tau + tau * ridge / e - e * theory.resolvent_of_tasks(e + x, kappa), 1e-9, 1e3)
    assert eps > (1 - tau) / theory.resolvent_of_tasks(x, kappa) * 0.5  # it does not vanish with the ridge below one


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="alpha"):
        theory.icl_error_limit(0, 0.5, 2, 0.1)
