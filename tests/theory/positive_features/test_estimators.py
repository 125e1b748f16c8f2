"""Errors of three kinds of features, orthogonal rows, the regularised kernel and the largest error: limits, oracles, twins."""

import math

import numpy as np
import pytest

from attnlab.theory.positive_features import estimators as theory
from attnlab.theory.positive_features import performer, regularised, uniform

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


@pytest.mark.parametrize("s", [0.1, 0.7, 1.5])
def test_relative_errors_and_their_spread_are_moments_of_one_projection(s):
    """Gauss and Hermite's rule; m rows of which all moments up to the fourth are known. Twin: 2 % more."""
    waves = {
        ("positive", s): np.exp(math.sqrt(s) * NODES - s / 2),
        ("even", s): np.exp(-s / 2) * np.cosh(math.sqrt(s) * NODES),
        ("even", -s): np.exp(s / 2) * np.cos(math.sqrt(s) * NODES),
    }
    for (kind, square), e in waves.items():
        error = theory.positive_relative_error_exact if kind == "positive" else theory.even_relative_error_exact
        second, fourth = (WEIGHTS @ (e - 1) ** power for power in (2, 4))
        assert WEIGHTS @ e == pytest.approx(1, rel=1e-9)
        assert error(square, 3) == pytest.approx(second / 3, rel=1e-8)
        assert error(square, 3) != pytest.approx(1.02 * second / 3, rel=1e-3)
        law = theory.squared_error_std_exact(kind, square, 3)
        assert law**2 == pytest.approx((fourth + 6 * second**2) / 27 - (second / 3) ** 2, rel=1e-6)
        assert theory.squared_error_std_exact(kind, square, 1) ** 2 == pytest.approx(fourth - second**2, rel=1e-6)


def test_relative_errors_are_the_published_ones():
    x, y = np.array([0.3, -0.8, 0.2]), np.array([-0.5, 0.1, 0.9])
    kernel, z2, delta2 = math.exp(x @ y), (x + y) @ (x + y), (x - y) @ (x - y)
    published = performer.positive_error(kernel, math.sqrt(z2), 5) / kernel**2
    assert theory.positive_relative_error_exact(z2, 5) == pytest.approx(published)
    assert theory.even_relative_error_exact(z2, 5) == pytest.approx((1 - math.exp(-z2)) / 2 * published)
    waves = performer.trigonometric_error(kernel, math.sqrt(z2), math.sqrt(delta2), 5) / kernel**2
    assert theory.even_relative_error_exact(-delta2, 5) == pytest.approx(waves)
    alone = theory.positive_relative_error_exact(z2, 3)
    blocks = performer.orthogonal_error(kernel, math.sqrt(z2), 3, 3) / kernel**2
    assert theory.orthogonal_relative_error_exact(alone, z2, 3, 3) == pytest.approx(blocks)


def series(square, dim):
    """Sum of s^k / k! ((d)_k / (2^k (d/2)_k)), times e^{-s}, minus 1, in exact order of the terms."""
    term = total = 1.0
    for k in range(300):
        term *= (dim + k) / (dim / 2 + k) * square / 2 / (k + 1)
        total += term
    return total * math.exp(-square) - 1


@pytest.mark.parametrize("dim", [2, 3, 8, 64])
def test_the_excess_of_a_pair_is_its_series_and_vanishes_with_many_dimensions(dim):
    for s in (0.2, 1.0, 3.0, -0.2, -1.0, -3.0):
        assert theory.pair_excess_exact(s, dim) == pytest.approx(series(s, dim), rel=1e-9, abs=1e-12)
    assert theory.pair_excess_exact(1e-3, dim) == pytest.approx(-1e-6 / (2 * (dim + 2)), rel=1e-3)
    assert abs(theory.pair_excess_exact(1.0, 10**6)) < 1e-6


def test_the_gain_is_at_least_the_bound_and_reaches_it_near_zero():
    for d in (2, 3, 5, 16, 128):
        for s in (0.01, 0.5, 2.0, 6.0):
            for m in {2, d}:
                gain = -(1 - 1 / m) * theory.pair_excess_exact(s, d)
                assert gain >= theory.orthogonal_gain_bound(s, m, d) * (1 - 1e-9)
        near = -(1 - 1 / d) * theory.pair_excess_exact(0.01, d)
        assert near < 1.02 * theory.orthogonal_gain_bound(0.01, d, d)


def test_orthogonality_hurts_waves_in_windows():
    """The sheet's "beyond 10.6" for d = 16 is a window: from 10.64 to 14.75."""
    assert theory.hurting_squares_exact(2) == ()
    assert theory.hurting_squares_exact(4) == pytest.approx([9.494], abs=1e-3)
    assert theory.hurting_squares_exact(16) == pytest.approx([10.644, 14.752], abs=1e-3)
    for root in theory.hurting_squares_exact(8):
        assert theory.pair_excess_exact(-root, 8) == pytest.approx(0, abs=1e-9)
    t = 9.494 / 2  # d = 4: e^t times a polynomial of degree 2
    assert math.exp(t) * (1 - t + t * t / 6) == pytest.approx(1, abs=0.01)


def test_where_positive_features_win():
    for r in (0.5, 1.0, 2.0):
        t = theory.crossover_angle_exact(r)
        z2, delta2 = 2 * r * r * (1 + math.cos(t)), 2 * r * r * (1 - math.cos(t))
        assert theory.positive_relative_error_exact(z2, 1) == pytest.approx(
            theory.even_relative_error_exact(-delta2, 1), rel=1e-9
        )
    assert theory.crossover_angle_exact(2.0) == pytest.approx(math.acos(-math.log(2) / 16), abs=1e-3)
    assert theory.crossover_angle_exact(0.5) != pytest.approx(math.acos(-math.log(2)), abs=0.1)
    assert theory.positive_error_growth_limit(math.radians(120)) == pytest.approx(0, abs=1e-12)


def test_the_regularised_kernel_by_its_series_and_in_two_dimensions():
    for d in (2, 5, 64, 3000):
        for z in (0.0, 0.3, 1.5, 4.0):
            term = total = 1.0
            for k in range(1, 400):
                term *= d * z * z / 4 / (k * (d / 2 + k - 1))
                total += term
            assert regularised.regularised_ratio_exact(z, d) == pytest.approx(total * math.exp(-z * z / 2), rel=1e-10)
    angle = 2 * np.pi * np.arange(64) / 64
    circle = np.exp(math.sqrt(2) * 0.9 * np.cos(angle)).mean() * math.exp(-(0.9**2) / 2)
    assert regularised.regularised_ratio_exact(0.9, 2) == pytest.approx(circle, rel=1e-12)
    assert 1 - regularised.regularised_ratio_exact(0.3, 400) == pytest.approx(
        regularised.regularised_gap_approx(0.3, 400), rel=0.01
    )
    assert regularised.published_ratio_bound(8) == 0


def test_the_largest_eigenvalue_of_a_sample_covariance():
    """400 draws, four standard errors and the next order. Twin: the edge of the spectrum."""
    rng, d, m, n = np.random.default_rng(0), 16, 64, 400
    W = rng.standard_normal((n, m, d))
    found = np.linalg.eigvalsh(W.swapaxes(1, 2) @ W / m)[:, -1] - 1
    law, std = uniform.largest_covariance_error_approx(d, m), uniform.largest_covariance_error_std_approx(d, m)
    margin = std * (4 / math.sqrt(n) + d ** (-2 / 3))
    assert abs(found.mean() - law) < margin < (1 + math.sqrt(d / m)) ** 2 - 1 - law
    assert found.std() == pytest.approx(std, rel=4 / math.sqrt(2 * n) + d ** (-2 / 3))
    assert uniform.uniform_even_error_limit(d, m, 0.1) == pytest.approx(0.02 * law)


def test_the_mean_length_of_a_mean_row():
    rng, d, m = np.random.default_rng(1), 8, 5
    lengths = np.linalg.norm(rng.standard_normal((20_000, d)) / math.sqrt(m), axis=1)
    law, std = (f(d, m, 0.5) for f in (uniform.uniform_positive_error_limit, uniform.uniform_positive_error_std_limit))
    assert abs(lengths.mean() - law) < 4 * std / math.sqrt(20_000) < 0.03 * law
    assert lengths.std() == pytest.approx(std, rel=0.03)


def test_the_published_number_of_features():
    assert uniform.published_number_of_features(8, 1.0, 0.5) == 260
    assert uniform.published_number_of_features(8, 1.0, 0.25) > 4 * 260
    grown = uniform.published_number_of_features(64, 8.0, 0.5)  # R = sqrt(d): the factor e^(2 sqrt(d))
    assert grown > 1e6 * uniform.published_number_of_features(64, 1.0, 0.5)


def test_arguments_out_of_range_are_named():
    calls = (
        lambda: theory.orthogonal_relative_error_exact(1.0, 1.0, 5, 4),
        lambda: theory.pair_excess_exact(1.0, 1),
        lambda: theory.positive_relative_error_exact(-1.0, 2),
        lambda: uniform.published_number_of_features(4, 0.0, 0.5),
    )
    for call in calls:
        with pytest.raises(ValueError, match="must be"):
            call()
    with pytest.raises(ValueError, match="use 'positive' or 'even'"):
        theory.squared_error_std_exact("odd", 1.0, 2)
