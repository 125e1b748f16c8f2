"""States behind sinks: inverse pairs, limits, and drawn states."""

import math

import numpy as np
import pytest

from attnlab.theory.instruments import sink_states as theory


def test_the_smallest_written_component_has_the_cosine_tau():
    m = theory.smallest_written(3.0)
    assert theory.cosine_of_written(m, 3.0) == pytest.approx(0.9, rel=1e-12)
    assert m / 3.0 == pytest.approx(2.0647, abs=1e-4)


def test_lifetimes_are_counted_layer_by_layer():
    for m in (0.5, 3.0, 5.0, 8.0, 11.0):
        for start in (0, 2, 6):
            count = sum(theory.cosine_of_written(m, math.sqrt(layer + 1)) > 0.9 for layer in range(start, 60))
            assert theory.lifetime_exact(m, 1.0, start) == count
    assert theory.lifetime_exact(20.0, 2.0, 1) == theory.lifetime_exact(10.0, 1.0, 1)


def test_weights_fall_by_the_weakening_factor():
    b, c, n = 6.0, 0.7, 48
    both = theory.weights_of_sinks(b, (1.0, c, c), n - 3)
    alone = theory.weights_of_sinks(b, (1.0,), n - 1)
    assert both[0] / alone[0] == pytest.approx(theory.weakening_exact(b, c, 2, n), rel=1e-12)
    assert both[1] / both[0] == pytest.approx(math.exp(b * (c - 1)), rel=1e-12)
    assert theory.weakening_exact(b, 0.0, 2, n) == 1


def test_phi_is_inverted_and_bounded():
    for dim in (64, 4096):
        for m in (5.0, 20.0, 100.0):
            phi = theory.phi_exact(m, dim)
            assert phi < dim**0.5 and theory.massive_at(phi, dim) == pytest.approx(m, rel=1e-9)
    assert theory.phi_exact(20.0, 4096) == pytest.approx(19.09, abs=5e-3)  # the sheet's table
    with pytest.raises(ValueError, match="out of reach"):
        theory.massive_at(20.0, 256)


def test_the_quantile_of_gaussian_states_is_that_of_draws():
    x = np.random.default_rng(0).standard_normal((40_000, 32))
    phi = np.abs(x).max(1) / np.sqrt((x**2).mean(1))
    q = theory.gaussian_phi_quantile_bound(32, 0.99)
    beyond = (phi > q).mean()
    assert beyond == pytest.approx(0.01, abs=5 * (0.0099 / len(x)) ** 0.5 + 5e-5)
    assert theory.gaussian_phi_mean_bound(32) > phi.mean()
    assert 2 * 32 * np.exp(-(theory.gaussian_phi_mean_bound(32) ** 2) / 2) == pytest.approx(
        1
    )  # one of 2 D tails in the mean
    with pytest.raises(ValueError, match="level"):
        theory.gaussian_phi_quantile_bound(32, 0.2)


def test_calibration_at_its_ends():
    assert theory.gain_of_no_op(0.7, 0.0) == pytest.approx(1 / 0.3) and theory.gain_of_no_op(0.7, 1.0) == 1
    assert theory.distance_after_calibration(0.5, 0.4, 2.0) == pytest.approx(0.4)
    assert theory.returned_share(0.3, 0.4) == pytest.approx(0.5)
