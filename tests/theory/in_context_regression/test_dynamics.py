"""Gradient flow of the effective loss: early growth, the one-sign trap, the valley and the late drift laws."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from attnlab.theory.in_context_regression.dynamics import (
    factorised_flow,
    initial_signs_approx,
    late_drift_exponent_limit,
    late_drift_omega_limit,
    reduced_flow,
    small_start_flow_approx,
    valley_speed_approx,
)
from attnlab.theory.in_context_regression.effective_loss import (
    effective_loss_approx,
    effective_loss_gradient_approx,
    one_head_optimum_approx,
    symmetric_pair_valley_mu_approx,
)

TASK = (5, 40, 0.1**0.5)
START = np.array([0.01, -0.02, 0.03, 0.005]), np.array([0.01, 0.01, 0.02, -0.03])
TIMES = np.array([0.0, 1.0, 5.0, 20.0, 100.0])


@pytest.mark.slow
def test_reduced_flow_agrees_with_an_explicit_solver_on_a_numerical_gradient():
    def velocity(_, z):
        h = 1e-6
        return [
            -(
                effective_loss_approx(*np.split(z + h * e, 2), *TASK)
                - effective_loss_approx(*np.split(z - h * e, 2), *TASK)
            )
            / (4 * h)
            for e in np.eye(8)
        ]

    oracle = solve_ivp(
        velocity, (0, 20), np.concatenate(START), method="DOP853", rtol=1e-9, atol=1e-10, t_eval=TIMES[:4]
    )
    flow = reduced_flow(START, TIMES[:4], *TASK)
    # Local errors of 1e-9 and gradients good to 1e-9, both amplified by the growth e^t up to saturation, below 1e3.
    np.testing.assert_allclose(np.hstack([flow.omega, flow.mu]), oracle.y.T, atol=1e-5)


@pytest.mark.parametrize("solve", [reduced_flow, factorised_flow])
def test_loss_never_rises_along_a_flow(solve):
    flow = solve((START[0] * 5, np.sign(START[0]) * np.abs(START[1]) * 5), TIMES, *TASK)
    assert np.all(np.diff(flow.loss) < 0)
    np.testing.assert_allclose(flow.loss, effective_loss_approx(flow.omega, flow.mu, *TASK))


def test_small_weights_grow_as_the_linearised_flow_says_and_not_at_twice_the_rate():
    omega, mu = 1e-4 * START[0], 1e-4 * START[1]
    long = (5, 4_000_000, 0.3)  # c = 3e-7: its damping is negligible
    times = np.array([0.5, 1.0, 3.0])
    flow = reduced_flow((omega, mu), times, *long)
    predicted = small_start_flow_approx((omega, mu), times)
    # Solver 1e-12 absolute and nonlinear terms of the cube of 1e-4.
    np.testing.assert_allclose(np.stack([flow.omega, flow.mu]), predicted, atol=1e-10)
    twin = small_start_flow_approx((omega, mu), 2 * times)  # the flow of the loss, not of half the loss
    assert np.max(np.abs(twin[0] - flow.omega)) > 1e-6


def test_initial_sign_is_that_of_the_sum_and_not_of_the_readout():
    omega, mu = np.array([0.03, -0.01, -0.03]), np.array([-0.01, 0.03, 0.01])
    signs = initial_signs_approx((omega, mu))
    flow = reduced_flow((omega, mu), [2.5], *TASK)
    assert np.array_equal(np.sign(flow.omega[0]), signs) and np.array_equal(np.sign(flow.mu[0]), signs)
    assert not np.array_equal(np.sign(mu), signs)


def test_general_start_ends_on_the_valley_with_one_magnitude_and_zero_sum():
    flow = reduced_flow(START, [1e4], *TASK)
    omega, mu = flow.omega[0], flow.mu[0]
    scale = np.abs(omega).mean()
    assert np.ptp(np.abs(omega)) < 0.002 * scale
    assert abs(mu.sum()) < 1e-4 and np.array_equal(np.sign(mu), np.sign(omega))
    # The positive heads act as one head of the symmetric pair; corrections of the spread of omega.
    assert abs(mu[mu > 0].sum() / symmetric_pair_valley_mu_approx(scale, *TASK) - 1) < 0.002


def test_heads_of_one_sign_never_leave_the_one_head_loss():
    single = one_head_optimum_approx(*TASK)
    flow = reduced_flow((np.array([0.01, 0.02]), np.array([0.01, 0.01])), [1e4], *TASK)
    assert abs(flow.loss[0] - single.risk) < 1e-9
    np.testing.assert_allclose(flow.omega[0], single.omega[0], rtol=1e-6)

    def lowest_curvatures(share):
        z = np.concatenate([np.repeat(single.omega, 2), single.mu * np.array([1 - share, share])])
        h = 1e-5
        hessian = [
            (
                np.concatenate(effective_loss_gradient_approx(*np.split(z + h * e, 2), *TASK))
                - np.concatenate(effective_loss_gradient_approx(*np.split(z - h * e, 2), *TASK))
            )
            / (2 * h)
            for e in np.eye(4)
        ]
        return np.linalg.eigvalsh((np.array(hessian) + np.transpose(hessian)) / 2)[:2]

    for share in (0.5, 0.1, 0.02):  # rounding of the differences: 1e-9
        flat, next_one = lowest_curvatures(share)
        assert abs(flat) < 1e-8 and next_one > 0.01
    assert lowest_curvatures(-0.02)[0] < -0.01  # past zero the line is a saddle


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("solve", "factorised", "exponent"),
    [(reduced_flow, False, Fraction(-1, 6)), (factorised_flow, True, Fraction(-1, 5))],
)
def test_late_drift_has_the_stated_exponent_and_prefactor(solve, factorised, exponent):
    times = np.array([0.99e6, 1e6, 1.01e6])
    omega = solve((np.array([0.2, -0.2]), np.array([2.0, -2.0])), times, *TASK).omega[:, 0]
    law = late_drift_omega_limit(times, *TASK, factorised)
    assert late_drift_exponent_limit(factorised) == exponent
    slope = np.log(omega[2] / omega[0]) / np.log(times[2] / times[0])
    # Corrections: the start, which is forgotten as t0 / t < 1e-3, and the valley's own, d^2 omega^4 and (plain) omega^4 / m^2
    # or (factorised) omega^2 / m: 4e-4 and 3e-3 relative.
    correction = 1e-3 + 25 * omega[1] ** 4 + (omega[1] ** 2 / 0.44 if factorised else omega[1] ** 4 / 0.44**2)
    assert abs(omega[1] / law[1] - 1) < correction
    assert abs(slope / float(exponent) - 1) < correction
    twin = late_drift_omega_limit(times, *TASK, not factorised)
    assert abs(omega[1] / twin[1] - 1) > 0.3
    assert abs(slope / float(late_drift_exponent_limit(not factorised)) - 1) > 0.1


@pytest.mark.parametrize(("solve", "factorised"), [(reduced_flow, False), (factorised_flow, True)])
def test_flow_on_the_valley_moves_at_the_adiabatic_speed(solve, factorised):
    times = np.array([3000.0, 3010.0, 3020.0])
    omega = solve((np.array([0.2, -0.2]), np.array([2.0, -2.0])), times, *TASK).omega[:, 0]
    speed = (omega[2] - omega[0]) / 20
    # The flow runs beside the floor by a relative K omega^4 / (4 m^2), here 1.7e-3; twice that is allowed.
    K, m = 2 / 3 * 0.0275 * 125 / 1.1375**2, 0.5 / 1.1375
    assert abs(speed / valley_speed_approx(omega[1], *TASK, factorised) - 1) < 2 * K * omega[1] ** 4 / (4 * m**2) < 4e-3
    assert abs(speed / valley_speed_approx(omega[1], *TASK, not factorised) - 1) > 0.1


def test_valley_speed_becomes_the_late_law_and_its_series_joins_its_formula():
    for factorised, power in ((False, 6), (True, 5)):
        times = 1e14
        omega = late_drift_omega_limit(times, *TASK, factorised)
        assert abs(valley_speed_approx(omega, *TASK, factorised) / (-omega / (power * times)) - 1) < 1e-3
        around = np.sqrt(0.05 / 5 * np.array([1 - 1e-9, 1 + 1e-9]))  # where the series hands over
        below, above = valley_speed_approx(around, *TASK, factorised)
        assert abs(below / above - 1) < 1e-7


def test_replica_axis_leads_in_trajectories():
    omega, mu = np.stack([START[0], 2 * START[0]]), np.stack([START[1], START[1]])
    flow = reduced_flow((omega, mu), TIMES[:3], *TASK)
    assert flow.omega.shape == (2, 3, 4) and flow.loss.shape == (2, 3)
    np.testing.assert_array_equal(flow.mu[1], reduced_flow((omega[1], mu[1]), TIMES[:3], *TASK).mu)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="must be finite, increase"):
        reduced_flow(START, [2.0, 1.0], *TASK)
    with pytest.raises(ValueError, match="factorised flow never leaves"):
        factorised_flow((np.array([0.0]), np.array([0.1])), [1.0], *TASK)
    with pytest.raises(ValueError, match="two arrays"):
        reduced_flow((START[0],), [1.0], *TASK)
    with pytest.raises(ValueError, match="times must be positive"):
        late_drift_omega_limit(0.0, *TASK, False)
    with pytest.raises(ValueError, match="omega must be positive"):
        valley_speed_approx(-0.1, *TASK, False)
