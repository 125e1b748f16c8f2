"""The truncated exponential: its factor range, the sharp bound and who attains it, against scans, 40 digits and optimisation."""

import math

import mpmath
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from attnlab.theory.polynomial_attention import tensor


@pytest.mark.parametrize("degree", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("b", [0.2, 1.0, 2.5])
def test_factor_range_is_that_of_a_scan(degree, b):
    x = np.linspace(-b, b, 20_001)
    factor = sum(x**k / math.factorial(k) for k in range(degree + 1)) * np.exp(-x)
    low, high = tensor.factor_range_exact(degree, b)
    assert low == pytest.approx(factor.min(), abs=1e-12) and high == pytest.approx(factor.max(), abs=1e-7)
    assert abs(low - tensor.factor_range_exact(degree + 2, b)[0]) > 1e-12  # the twin: two degrees more


def test_truncated_exponential_in_forty_digits():
    with mpmath.workdps(40):
        exact = sum(mpmath.mpf("-1.7") ** k / mpmath.factorial(k) for k in range(6))
    assert tensor.truncated_exponential(-1.7, 5) == pytest.approx(float(exact), rel=1e-14)


@pytest.mark.parametrize(("degree", "B"), [(2, 1.0), (3, 1.0), (4, 1.2), (6, 0.5)])
def test_the_bound_is_the_best_of_all_odds(degree, B):
    low, high = tensor.factor_range_exact(degree, B**3)

    def moved(a):
        p = 1 / (1 + math.exp(-a))
        return B**2 * ((2 * p * high / (p * high + (1 - p) * low) - 1) - (2 * p - 1))

    best = -minimize_scalar(lambda a: -moved(a), bounds=(-5, 5), options={"xatol": 1e-9}).fun
    assert tensor.output_error_bound(degree, B) == pytest.approx(best, rel=1e-6)
    assert tensor.chained_error_bound(degree, B) > 2 * best  # the bound by steps is at least twice as wide
    for scale in (0.98, 1.02):
        assert abs(scale * tensor.output_error_bound(degree, B) - best) > 1e-6 * best


def test_random_inputs_stay_far_below_and_planted_ones_come_near():
    rng = np.random.default_rng(2)
    for degree in (2, 3):
        n_high, at_high, at_low = tensor.hardest_counts(degree, 1.0, 5_000)
        x = np.r_[np.full(n_high, at_high), np.full(5_000 - n_high, at_low)]
        v = np.r_[np.ones(n_high), -np.ones(5_000 - n_high)]
        bound = tensor.output_error_bound(degree, 1.0)

        def error(x, v, degree=degree):
            poly = np.array([tensor.truncated_exponential(each, degree) for each in x])
            return abs((poly * v).sum() / poly.sum() - (np.exp(x) * v).sum() / np.exp(x).sum())

        assert 0.999 * bound < error(x, v) <= bound * (1 + 1e-12)
        assert error(rng.uniform(-1, 1, 50), rng.uniform(-1, 1, 50)) < 0.5 * bound


def test_where_a_factor_vanishes_there_is_no_bound():
    assert tensor.output_error_bound(1, 1.0) == math.inf  # T_1(-1) = 0
    assert tensor.output_error_bound(1, 0.9) < math.inf and tensor.chained_error_bound(2, 1.0) == math.inf


def test_least_degree_is_the_first_and_grows_with_the_score():
    found = [tensor.least_degree(1e-3, b ** (1 / 3)) for b in (0.5, 1, 2, 4, 8)]
    assert found == sorted(found) and found[-1] > found[0] + 8
    assert (
        tensor.output_error_bound(found[2], 2 ** (1 / 3))
        <= 1e-3
        < tensor.output_error_bound(found[2] - 1, 2 ** (1 / 3))
    )


@pytest.mark.parametrize(("degree", "B"), [(2, 0.5), (5, 1.0)])
def test_the_bound_by_steps_is_that_of_its_two_lemmas(degree, B):
    """An entry's error by the Lagrange remainder over the smallest entry, then numerator and denominator off by that share."""
    b = B**3
    entry = math.exp(b) * b ** (degree + 1) / math.factorial(degree + 1)
    share = entry / math.exp(-b)
    worst = max((1 + share) / (1 - share) - 1, 1 - (1 - share) / (1 + share)) * B**2
    assert tensor.chained_error_bound(degree, B) == pytest.approx(worst, rel=1e-12)


def test_rank_counts_monomials():
    assert [tensor.rank_exact(4, g) for g in (1, 2, 3, 4, 6)] == [5, 15, 35, 70, 210]
    assert tensor.rank_exact(3, 0) == 1
    with pytest.raises(ValueError, match="dim"):
        tensor.rank_exact(0, 2)
