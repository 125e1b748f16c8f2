"""Exponents and trends: slopes with intervals, straightness, and deterministic curves."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from attnlab.analysis import Outcome, Twin, exponent, jackknife_interval, trend
from attnlab.analysis.judges.resolution import unresolved
from attnlab.analysis.statistics.intervals import skew_guard

SIZES = np.array([16.0, 32.0, 64.0, 128.0, 256.0])


def noisy_powers(power, *, n=16, noise=0.02, seed=0):
    return SIZES**power * np.exp(noise * np.random.default_rng(seed).standard_normal((n, SIZES.size)))


def test_a_true_exponent_holds_and_its_rival_does_not():
    y = noisy_powers(-1)
    assert exponent(SIZES, y, -1, within=0.1, twin=-0.5).holds
    assert exponent(SIZES, y, -0.5, within=0.1, twin=-1).outcome is Outcome.REFUTED


def test_the_interval_is_the_t_interval_of_the_replicas_own_slopes():
    y = noisy_powers(-1, n=9)
    slopes = [stats.linregress(np.log(SIZES), np.log(row)).slope for row in y]
    expected = stats.t.interval(
        0.995, 8, loc=np.mean(slopes), scale=skew_guard(9, 0.995) * stats.sem(slopes)
    )  # half of 0.01 for the slope
    verdict = exponent(SIZES, y, -1, within=0.1, twin=-0.5)
    assert verdict.interval == pytest.approx(expected, rel=1e-9)
    assert (verdict.n, verdict.confidence) == (9, 0.99)


@given(st.floats(-3, 3), st.floats(0.1, 100), st.floats(0.1, 100))
@unresolved()
def test_units_of_both_axes_do_not_matter(power, unit_x, unit_y):
    y = noisy_powers(power)
    before = exponent(SIZES, y, power, within=0.1, twin=power + 1)
    after = exponent(SIZES * unit_x, y * unit_y, power, within=0.1, twin=power + 1)
    assert before.interval == pytest.approx(after.interval, abs=1e-9)
    assert before.outcome is after.outcome is Outcome.HOLDS


def test_a_bent_curve_is_no_power_law_even_if_its_mean_slope_fits():
    u = np.log(SIZES / 64)
    bent = np.exp(-u + 0.1 * u**2) * noisy_powers(0)  # local slope runs from -1.28 to -0.72
    verdict = exponent(SIZES, bent, -1, within=0.1, twin=-0.5)
    assert verdict.interval[0] > -1.1
    assert verdict.interval[1] < -0.9
    assert verdict.outcome is Outcome.REFUTED
    low, high = re.search(r"differ from the whole's by \S+ in \[(\S+), (\S+)\]", verdict.reason).groups()
    assert float(low) < 0.1 * math.log(16) / 2 < float(high)  # c L / 2 with c = 0.1 and L = log 16
    assert exponent(SIZES, bent, -1, within=0.1, bend=0.2, twin=-0.5).holds  # a stated wider tolerance
    assert exponent(SIZES, bent, -1, within=0.1, twin=-0.5, of="every replica").outcome is Outcome.REFUTED


def test_too_much_noise_leaves_straightness_undecided():
    verdict = exponent(SIZES, noisy_powers(-1, noise=0.15), -1, within=0.1, twin=-0.5)
    assert verdict.outcome is Outcome.UNDECIDED
    assert "slopes of the halves" in verdict.reason


def test_a_deterministic_curve_is_judged_by_all_its_local_slopes():
    y = SIZES**-1 * (1 + 0.5 / SIZES)
    local = np.diff(np.log(y)) / np.diff(np.log(SIZES))
    verdict = exponent(SIZES, y, -1, within=0.05, twin=-0.9)
    assert verdict.holds
    assert verdict.interval == pytest.approx((local.min(), local.max()))
    assert (verdict.confidence, verdict.n, verdict.unit) == (None, 5, "point")
    assert exponent(SIZES, y, -1, within=0.02, twin=-0.9).outcome is Outcome.UNDECIDED  # -1.02 at the small end
    assert exponent(SIZES, y, -0.9, within=0.05, twin=-1.0).outcome is Outcome.REFUTED
    backwards = exponent(SIZES[::-1], y[::-1], -1, within=0.05, twin=-0.9)
    assert backwards.interval == pytest.approx(verdict.interval)


def test_one_row_with_a_replica_axis_is_not_deterministic():
    verdict = exponent(SIZES, SIZES[None] ** -1.0, -1, within=0.1, twin=-0.5)
    assert verdict.outcome is Outcome.UNDECIDED
    assert "one value has no spread" in verdict.reason


def test_the_mean_curve_has_an_exponent_where_single_replicas_cross_zero():
    y = SIZES**-1 + 2e-3 * np.random.default_rng(1).standard_normal((32, 5))
    assert (y < 0).any()
    with pytest.raises(ValueError, match=r"y\[\d+, \d\] is -0\.\d+, and a power law needs positive values"):
        exponent(SIZES, y, -1, within=0.3, twin=-0.5)
    verdict = exponent(SIZES, y, -1, within=0.3, bend=0.5, twin=-0.5, of="mean curve")
    assert verdict.holds
    mean = y.mean(axis=0)
    assert verdict.measured == pytest.approx(np.polyfit(np.log(SIZES), np.log(mean), 1)[0])
    slope = jackknife_interval(lambda v: np.polyfit(np.log(SIZES), np.log(v.mean(axis=0)), 1)[0], y, 0.995)
    middle, half = np.mean(slope), skew_guard(32, 0.995) * np.ptp(slope) / 2
    assert verdict.interval == pytest.approx((middle - half, middle + half))
    lost = exponent(SIZES, y - y.mean(axis=0)[-1], -1, within=0.3, twin=-0.5, of="mean curve")
    assert lost.outcome is Outcome.UNDECIDED
    assert "not resolved from zero at point 4" in lost.reason


def test_a_twin_inside_the_margin_is_told_for_exponents_too():
    verdict = exponent(SIZES, noisy_powers(-1), -1, within=0.5, twin=-0.9)
    assert verdict.outcome is Outcome.INVALID
    assert "choose within below 0.05" in verdict.reason


def test_bad_curves_are_named():
    y = noisy_powers(-1)
    with pytest.raises(ValueError, match="at least 3 values, got 2"):
        exponent(SIZES[:2], y[:, :2], -1, within=0.1, twin=-0.5)
    with pytest.raises(ValueError, match="1 of 5 repeat"):
        exponent([1, 2, 3, 4, 4], y, -1, within=0.1, twin=-0.5)
    with pytest.raises(ValueError, match=r"y must have shape \(replica, 5\)"):
        exponent(SIZES, y[:, :4], -1, within=0.1, twin=-0.5)
    with pytest.raises(ValueError, match=r"x\[0\] is -16"):
        exponent(-SIZES, y, -1, within=0.1, twin=-0.5)
    with pytest.raises(ValueError, match=r"y\[3, 0\] is nan \(replica 3"):
        exponent(SIZES, np.where(np.arange(16)[:, None] == 3, np.nan, y), -1, within=0.1, twin=-0.5)
    with pytest.raises(TypeError, match="exponent needs a twin"):
        exponent(SIZES, y, -1, within=0.1, twin=None)
    with pytest.raises(ValueError, match="one deterministic curve, but its twin's"):
        exponent(SIZES, y[0], -1, within=0.5, twin=Twin.of("another model", y=y))
    assert exponent(SIZES, y[:0], -1, within=0.1, twin=-0.5).outcome is Outcome.VACUOUS


def test_a_trend_holds_in_its_direction_only():
    x = np.arange(6.0)
    y = 2 * x + np.random.default_rng(2).normal(size=(16, 6))
    assert trend(x, y, "rising", twin=4.0).holds
    assert trend(x, y, "rising", by=1.5, twin=Twin.of("falls", direction="falling")).holds
    assert trend(x, y, "falling", twin=4.0).outcome is Outcome.REFUTED
    assert trend(x, y, "rising", by=2.0, twin=4.0).outcome is Outcome.UNDECIDED
    assert trend(x, y, "rising", twin=4.0, of="every replica").holds
    slopes = [stats.linregress(x, row).slope for row in y]
    assert trend(x, y, "rising", twin=4.0).interval == pytest.approx(
        stats.t.interval(0.99, 15, loc=np.mean(slopes), scale=skew_guard(16, 0.99) * stats.sem(slopes))
    )


@given(st.floats(0.5, 5), st.floats(-10, 10))
@unresolved()
def test_rising_data_turned_upside_down_fall(slope, shift):
    x = np.arange(5.0)
    y = slope * x + np.random.default_rng(3).normal(size=(8, 5))
    up, down = trend(x, y, "rising", twin=9.0), trend(x, shift - y, "falling", twin=9.0)
    assert up.outcome is down.outcome
    assert up.interval == pytest.approx(down.interval, abs=1e-9)


def test_a_rise_with_a_dip_is_a_trend_but_not_monotone():
    x = np.arange(5.0)
    dip = np.array([0.0, 2.0, 1.5, 4.0, 6.0]) + 0.05 * np.random.default_rng(4).normal(size=(16, 5))
    assert trend(x, dip, "rising", twin=4.0).holds
    verdict = trend(x, dip, "rising", twin=4.0, of="every step")
    assert verdict.outcome is Outcome.REFUTED
    assert "slope of step 1 lies in" in verdict.reason
    assert trend(x, dip.mean(axis=0), "rising", twin=4.0).outcome is Outcome.UNDECIDED  # some local slopes rise
    straight = dip + np.array([0, 0, 1.5, 0, 0])
    assert trend(x, straight, "rising", twin=4.0, of="every step").holds
    assert trend(x, straight.mean(axis=0), "rising", twin=4.0).holds


def test_bad_trends_are_named():
    with pytest.raises(ValueError, match="direction must be 'rising' or 'falling', got 'up'"):
        trend(SIZES, noisy_powers(-1), "up", twin=1.0)
    with pytest.raises(ValueError, match="weaker than by=1"):
        trend(SIZES, noisy_powers(-1), "falling", by=1.0, twin=0.5)
    assert trend(SIZES, np.ones((8, 5)), "rising", twin=1.0).outcome is Outcome.UNDECIDED
    assert trend(SIZES, np.ones((8, 5)), "rising", twin=1.0, of="every step").outcome is Outcome.UNDECIDED
