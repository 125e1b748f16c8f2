"""Rates and flows against finite differences, another integrator, numerical minimisation, and their limits."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

from attnlab.theory.max_margin_attention import dynamics
from attnlab.theory.max_margin_attention import frobenius as svm

RNG = np.random.default_rng(9)


def instance(n, T, d):
    keys, queries = RNG.normal(size=(n, T, d)), RNG.normal(size=(n, d))
    keys /= np.linalg.norm(keys, axis=-1, keepdims=True)
    return keys, queries / np.linalg.norm(queries, axis=-1, keepdims=True), RNG.normal(size=(n, T))


def plain_loss(W, keys, queries, scores, kind):
    logits = np.einsum("itd,de,ie->it", keys, W, queries)
    s = np.exp(logits - logits.max(1, keepdims=True))
    u = ((s / s.sum(1, keepdims=True)) * scores).sum(1)
    return {"linear": -u, "logistic": np.log1p(np.exp(-u)), "exponential": np.exp(-u)}[kind].mean()


def test_the_closed_form_solves_its_equation_and_its_ode_and_has_both_limits():
    tau = np.array([0.0, 1e-3, 0.1, 1.0, 10.0, 1e3, 1e8])
    a = dynamics.two_token_logit(tau)
    assert np.allclose(2 * a + 2 * np.sinh(a), tau, rtol=1e-12)
    assert a[1] == pytest.approx(tau[1] / 4, rel=1e-6)
    gap = np.log(tau[-1]) - a[-1]
    assert 0 < gap < 4 * a[-1] / tau[-1] * 1.1  # log(tau - 2 a)
    ode = solve_ivp(lambda t, a: 1 / (2 + 2 * np.cosh(a)), (0, 10), [0.0], rtol=1e-10, atol=1e-12)
    assert ode.y[0, -1] == pytest.approx(a[4], abs=1e-8)
    with pytest.raises(ValueError, match="negative"):
        dynamics.two_token_logit(-1.0)


@pytest.mark.parametrize("kind", ["linear", "logistic", "exponential"])
def test_slopes_are_parallel_to_the_derivative_by_finite_differences(kind):
    keys, queries, scores = instance(3, 4, 5)
    W, h = RNG.normal(size=(5, 5)), 1e-6
    numeric = np.zeros((5, 5))
    for index in np.ndindex(5, 5):
        E = np.zeros((5, 5))
        E[index] = h
        numeric[index] = (
            plain_loss(W + E, keys, queries, scores, kind) - plain_loss(W - E, keys, queries, scores, kind)
        ) / (2 * h)
    c = dynamics.slopes(np.einsum("itd,de,ie->it", keys, W, queries), scores, kind)
    assert svm.misalignment(np.einsum("it,itd,ie->de", c, keys, queries), numeric) < 1e-10


def test_slopes_keep_their_digits_where_softmax_has_saturated():
    scores = np.array([[1.0, 0.3, -0.2]])
    c = dynamics.slopes(np.array([[900.0, 100.0, 99.0]]), scores, "linear")
    ratio = c[0, 2] / c[0, 1]
    assert ratio == pytest.approx(1.2 / 0.7 * np.exp(-1.0), rel=1e-12) and c.sum() == pytest.approx(0, abs=1e-15)


def test_the_reduced_flow_is_the_flow_of_the_whole_matrix():
    keys, queries, scores = instance(2, 3, 4)
    start = 0.3 * RNG.normal(size=(4, 4))

    def velocity(_, flat):
        c = dynamics.slopes(np.einsum("itd,de,ie->it", keys, flat.reshape(4, 4), queries), scores, "logistic")
        G = np.einsum("it,itd,ie->de", c, keys, queries)
        return -(G / np.linalg.norm(G)).ravel()

    lengths = np.array([0.0, 1.0, 5.0, 20.0])
    whole = solve_ivp(velocity, (0, 20), start.ravel(), t_eval=lengths, rtol=1e-9, atol=1e-9).y.T.reshape(-1, 4, 4)
    reduced = dynamics.logit_flow(keys, queries, scores, lengths, start=start)
    assert np.allclose(whole, reduced.weights, atol=1e-5)
    assert np.allclose(np.einsum("itd,kde,ie->kit", keys, reduced.weights, queries), reduced.logits, atol=1e-10)


def test_the_flow_ends_in_the_direction_of_the_machine_and_its_angle_falls_with_the_inverse_square_of_the_norm():
    keys, queries, scores = instance(2, 3, 6)
    flow = dynamics.logit_flow(keys, queries, scores, [0.0, 200.0, 2_000.0])
    machine = svm.frobenius_svm(keys, queries, flow.logits[-1].argmax(1))
    gaps = svm.misalignment(flow.weights[1:], machine.weights)
    norms = np.linalg.norm(flow.weights[1:], axis=(1, 2))
    assert gaps[1] < 1e-4
    assert np.log(gaps[0] / gaps[1]) / np.log(norms[1] / norms[0]) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("kind", ["linear", "logistic", "exponential"])
def test_the_best_weights_of_a_large_norm_have_the_predicted_finite_part(kind):
    rng = np.random.default_rng(3)
    keys, queries, head = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4)), rng.normal(size=4)
    scores, radius = keys @ head, 120.0
    best = scores.argmax(1)
    machine = svm.frobenius_svm(keys, queries, best)
    part = dynamics.finite_component(keys, queries, scores, best, machine, kind)
    assert abs((part * machine.weights).sum()) < 1e-10
    start = machine.weights / machine.norm * radius + part

    def gap(flat):
        W = radius * flat.reshape(4, 4) / np.linalg.norm(flat)
        return dynamics.log_loss_gap(np.einsum("itd,de,ie->it", keys, W, queries), scores, kind)

    found = minimize(gap, start.ravel(), method="BFGS", options={"gtol": 1e-7}).x.reshape(4, 4)
    found = found / np.linalg.norm(found) * radius
    across = found - (found * machine.weights).sum() / machine.norm**2 * machine.weights
    assert np.linalg.norm(across - part) < 0.02 * np.linalg.norm(part)  # the minimiser is found to about 1e-3
    assert svm.misalignment(found, machine.weights) == pytest.approx(dynamics.angle_law(part, radius), rel=0.05)
    rival = dynamics.finite_component(
        keys, queries, -(scores < scores.max(1, keepdims=True)).astype(float), best, machine, kind
    )
    assert np.linalg.norm(across - rival) > 0.1 * np.linalg.norm(part)


def test_support_constraints_of_the_finite_part_reproduce_the_multipliers():
    keys, queries, scores = instance(3, 4, 8)
    best = scores.argmax(1)
    machine = svm.frobenius_svm(keys, queries, best)
    part = dynamics.finite_component(keys, queries, scores, best, machine, "exponential")
    A = svm.margin_matrices(keys, queries, best)
    gaps = scores.max(1, keepdims=True) - scores
    made = np.exp(-scores.max(1, keepdims=True)) * gaps * np.exp(-np.tensordot(A, part, 2))
    on = machine.multipliers > 0
    assert np.allclose(made[on] / made[on].sum(), machine.multipliers[on] / machine.multipliers[on].sum(), rtol=1e-8)


def test_a_selection_that_is_not_locally_optimal_has_no_finite_part():
    keys, queries, scores = instance(2, 3, 5)
    worst = scores.argmin(1)
    with pytest.raises(ValueError, match="locally optimal"):
        dynamics.finite_component(keys, queries, scores, worst, svm.frobenius_svm(keys, queries, worst))


@pytest.mark.parametrize("kind", ["linear", "logistic", "exponential"])
def test_the_log_loss_gap_is_the_plain_difference_where_that_has_digits(kind):
    keys, queries, scores = instance(3, 4, 5)
    W = RNG.normal(size=(5, 5))
    logits = np.einsum("itd,de,ie->it", keys, W, queries)
    best = {
        "linear": -scores.max(1),
        "logistic": np.log1p(np.exp(-scores.max(1))),
        "exponential": np.exp(-scores.max(1)),
    }[kind].mean()
    assert dynamics.log_loss_gap(logits, scores, kind) == pytest.approx(
        np.log(plain_loss(W, keys, queries, scores, kind) - best)
    )


def test_an_unknown_loss_is_named():
    with pytest.raises(ValueError, match="hinge"):
        dynamics.log_slope(0.0, "hinge")
