"""The index on Kepler orbits and the eigenvalues of van der Pol's equation."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from attnlab.theory.stiffness import orbits as theory


def field(t, u):
    r3 = (u[0] ** 2 + u[1] ** 2) ** 1.5
    return [u[2], u[3], -u[0] / r3, -u[1] / r3]


@pytest.mark.parametrize("e", [0.0, 0.3, 0.9])
def test_state_and_index_are_those_of_the_equation_of_motion(e):
    for E in np.linspace(0.1, 6, 9):
        u = theory.kepler_state(e, E)
        speed = np.array(field(0, u))
        assert theory.kepler_index(e, E) == pytest.approx(np.linalg.norm(speed) / np.linalg.norm(u), rel=1e-13)
        h = 1e-6
        moved = (theory.kepler_state(e, E + h) - theory.kepler_state(e, E - h)) / (2 * h) / (1 - e * np.cos(E))
        np.testing.assert_allclose(moved, speed, atol=1e-7 * np.linalg.norm(speed))


def test_the_circle_has_index_one_and_no_bursts():
    assert theory.kepler_index(0.0, 1.2) == pytest.approx(1)
    assert theory.kepler_burst_share(0.0, 1000) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("relative", [True, False])
def test_the_burst_share_is_that_of_a_solution_on_equal_times(relative):
    e = 0.6
    times = np.linspace(0, 2 * np.pi, 20_001)
    u = solve_ivp(field, (0, 2 * np.pi), theory.kepler_state(e, 0.0), "DOP853", times, rtol=1e-10, atol=1e-10).y
    speed = np.linalg.norm(np.array(field(0, u)), axis=0) / (np.linalg.norm(u, axis=0) if relative else 1)
    change = np.cumsum(np.sort(speed)[::-1])
    share = np.searchsorted(change, change[-1] / 2) / change.size
    assert theory.kepler_burst_share(e, relative=relative) == pytest.approx(share, abs=2e-4)  # a few of 20 001 times


def test_bursts_shorten_with_the_eccentricity():
    shares = [theory.kepler_burst_share(e, 20_000) for e in (0.0, 0.3, 0.6, 0.9, 0.99, 0.999)]
    assert np.all(np.diff(shares) < 0) and shares[-1] < 0.005


def test_the_largest_eigenvalue_is_that_of_the_jacobian():
    rng = np.random.default_rng(0)
    for mu, x, v in rng.normal(size=(20, 3)) * (5, 2, 3):
        jacobian = [[0, 1], [-2 * mu * x * v - 1, mu * (1 - x**2)]]
        assert theory.van_der_pol_largest_eigenvalue(mu, x, v) == pytest.approx(
            np.abs(np.linalg.eigvals(jacobian)).max(), rel=1e-12
        )


def test_an_open_orbit_is_an_error():
    with pytest.raises(ValueError, match="eccentricity"):
        theory.kepler_index(1.0, 0.0)
