"""The adaptive solver against scipy's, and what is measured on its steps."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from attnlab.simulators.stiffness.solvers import (
    KeplerSetting,
    VanDerPolSetting,
    kepler_field,
    kepler_steps,
    rank_correlation,
    solve,
    van_der_pol_steps,
    weighted_median,
)


def test_the_steps_are_those_of_scipy_for_every_row():
    starts = np.array([[1.0, 0.0, 0.0, 1.0], [0.5, 0.0, 0.0, 3.0**0.5]])
    ends = np.array([3.0, 7.0])
    paths = solve(kepler_field, starts, ends, tolerance=1e-7, absolute=1e-9, first_step=1e-4)
    for path, u, end in zip(paths, starts, ends, strict=True):
        other = solve_ivp(
            lambda t, y: kepler_field(np.zeros(1, int), y[None])[0],
            (0, end),
            u,
            "RK45",
            rtol=1e-7,
            atol=1e-9,
            first_step=1e-4,
        )
        # sums are taken in another order: a rounding of the error estimate moves a step by about eps / 1e-7 of itself
        np.testing.assert_allclose(path.times, other.t, rtol=1e-6)
        np.testing.assert_allclose(path.states[-1], other.y[:, -1], atol=1e-9)


def test_one_step_errs_by_its_sixth_power():
    errors = []
    for h in (0.1, 0.05):
        (path,) = solve(
            kepler_field, np.array([[1.0, 0.0, 0.0, 1.0]]), np.array([h]), tolerance=1.0, absolute=1.0, first_step=h
        )
        assert len(path.times) == 2
        errors.append(np.linalg.norm(path.states[-1] - [np.cos(h), np.sin(h), -np.sin(h), np.cos(h)]))
    assert abs(np.log2(errors[0] / errors[1]) - 6) < 0.4  # the next order is a few h


def test_a_row_does_not_see_the_others():
    u = np.array([[1.0, 0.0, 0.0, 1.0], [0.3, 0.0, 0.0, 2.0]])
    both = solve(kepler_field, u, np.full(2, 2.0), tolerance=1e-6, absolute=1e-6)
    alone = solve(kepler_field, u[1:], np.full(1, 2.0), tolerance=1e-6, absolute=1e-6)
    assert np.array_equal(both[1].times, alone[0].times) and np.array_equal(both[1].states, alone[0].states)


def test_near_the_circle_index_and_bursts_are_even(seeds):
    runs = kepler_steps(KeplerSetting(eccentricities=(1e-6,), n_replicas=3), seeds(3))
    np.testing.assert_allclose(runs["shown_index"], 1, atol=1e-4)
    np.testing.assert_allclose(runs["burst_share"], 0.5, atol=0.02)  # one of about 60 steps


def test_on_an_eccentric_orbit_steps_mirror_the_index(seeds):
    runs = kepler_steps(KeplerSetting(eccentricities=(0.9,), n_replicas=3), seeds(3))
    assert np.all(runs["rank_correlation"] < -0.98) and np.all(np.abs(runs["slope"] + 1) < 0.1)
    r = runs["shown_position"][:, 0]
    assert np.all(r.min(1) < 0.11) and np.all(np.abs(r.max(1) - 1.9) < 0.02)


def test_an_unstiff_oscillator_is_not_limited_by_stability(seeds):
    runs = van_der_pol_steps(VanDerPolSetting(mu=(1.0, 40.0), n_replicas=2), seeds(2))
    assert np.all(runs["slow_product"][:, 0] < 1) and np.all(np.abs(runs["slow_product"][:, 1] - 3.3066) < 0.3)
    assert np.all(runs["index_correlation"][:, 0] < 0) and np.all(runs["index_correlation"][:, 1] > 0)


def test_small_statistics():
    assert rank_correlation(np.array([1.0, 2.0, 30.0]), np.array([5.0, 6.0, 7.0])) == pytest.approx(1)
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 5.0])) == 2.0


def test_an_open_orbit_is_an_error():
    with pytest.raises(ValueError, match="eccentricities"):
        KeplerSetting(eccentricities=(1.0,))
