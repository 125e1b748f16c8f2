"""Several tasks in one layer: risks, the construction with the fewest heads, and why fewer cannot do."""

import numpy as np
import pytest
from scipy.optimize import minimize

from attnlab.theory.in_context_regression.several_tasks import (
    multi_task_best_risk_exact,
    multi_task_best_step_exact,
    multi_task_common_preconditioner_risk_exact,
    multi_task_few_heads_distance_exact,
    multi_task_few_heads_risk_exact,
    multi_task_heads,
    multi_task_minimum_heads_exact,
)
from attnlab.theory.preconditioned_regression.risks import (
    best_debiased_preconditioned_risk_exact,
    best_debiased_preconditioner_exact,
    debiased_preconditioned_risk_exact,
)

OVERLAPPING = [[0, 1, 2, 3], [2, 3, 4, 5]]
DISJOINT = [[0, 1], [2, 3], [4, 5]]
DEPENDENT = [[0, 1], [2, 3], [0, 1, 2, 3]]


def test_published_steps_and_risks_are_reproduced():
    assert abs(multi_task_best_step_exact(4, 48, 0.4**0.5, 2.0) - 0.916) < 5e-4
    assert abs(multi_task_best_risk_exact(4, 48, 0.4**0.5, 2.0) - 0.412) < 5e-4
    assert abs(multi_task_best_risk_exact(2, 48, 0.1**0.5) - 0.0637) < 5e-5


def test_step_and_risk_are_those_of_a_prior_on_the_support():
    prior = np.diag([1.0, 1.0, 1.0, 1.0, 0.0, 0.0])  # signal variance 4 on a support of 4
    M = best_debiased_preconditioner_exact(np.eye(6), 48, 0.6, prior)
    np.testing.assert_allclose(M, multi_task_best_step_exact(4, 48, 0.6, 2.0) * prior, atol=1e-14)
    risk = best_debiased_preconditioned_risk_exact(np.eye(6), 48, 0.6, prior)
    assert abs(risk - 0.36 - multi_task_best_risk_exact(4, 48, 0.6, 2.0)) < 1e-13


@pytest.mark.parametrize(
    ("supports", "heads"), [(OVERLAPPING, 3), (DISJOINT, 4), (DEPENDENT, 3), ([[0, 1]], 2), ([[0, 1], [0, 1]], 2)]
)
def test_minimum_number_of_heads_is_the_rank_of_the_supports_plus_one(supports, heads):
    assert multi_task_minimum_heads_exact(supports, 6) == heads
    steps = np.linspace(0.7, 0.9, len(supports))
    if supports == DEPENDENT or (len(supports) == 2 and supports[0] == supports[1]):
        steps = np.full(len(supports), 0.8)
    mu, kq = multi_task_heads(supports, 6, steps, 0.1)
    assert mu.shape == (len(supports), heads) and kq.shape == (heads, 6)
    target = np.zeros((len(supports), 6))
    for t, support in enumerate(supports):
        target[t, support] = steps[t]
    np.testing.assert_allclose(mu @ kq, target, atol=1e-13)
    np.testing.assert_allclose(mu.sum(axis=1), 0, atol=1e-12)
    assert abs(np.sqrt(np.mean(kq**2)) - 0.1) < 1e-14


def test_as_many_heads_as_independent_tasks_cannot_give_the_targets():
    target = np.zeros((3, 6))
    for t, support in enumerate(DISJOINT):
        target[t, support] = 0.9
    rng = np.random.default_rng(0)
    for _ in range(20):
        mu = rng.normal(size=(3, 3))
        mu -= mu.mean(axis=1, keepdims=True)  # zero sum
        kq, *_ = np.linalg.lstsq(mu, target, rcond=None)
        # Rank 2 against three orthogonal rows of length 0.9 sqrt 2: the best misses one of them (Eckart and Young).
        assert np.linalg.norm(mu @ kq - target) >= 0.9 * 2**0.5 - 1e-12


@pytest.mark.parametrize("supports", [OVERLAPPING, DEPENDENT])
def test_softmax_heads_of_the_construction_reach_the_risk_of_debiased_gradient_descent(supports):
    n_context, noise_std, scale, n = 24, 0.3, 0.02, 30_000
    steps = [multi_task_best_step_exact(4, n_context, noise_std)] * len(supports)
    mu, kq = multi_task_heads(supports, 6, steps, scale)
    rng = np.random.default_rng(5)
    X, x_q = rng.normal(size=(n, n_context, 6)), rng.normal(size=(n, 6))
    p = np.exp(np.einsum("nld,hd,nd->nhl", X, kq, x_q))
    p /= p.sum(axis=2, keepdims=True)
    support = supports[-1]  # a support of four in both cases
    w = np.einsum("h,nhl->nl", mu[-1], p)
    v = np.einsum("nl,nld->nd", w, X)[:, support]
    risk = (
        1 - 2 * np.sum(v * x_q[:, support], axis=1) / 4 + np.sum(v**2, axis=1) / 4 + noise_std**2 * np.sum(w**2, axis=1)
    )  # averaged over beta and noise, query noiseless
    error = risk.std() / n**0.5
    bias = 6 * scale**2 * 6  # second order: d omega^2 times the null risk
    assert abs(risk.mean() - multi_task_best_risk_exact(4, n_context, noise_std)) < 5 * error + bias
    assert abs(risk.mean() - multi_task_best_risk_exact(6, n_context, noise_std)) > 5 * error + bias  # all coordinates


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"supports\[1\]=\[6\] must be distinct coordinates in 0..5"):
        multi_task_minimum_heads_exact([[0], [6]], 6)
    with pytest.raises(ValueError, match="supports is empty"):
        multi_task_minimum_heads_exact([], 6)
    with pytest.raises(ValueError, match="steps has shape"):
        multi_task_heads(OVERLAPPING, 6, [0.9], 0.1)
    with pytest.raises(ValueError, match=r"scale=.* must be positive"):
        multi_task_heads(OVERLAPPING, 6, [0.9, 0.9], 0.0)
    with pytest.raises(ValueError, match=r"signal_std=.* must be positive"):
        multi_task_best_step_exact(4, 48, 0.3, 0.0)


def mean_risk(matrices, supports, dim, n_context, noise_std):
    """Mean risk over tasks of signal variance 1 with any matrices (task, dim, dim), from the general formula."""
    priors = [np.diag(np.isin(np.arange(dim), s) / len(s)) for s in supports]
    return np.mean(
        [
            debiased_preconditioned_risk_exact(M, np.eye(dim), n_context, noise_std, prior) - noise_std**2
            for M, prior in zip(matrices, priors, strict=True)
        ]
    )


@pytest.mark.sampled(4)
@pytest.mark.parametrize("n_heads", [2, 3, pytest.param(4, marks=pytest.mark.slow)])
def test_three_tasks_with_few_heads_reach_the_best_targets_of_their_rank(n_heads):
    L, sigma = 48, 0.1**0.5
    predicted = multi_task_few_heads_risk_exact(3, n_heads, 2, L, sigma)
    projectors = np.array([np.diag(np.isin(np.arange(6), s) * 1.0) for s in DISJOINT])

    def risk(z):  # sum_h mu = 0: M_t = sum_s (mu kq)_ts P_s of rank n_heads - 1
        mu, kq = z.reshape(2, 3, -1)
        return mean_risk(np.einsum("th,sh,sij->tij", mu, kq, projectors), DISJOINT, 6, L, sigma)

    found = min(minimize(risk, np.random.default_rng(seed).normal(size=6 * (n_heads - 1))).fun for seed in range(5))
    assert abs(found - predicted) < 1e-7  # the optimiser's tolerance on a smooth minimum
    best = multi_task_best_risk_exact(2, L, sigma)
    assert predicted > 1.2 * best if n_heads < 4 else abs(predicted - best) < 1e-12  # the twin "N heads suffice"


def test_few_heads_leave_the_null_predictor_and_the_best_one_as_limits():
    assert multi_task_few_heads_risk_exact(3, 1, 2, 48, 0.3) == 1.0
    assert (
        abs(multi_task_few_heads_risk_exact(10**6, 10**6, 2, 48, 0.3) - multi_task_best_risk_exact(2, 48, 0.3)) < 1e-4
    )
    assert (
        abs(multi_task_few_heads_distance_exact(3, 3) - 2**-0.5) < 1e-15
        and multi_task_few_heads_distance_exact(3, 4) == 0
    )
    with pytest.raises(ValueError, match="n_heads"):
        multi_task_few_heads_distance_exact(3, 1)


@pytest.mark.parametrize("supports", [OVERLAPPING, DISJOINT, [[0, 1, 2], [2, 3, 4]]])
def test_one_preconditioner_for_all_tasks_is_the_minimum_over_common_matrices(supports):
    L, sigma = 48, 0.1**0.5
    predicted = multi_task_common_preconditioner_risk_exact(supports, 6, L, sigma)

    def risk(z):
        return mean_risk([z.reshape(6, 6)] * len(supports), supports, 6, L, sigma)

    assert abs(minimize(risk, np.eye(6).ravel()).fun - predicted) < 1e-7
    best = np.mean([multi_task_best_risk_exact(len(s), L, sigma) for s in supports])
    assert predicted > best


def test_one_task_needs_no_second_preconditioner():
    common = multi_task_common_preconditioner_risk_exact([[0, 1, 2]], 3, 20, 0.3, 1.5)
    assert abs(common - multi_task_best_risk_exact(3, 20, 0.3, 1.5)) < 1e-12
