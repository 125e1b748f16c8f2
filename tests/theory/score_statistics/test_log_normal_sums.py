"""Cumulants of the logarithm of a sum of exponentials against quadrature, sampling and special cases."""

import math

import numpy as np
import pytest
from scipy import special

from attnlab.theory.linear_variants import log_normal as operator
from attnlab.theory.score_statistics import log_normal_sums as sums

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def test_one_coordinate_is_log_normal():
    assert sums.log_variance_exact(1, 1.7) == pytest.approx(1.7**2, abs=1e-6)
    assert sums.log_cumulants_given_query_exact([0.4], 1.3) == pytest.approx([1.69, 0.0], abs=1e-5)


def test_two_coordinates_by_gauss_hermite():
    b, x = 0.8, np.array([0.5, -0.7])
    z = np.log(np.exp(x[0] + b * NODES)[:, None] + np.exp(x[1] + b * NODES))
    w = np.outer(WEIGHTS, WEIGHTS)
    mean = np.sum(w * z)
    oracle = [np.sum(w * (z - mean) ** 2), np.sum(w * (z - mean) ** 3)]
    assert sums.log_cumulants_given_query_exact(x, b) == pytest.approx(oracle, abs=1e-6)
    assert abs(oracle[1]) > 1e-3  # the table and the end term of the rule err by less than the skewness
    s = 0.5
    few, share = np.polynomial.hermite_e.hermegauss(12)
    queries = math.sqrt(s) * np.stack(np.meshgrid(few, few, indexing="ij"), -1)
    given = sums.log_cumulants_given_query_exact(queries, math.sqrt(s))[..., 0]
    share = share / share.sum()
    assert share @ given @ share == pytest.approx(sums.mean_log_variance_exact(2, s), rel=1e-4)


def test_sampling_many_coordinates():
    rng, s = np.random.default_rng(3), 2.0
    query = math.sqrt(s) * rng.standard_normal(32)
    logs = special.logsumexp(query + math.sqrt(s) * rng.standard_normal((40_000, 32)), axis=1)
    variance, third = sums.log_cumulants_given_query_exact(query, math.sqrt(s))
    assert logs.var() == pytest.approx(variance, rel=4.5 * math.sqrt(3 / 40_000))  # kurtosis below 4
    cubes = (logs - logs.mean()) ** 3
    assert cubes.mean() == pytest.approx(third, abs=4.5 * cubes.std() / 200)
    assert abs(cubes.mean()) > 4.5 * cubes.std() / 200  # normal logarithms are refuted
    relative = operator.relative_variance(query / math.sqrt(s), math.sqrt(s), math.sqrt(s))
    assert operator.log_variance_of_one_log_normal(relative) > 1.05 * variance  # Fenton's law is too large


def test_small_scales_are_linear_and_roots_solve():
    assert sums.mean_log_variance_exact(64, 1e-3) == pytest.approx(1e-3 / 64, rel=5e-3)
    assert sums.mean_relative_variance_exact(64, 1e-3) == pytest.approx(1e-3 / 64, rel=5e-3)
    assert sums.mean_relative_variance_exact(10**5, 1.0) == pytest.approx(
        operator.relative_variance_approx(1.0, 10**5), rel=1e-3
    )
    s = sums.scale_for_log_variance_exact(0.3, 16)
    assert sums.mean_log_variance_exact(16, s) == pytest.approx(0.3, abs=1e-8)
    s = sums.scale_for_relative_variance_exact(0.3, 16)
    assert sums.mean_relative_variance_exact(16, s) == pytest.approx(0.3, abs=1e-8)
    ends = [sums.log_variance_of_a_line(x, 16, 2.0, 6.0) for x in (2.0, 6.0)]
    assert ends == pytest.approx([sums.mean_log_variance_exact(16, x) for x in (2.0, 6.0)])


def test_the_closed_form_of_matching_falls_short():
    """Its e^s is not small against d at sigma = 1: the scale gives two thirds of the variance that it should."""
    closed, solved = operator.matching_scale(1.0, 64), sums.scale_for_relative_variance_exact(math.expm1(1.0), 64)
    assert closed == pytest.approx(2.40, abs=0.005) and solved == pytest.approx(2.81, abs=0.005)
    assert sums.mean_relative_variance_exact(64, closed) == pytest.approx(1.0, abs=0.15)


def test_own_weight_of_equal_and_of_one_coordinate():
    q = np.random.default_rng(5).standard_normal((6, 1))
    odds = np.exp(q[:, 0] - 0.5) / 9  # e^(2 q) against 9 e^(q + 1/2)
    assert sums.own_weight_of_log_normal_approx(q, 10, 1.0) == pytest.approx(odds / (1 + odds))
    assert sums.own_weight_of_log_normal_approx(q, 10, 1e-12) == pytest.approx(0.1, abs=1e-5)
