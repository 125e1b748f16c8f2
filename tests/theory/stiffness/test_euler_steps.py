"""Euler steps on a rotation: moments, best steps, stability intervals, and the reduced flow of the gates."""

import math

import numpy as np
import pytest

from attnlab.theory.stiffness import euler_steps as theory
from attnlab.theory.stiffness.euler_steps import Speed

SPEED = Speed(height=10.0, width=0.1)


def euler_log_norm(speed, times):
    """Log of the norm after Euler steps between the given times, straight from the recursion."""
    u = np.array([1.0, 0.0])
    for t, h in zip(times[:-1], np.diff(times), strict=True):
        u = u + h * float(speed(t)) * np.array([-u[1], u[0]])
    return math.log(np.linalg.norm(u))


def times_of(speed, n, power):
    """Ends of n steps of density omega^power, by inverting a fine cumulative sum."""
    fine = np.linspace(0, 1, 400_001)
    density = np.cumsum(speed(fine) ** power)
    return np.interp(np.linspace(density[0], density[-1], n + 1), density, fine)


def test_moments_are_those_of_a_gaussian_bump():
    s = Speed()
    root = math.sqrt(math.pi)
    assert theory.speed_moment(s, 1.0) == pytest.approx(2 + 40 * 0.05 * root, rel=1e-10)
    assert theory.speed_moment(s, 2.0) == pytest.approx(4 + 160 * 0.05 * root + 1600 * 0.05 * root / 2**0.5, rel=1e-10)
    assert theory.speed_moment(s, 0.0) == pytest.approx(1, rel=1e-12)
    assert theory.equal_steps_loss(s) == pytest.approx(3.852363, rel=1e-6)


def test_the_slope_of_the_speed_is_its_derivative():
    t, h = np.linspace(0.3, 0.7, 9), 1e-6
    np.testing.assert_allclose(SPEED.slope(t), (SPEED(t + h) - SPEED(t - h)) / (2 * h), atol=1e-6)


def test_a_constant_speed_leaves_nothing_to_adapt():
    flat = Speed(height=0.0)
    assert theory.equal_steps_loss(flat) == pytest.approx(1, rel=1e-12)
    assert all(theory.euler_error_approx(flat, 10, p) == pytest.approx(0.2, rel=1e-9) for p in (0.0, 0.5, 1.0, 2.0))


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_leading_order_of_the_error_is_that_of_the_recursion(power):
    gaps = [
        euler_log_norm(SPEED, times_of(SPEED, n, power)) / theory.euler_error_approx(SPEED, n, power) - 1
        for n in (400, 800)
    ]
    # h omega is at most 0.03 (p = 0) or 0.05 (p = 2, at the slow ends) at 400 steps: the next order is of its size
    assert abs(gaps[0]) < 0.05 and abs(gaps[1]) < 0.55 * abs(gaps[0]) + 1e-5


def test_exponents_as_far_from_one_are_equally_bad_and_one_is_best():
    errors = {p: theory.euler_error_approx(SPEED, 1, p) for p in (0.0, 0.5, 1.0, 1.5, 2.0)}
    assert errors[2.0] == pytest.approx(errors[0.0], rel=1e-10) and errors[1.5] == pytest.approx(errors[0.5], rel=1e-10)
    assert errors[1.0] < errors[0.5] < errors[0.0]
    rng = np.random.default_rng(1)
    for _ in range(20):  # and of all densities, not only of powers
        t = np.linspace(0, 1, 20_001)
        h = np.exp(np.interp(t, np.linspace(0, 1, 6), rng.normal(size=6)))
        omega = SPEED(t)
        assert np.mean(h * omega**2) * np.mean(1 / h) / 2 > errors[1.0] * (1 - 1e-6)


def test_stability_intervals_are_known_and_sharp():
    assert theory.real_stability_limit((1, 1)) == pytest.approx(2, rel=1e-12)
    assert theory.real_stability_limit((1, 1, 1 / 2)) == pytest.approx(2, rel=1e-7)
    assert theory.real_stability_limit((1, 1, 1 / 2, 1 / 6, 1 / 24)) == pytest.approx(2.785293563405289, rel=1e-10)
    z = theory.real_stability_limit()
    grows = [
        abs(sum(c * (-x) ** k for k, c in enumerate((1, 1, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 600)))) > 1
        for x in (z * (1 - 1e-6), z * (1 + 1e-6))
    ]
    assert grows == [False, True] and z == pytest.approx(3.3065678926, rel=1e-9)


def test_the_reduced_flow_starts_with_equal_steps_and_ends_with_the_best():
    times = np.array([0.0, 1e-3, 1e-2, 0.1, 0.5, 1.5])
    flow = theory.gate_flow(SPEED, times, 200)
    best = theory.speed_moment(SPEED, 1.0) ** 2
    assert flow.error[0] / best == pytest.approx(theory.equal_steps_loss(SPEED), rel=1e-6)
    assert np.all(np.diff(flow.error) < 0)
    assert flow.error[-1] / best == pytest.approx(1, abs=1e-3)
    product = flow.steps[-1] * SPEED(flow.clock[-1])
    np.testing.assert_allclose(product, product.mean(), rtol=5e-3)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 1.5, 2.0])
def test_the_second_order_is_what_the_recursion_adds_to_the_leading_one(power):
    speed = Speed()
    shares = [theory.second_order_share(speed, n, power) for n in (800, 1600)]
    assert shares[0] == pytest.approx(4 * shares[1], rel=1e-12)
    error = euler_log_norm(speed, times_of(speed, 1600, power))
    found = error / theory.euler_error_approx(speed, 1600, power) - 1
    assert found == pytest.approx(shares[1], rel=0.02, abs=2e-7)


def test_moments_of_the_slope_are_those_of_a_gaussian_bump():
    s = Speed(height=40.0, width=0.05)
    exact = 40.0**2 / 0.05 * math.sqrt(math.pi / 2)  # int (2 A z / w)^2 exp(-2 z^2) w dz
    assert theory.slope_moment(s, 0.0) == pytest.approx(exact, rel=1e-9)
    t = (np.arange(200_000) + 0.5) / 200_000
    assert theory.slope_moment(s, -3.0) == pytest.approx(np.mean(s(t) ** -3.0 * s.slope(t) ** 2), rel=1e-6)


def test_the_reduced_flow_does_not_depend_on_its_grid():
    times = np.array([1e-3, 1e-2, 0.1])
    coarse, fine = (theory.gate_flow(SPEED, times, n).error for n in (200, 400))
    np.testing.assert_allclose(coarse, fine, rtol=2e-4)


def test_the_right_side_of_the_flow_is_the_gradient_of_the_error():
    """Finite differences of L(theta) on the grid, against the formula, for one early step of the flow."""
    n, tau = 60, 1e-6

    def error(theta):
        weights = np.exp(theta)
        rate = weights / weights.mean()
        return np.mean(rate**2 * SPEED((np.cumsum(rate) - rate / 2) / n) ** 2) / 2

    gradient = np.array([(error(1e-5 * row) - error(-1e-5 * row)) / 2e-5 for row in np.eye(n)]) * n
    moved = np.log(theory.gate_flow(SPEED, np.array([tau]), n).steps[0]) / tau
    predicted = -gradient + gradient.mean()  # the steps are normalised
    assert np.max(np.abs(moved - moved.mean() - predicted)) < 0.01 * np.max(np.abs(predicted))


def test_blind_gates_end_as_badly_as_they_began():
    flow = theory.gate_flow(SPEED, np.array([0.01, 3.0]), 200, blind=True)
    product = flow.steps[-1] * SPEED(flow.clock[-1]) ** 2
    np.testing.assert_allclose(product, product.mean(), rtol=0.02)
    assert flow.error[-1] / theory.speed_moment(SPEED, 1.0) ** 2 == pytest.approx(
        theory.equal_steps_loss(SPEED), rel=2e-3
    )


def test_wrong_arguments_are_named():
    for call, word in (
        (lambda: Speed(base=0.0), "base"),
        (lambda: theory.euler_error_approx(SPEED, 0, 1.0), "n_steps"),
        (lambda: theory.second_order_share(SPEED, 0, 1.0), "n_steps"),
        (lambda: theory.gate_flow(SPEED, [1.0, 0.5]), "times"),
    ):
        with pytest.raises(ValueError, match=word):
            call()
