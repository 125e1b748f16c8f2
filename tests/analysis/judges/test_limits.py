"""Limits of infinite size: the claimed rate, and nothing left over."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnlab.analysis import Outcome, Twin, converges
from attnlab.analysis.judges.resolution import unresolved

SIZES = np.array([16.0, 32.0, 64.0, 128.0, 256.0])


def gaps(mean, *, noise=0.002, n=16, seed=0):
    return mean + noise * np.random.default_rng(seed).standard_normal((n, SIZES.size))


def test_a_gap_that_vanishes_at_the_claimed_rate_holds():
    signed = gaps(2 / SIZES, noise=5e-4)
    assert converges(SIZES, signed, rate=1, within=0.2, twin=0.5).holds
    assert converges(SIZES, -signed, rate=1, within=0.2, twin=0.5).holds
    assert converges(SIZES, signed, rate=0.5, within=0.2, twin=1).outcome is Outcome.REFUTED
    assert converges(SIZES[::-1], signed[:, ::-1], rate=1, within=0.2, twin=0.5).holds


def test_a_gap_that_levels_off_is_refuted_although_its_rate_is_inside_a_wide_margin():
    # 2 / n + 0.02: at n = 256 the gap is 0.0278, of which 72 % stay
    verdict = converges(SIZES, gaps(2 / SIZES + 0.02, noise=5e-4), rate=1, within=0.7, twin=3.0)
    assert verdict.outcome is Outcome.REFUTED
    assert verdict.interval[0] > 0.3  # so it is not the rate that refutes it
    assert "extrapolated to infinite size 0.02" in verdict.reason
    assert "0.72 of the gap at size 256" in verdict.reason
    limit = Twin.of("a limit that is 0.02 off", gaps=gaps(2 / SIZES + 0.02, noise=5e-4))
    assert converges(SIZES, gaps(2 / SIZES, noise=5e-4), rate=1, within=0.7, twin=limit).holds


def test_a_next_order_term_does_not_pass_for_a_limit_that_is_missed():
    # 2 / n + 6 / n^2: the extrapolation leaves 6 / n^2 -like 0.5 % of the last gap, far below the floor of one half
    assert converges(SIZES, gaps(2 / SIZES + 6 / SIZES**2, noise=5e-4), rate=1, within=0.2, twin=0.5).holds


def test_a_gap_lost_in_noise_has_no_rate():
    verdict = converges(SIZES, gaps(2 / SIZES, noise=0.02), rate=1, within=0.2, twin=0.5)
    assert verdict.outcome is Outcome.UNDECIDED
    assert "not resolved from zero at point 4" in verdict.reason


@given(st.floats(0.3, 2), st.floats(-3, 3).filter(lambda c: abs(c) > 0.1), st.floats(0.1, 10))
@unresolved()
def test_a_pure_power_is_recognised_in_any_unit(rate, coefficient, unit):
    exact = coefficient * SIZES**-rate
    verdict = converges(unit * SIZES, exact, rate=rate, within=0.01, twin=rate + 0.2)
    assert verdict.holds
    assert verdict.interval == pytest.approx((rate, rate), abs=1e-9)
    assert (verdict.confidence, verdict.unit) == (None, "size")


def test_a_deterministic_gap_is_judged_by_its_local_rates_and_its_last_two_sizes():
    exact = 2 / SIZES + 3 / SIZES**2
    local = -np.diff(np.log(exact)) / np.diff(np.log(SIZES))
    verdict = converges(SIZES, exact, rate=1, within=0.1, twin=0.5)
    assert verdict.interval == pytest.approx((local.min(), local.max()))
    assert verdict.holds
    assert converges(SIZES, exact, rate=1, within=0.03, twin=0.5).outcome is Outcome.UNDECIDED
    assert converges(SIZES, exact, rate=0.5, within=0.1, twin=1).outcome is Outcome.REFUTED
    left = converges(SIZES, 2 / SIZES + 0.02, rate=1, within=0.99, twin=3)
    assert left.outcome is Outcome.REFUTED
    assert "0.02 is left of the gap 0.0278" in left.reason
    assert "changes sign" in converges(SIZES, 2 / SIZES - 0.05, rate=1, within=0.5, twin=2).reason


def test_few_replicas_and_bad_input_are_named():
    signed = gaps(2 / SIZES)
    assert converges(SIZES, signed[:1], rate=1, within=0.2, twin=0.5).outcome is Outcome.UNDECIDED
    assert converges(SIZES, signed[:0], rate=1, within=0.2, twin=0.5).outcome is Outcome.VACUOUS
    assert "all curves are equal" in converges(SIZES, np.tile(2 / SIZES, (8, 1)), rate=1, within=0.2, twin=0.5).reason
    with pytest.raises(ValueError, match="rate must be > 0"):
        converges(SIZES, signed, rate=-1, within=0.2, twin=0.5)
    with pytest.raises(ValueError, match="floor must lie in"):
        converges(SIZES, signed, rate=1, within=0.2, floor=1.0, twin=0.5)
    with pytest.raises(ValueError, match="gaps must have shape"):
        converges(SIZES, signed[:, :3], rate=1, within=0.2, twin=0.5)
    with pytest.raises(ValueError, match="sizes must be positive and different"):
        converges([1, 1, 2, 3, 4], signed, rate=1, within=0.2, twin=0.5)
    with pytest.raises(ValueError, match=r"gaps\[2, 1\] is inf"):
        converges(
            SIZES, np.where((np.arange(16)[:, None] == 2) & (SIZES == 32), np.inf, signed), rate=1, within=0.2, twin=0.5
        )
    with pytest.raises(ValueError, match="one deterministic curve, but its twin's"):
        converges(SIZES, 2 / SIZES, rate=1, within=0.2, twin=Twin.of("noisy", gaps=signed))
