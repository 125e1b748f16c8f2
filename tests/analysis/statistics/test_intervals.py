"""Intervals against scipy, exact enumeration and their own definitions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from attnlab.analysis.statistics.intervals import (
    clopper_pearson,
    difference_interval,
    dkw_band,
    guarded_mean_interval,
    guarded_mean_intervals,
    has_spread,
    jackknife_interval,
    mean_interval,
    median_interval,
    paired_interval,
    quantile_interval,
    slope_interval,
)

# A t interval is a mean and a standard error of n <= 32 numbers: tens of roundings, and the quantile from two libraries.
AGREE = {"rtol": 1e-9, "atol": 0}
numbers = st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), min_size=3, max_size=32)


@given(numbers, st.sampled_from([0.9, 0.99, 0.9995]))
def test_mean_interval_is_the_one_of_scipy(values, confidence):
    if not has_spread(values):
        return
    expected = stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    scale = np.ptp(values) + np.max(np.abs(values))
    np.testing.assert_allclose(mean_interval(values, confidence), expected, rtol=1e-9, atol=1e-12 * scale)


@given(numbers, st.floats(0.01, 100), st.floats(-100, 100))
def test_mean_interval_moves_and_scales_with_its_values(values, factor, shift):
    low, high = mean_interval(values)
    moved = mean_interval(factor * np.array(values) + shift)
    size = factor * (np.max(np.abs(values)) + 1) + abs(shift)
    np.testing.assert_allclose(moved, [factor * low + shift, factor * high + shift], atol=1e-11 * size)


@given(numbers, st.randoms(use_true_random=False))
def test_the_order_of_replicas_does_not_matter(values, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    size = np.max(np.abs(values)) + 1
    np.testing.assert_allclose(mean_interval(shuffled), mean_interval(values), atol=1e-11 * size)
    assert median_interval(shuffled) == median_interval(values)


def test_mean_interval_keeps_its_digits_at_extreme_scales():
    values = np.array([1.0, 2.0, 4.0, 3.0])
    low, high = mean_interval(values)
    for scale in (1e-300, 1e300):
        np.testing.assert_allclose(np.array(mean_interval(values * scale)) / scale, [low, high], **AGREE)


def test_identical_values_give_a_point_and_no_spread():
    assert mean_interval([0.1] * 9) == pytest.approx((0.1, 0.1), abs=0.1 * 2**-52)
    assert not has_spread([0.1 + 0.2, 0.3, 0.3])  # they differ by rounding only
    assert has_spread([0.3, 0.3 * (1 + 1e-14)])
    assert mean_interval([0.0, 0.0]) == (0.0, 0.0)


def test_one_value_says_nothing():
    assert mean_interval([3.0]) == (-math.inf, math.inf)
    assert jackknife_interval(np.mean, [[3.0]]) == (-math.inf, math.inf)
    assert difference_interval([3.0], [1.0, 2.0]) == (-math.inf, math.inf)
    assert clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_named(bad):
    with pytest.raises(ValueError, match=r"values\[2\] is (nan|inf) \(replica 2; 1 of 3 replicas affected\)"):
        mean_interval([1.0, 2.0, bad])
    with pytest.raises(ValueError, match=r"y\[1, 0\] is"):
        slope_interval([1.0, 2.0], [[1.0, 2.0], [bad, 1.0]])


def test_wrong_levels_shapes_and_counts_are_named():
    with pytest.raises(ValueError, match="confidence must lie in"):
        mean_interval([1.0, 2.0], 1.0)
    with pytest.raises(ValueError, match="must have shape"):
        mean_interval([[1.0, 2.0]])
    with pytest.raises(ValueError, match="at least 1 values, got 0"):
        mean_interval([])
    with pytest.raises(ValueError, match="equal lengths, got 2 and 3"):
        paired_interval([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="successes and n must be whole"):
        clopper_pearson(5, 4)
    with pytest.raises(ValueError, match="quantile must lie"):
        quantile_interval([1.0, 2.0], 1.0)
    with pytest.raises(ValueError, match="two different values"):
        slope_interval([1.0, 1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="must hold real numbers"):
        mean_interval(["a", "b"])


def test_paired_and_welch_intervals_are_those_of_scipy():
    rng = np.random.default_rng(5)
    a, b = rng.normal(0, 1, 9), rng.normal(0.5, 3, 9)
    expected = stats.ttest_rel(b, a).confidence_interval(0.95)
    np.testing.assert_allclose(paired_interval(a, b, 0.95), (expected.low, expected.high), **AGREE)
    b = rng.normal(0.5, 3, 23)
    expected = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    np.testing.assert_allclose(difference_interval(a, b, 0.95), (expected.low, expected.high), **AGREE)


@pytest.mark.parametrize("n", [1, 8, 13, 32])
@pytest.mark.parametrize("confidence", [0.9, 0.99, 0.9995])
def test_clopper_pearson_never_covers_less_than_it_says(n, confidence):
    intervals = np.array([clopper_pearson(k, n, confidence) for k in range(n + 1)])
    # coverage is piecewise smooth in p and drops just beyond an end, so the ends themselves are the worst places
    ends = np.unique(intervals.ravel())
    probabilities = np.unique(np.clip(np.concatenate([ends - 1e-9, ends + 1e-9, np.linspace(0, 1, 101)]), 0, 1))
    weights = stats.binom.pmf(np.arange(n + 1), n, probabilities[:, None])
    covered = (intervals[:, 0] <= probabilities[:, None]) & (probabilities[:, None] <= intervals[:, 1])
    coverage = np.sum(weights * covered, axis=1)
    assert coverage.min() >= confidence - 1e-12
    assert np.any(coverage < 1 - (1 - confidence) / 4)  # and it is not just wide: the check can fail


@pytest.mark.parametrize("k", [0, 1, 7, 8])
def test_clopper_pearson_is_the_exact_interval_of_scipy(k):
    expected = stats.binomtest(k, 8).proportion_ci(0.99, method="exact")
    np.testing.assert_allclose(clopper_pearson(k, 8, 0.99), (expected.low, expected.high), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("n", [8, 13, 32])
@pytest.mark.parametrize("quantile", [0.5, 0.1, 0.9])
@pytest.mark.parametrize("confidence", [0.9, 0.99])
def test_quantile_interval_takes_the_narrowest_order_statistics_that_cover(n, quantile, confidence):
    values = np.arange(1, n + 1.0)  # the value is the rank
    low, high = quantile_interval(values, quantile, confidence)
    below = 0 if low == -math.inf else int(low)
    above = n + 1 if high == math.inf else int(high)
    tail = (1 - confidence) / 2
    miss_low = stats.binom.cdf(below - 1, n, quantile)  # fewer than `below` values lie under the quantile
    miss_high = stats.binom.sf(above - 1, n, quantile)  # at least `above` values do
    assert miss_low <= tail
    assert miss_high <= tail
    assert stats.binom.cdf(below, n, quantile) > tail  # one rank further in would not cover
    assert stats.binom.sf(above - 2, n, quantile) > tail


def test_the_median_at_99_percent_needs_eight_replicas():
    assert median_interval(np.arange(7.0), 0.99) == (-math.inf, math.inf)
    assert median_interval(np.arange(8.0), 0.99) == (0.0, 7.0)  # 2 * 2^-8 = 0.0078


def test_dkw_band_is_a_step_function_with_massarts_width():
    values = [3.0, 1.0, 2.0, 2.0]
    x, low, high = dkw_band(values, 0.9)
    half = math.sqrt(math.log(2 / 0.1) / 8)
    np.testing.assert_array_equal(x, [1, 2, 2, 3])
    np.testing.assert_allclose(low, np.clip(np.array([0.25, 0.75, 0.75, 1]) - half, 0, 1), atol=1e-15)
    np.testing.assert_allclose(high, np.clip(np.array([0.25, 0.75, 0.75, 1]) + half, 0, 1), atol=1e-15)


def test_dkw_band_covers_the_whole_distribution_at_once():
    rng, runs, missed = np.random.default_rng(11), 2000, 0
    for _ in range(runs):
        x, low, high = dkw_band(rng.uniform(size=8), 0.8)
        # between jumps the band is constant, so it misses if the diagonal leaves it just before or at a jump
        before = np.concatenate([[0.0], low[:-1]])
        missed += bool(
            np.any(low > x) or np.any(np.concatenate([[high[0]], high[:-1]])[1:] < x[1:]) or before[0] > x[0]
        )
    assert missed <= special.bdtrik(1 - 1e-6, runs, 0.2) + 1  # binomial bound on 20 % misses
    assert missed > 0


def test_slope_interval_of_one_curve_is_the_classical_one():
    rng = np.random.default_rng(2)
    x = np.array([1.0, 2.0, 3.0, 5.0, 8.0])
    y = 2 * x + rng.normal(size=5)
    fit = stats.linregress(x, y)
    half = stats.t.ppf(0.995, 3) * fit.stderr
    np.testing.assert_allclose(slope_interval(x, y, 0.99), (fit.slope - half, fit.slope + half), **AGREE)


def test_slope_interval_of_replicas_is_the_t_interval_of_their_slopes():
    rng = np.random.default_rng(3)
    x, y = np.arange(6.0), rng.normal(size=(9, 6)).cumsum(axis=1)  # noise correlated along the curve
    slopes = [np.polyfit(x, row, 1)[0] for row in y]
    np.testing.assert_allclose(slope_interval(x, y, 0.99), mean_interval(slopes, 0.99), rtol=1e-9)


def test_jackknife_of_the_mean_is_the_t_interval():
    x = np.random.default_rng(4).normal(size=12)
    np.testing.assert_allclose(jackknife_interval(np.mean, x, 0.99), mean_interval(x, 0.99), rtol=1e-9)


def test_jackknife_of_a_log_of_the_mean_matches_the_delta_method():
    x = 10 + 0.1 * np.random.default_rng(4).normal(size=400)
    low, high = jackknife_interval(lambda v: math.log(v.mean()), x, 0.99)
    delta = np.array(mean_interval(x, 0.99)) / x.mean() - 1 + math.log(x.mean())
    # the two differ by the curvature of the logarithm, (standard deviation / mean)^2 = 1e-4 of which 1 / n
    np.testing.assert_allclose((low, high), delta, atol=1e-4)
    assert high - low > 1e-3  # and that is far below what is compared


def test_intervals_of_columns_are_those_of_each_column():
    x = np.random.default_rng(0).standard_normal((9, 4)) * [1, 1e-6, 1e6, 0]
    rows = guarded_mean_intervals(x, 0.999, draws=3)
    for column, row in zip(x.T, rows, strict=True):
        assert guarded_mean_interval(column, 0.999, draws=3) == pytest.approx(tuple(row), rel=1e-9, abs=1e-15)
    with pytest.raises(ValueError, match=r"\(replica, column\)"):
        guarded_mean_intervals(np.ones(3))
