"""Trajectories against predictions in sup norm, and directions by their angle."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from attnlab.analysis import Outcome, Twin, aligned, follows
from attnlab.analysis.judges.resolution import unresolved
from attnlab.analysis.statistics.intervals import skew_guard

TIMES = np.linspace(0, 2, 21)
DECAY = np.exp(-TIMES)


def paths(*, n=16, noise=0.01, seed=0):
    return DECAY + noise * np.random.default_rng(seed).standard_normal((n, TIMES.size))


def test_noisy_copies_follow_their_curve_and_not_its_rival():
    assert follows(paths(), DECAY, within=0.05, twin=1 / (1 + TIMES)).holds
    assert follows(paths(), 1 / (1 + TIMES), within=0.05, twin=DECAY).outcome is Outcome.REFUTED
    assert follows(paths(), lambda t: np.exp(-t), within=0.05, twin=lambda t: 1 / (1 + t), times=TIMES).holds


def test_the_distance_is_the_largest_over_time_and_components():
    x = np.stack([paths(), -paths(seed=1)], axis=2)  # (replica, time, component)
    predicted = np.stack([DECAY, -DECAY], axis=1)
    distances = np.abs(x - predicted).max(axis=(1, 2))
    verdict = follows(x, predicted, within=0.1, twin=predicted + 0.5)
    expected = stats.t.interval(0.99, 15, loc=distances.mean(), scale=skew_guard(16, 0.99) * stats.sem(distances))
    assert verdict.measured == pytest.approx(distances.mean())
    assert verdict.interval == pytest.approx(expected)
    every = follows(x, predicted, within=distances.max() * 1.01, twin=predicted + 0.5, of="every replica")
    assert every.holds
    assert every.measured == pytest.approx(distances.max())


def test_one_late_excursion_is_seen_and_dated():
    x = paths()
    x[:, 15] += 0.2
    verdict = follows(x, DECAY, within=0.05, twin=1 / (1 + TIMES), times=TIMES)
    assert verdict.outcome is Outcome.REFUTED
    assert "farthest off at time 1.5" in verdict.reason


def test_the_mean_trajectory_is_judged_at_all_times_at_once():
    x = paths(noise=0.05)
    assert follows(x, DECAY, within=0.25, twin=DECAY + 1, of="mean trajectory").holds
    assert follows(x, DECAY, within=0.05, twin=DECAY + 1).outcome is Outcome.REFUTED  # single ones stray farther
    d = x - DECAY
    half = skew_guard(16, 1 - 0.01 / 21) * stats.t.ppf(1 - 0.01 / 21 / 2, 15) * stats.sem(d)  # Bonferroni over 21 times
    verdict = follows(x, DECAY, within=0.25, twin=DECAY + 1, of="mean trajectory")
    assert verdict.interval[1] == pytest.approx(np.max(np.abs(d.mean(axis=0)) + half))
    assert verdict.interval[0] == pytest.approx(max(0, np.max(np.abs(d.mean(axis=0)) - half)))
    off = follows(x + 0.5 * (TIMES > 1.9), DECAY, within=0.25, twin=DECAY + 1, of="mean trajectory")
    assert off.outcome is Outcome.REFUTED


@given(st.floats(0.01, 100), st.floats(-10, 10))
@unresolved()
def test_the_range_of_the_prediction_makes_the_margin_a_fraction(factor, shift):
    base = follows(paths(), DECAY, within=0.1, twin=1 / (1 + TIMES), scale="range")
    moved = follows(
        factor * paths() + shift, factor * DECAY + shift, within=0.1, twin=factor / (1 + TIMES) + shift, scale="range"
    )
    assert base.outcome is moved.outcome
    assert base.interval == pytest.approx(moved.interval, abs=1e-9 * (1 + abs(shift) / factor))


def test_the_predictions_own_error_counts():
    plain = follows(paths(), DECAY, within=0.05, twin=1 / (1 + TIMES))
    refined = follows(paths(), DECAY, within=0.05, twin=1 / (1 + TIMES), refined=DECAY + 0.01)
    assert refined.interval[1] == pytest.approx(plain.interval[1] + 0.01)
    assert refined.interval[0] == pytest.approx(plain.interval[0] - 0.01)
    coarse = follows(paths(), DECAY, within=0.05, twin=1 / (1 + TIMES), refined=DECAY + 0.02)
    assert coarse.outcome is Outcome.UNDECIDED
    assert "refine the prediction first" in coarse.reason


def test_a_rival_trajectory_inside_the_margin_is_told():
    verdict = follows(paths(), DECAY, within=0.1, twin=DECAY + 0.05)
    assert verdict.outcome in (Outcome.VACUOUS, Outcome.INVALID)
    assert "choose within below 0.025" in verdict.reason


def test_bad_trajectories_are_named():
    with pytest.raises(ValueError, match="follows needs times"):
        follows(paths(), np.exp, within=0.1, twin=DECAY + 1)
    with pytest.raises(ValueError, match=r"trajectories must have shape \(replica, \*\(21,\)\)"):
        follows(paths()[:, :5], DECAY, within=0.1, twin=DECAY + 1)
    with pytest.raises(ValueError, match="leading time axis of length 21"):
        follows(paths(), DECAY[:5], within=0.1, twin=DECAY + 1, times=TIMES)
    with pytest.raises(ValueError, match="trajectory that moves"):
        follows(paths(), DECAY * 0, within=0.1, twin=DECAY + 1, scale="range")
    with pytest.raises(ValueError, match="positive number or 'range'"):
        follows(paths(), DECAY, within=0.1, twin=DECAY + 1, scale="max")
    with pytest.raises(TypeError, match="follows needs a twin"):
        follows(paths(), DECAY, within=0.1, twin=None)
    assert follows(paths()[:1], DECAY, within=0.1, twin=DECAY + 1).outcome is Outcome.UNDECIDED
    assert follows(paths()[:0], DECAY, within=0.1, twin=DECAY + 1).outcome is Outcome.VACUOUS


def test_a_direction_is_judged_by_its_angle():
    rng = np.random.default_rng(0)
    angles = rng.uniform(0.02, 0.1, 16)
    v = np.stack([np.cos(angles), np.sin(angles)], axis=1) * rng.uniform(0.1, 10, (16, 1))  # lengths do not matter
    verdict = aligned(v, [3.0, 0.0], within_angle=0.12, twin=[0.0, 1.0])
    assert verdict.holds
    assert verdict.measured == pytest.approx(angles.mean())
    assert verdict.interval == pytest.approx(
        stats.t.interval(0.99, 15, loc=angles.mean(), scale=skew_guard(16, 0.99) * stats.sem(angles))
    )
    assert aligned(v, [3.0, 0.0], min_cosine=math.cos(0.12), twin=[0.0, 1.0]).predicted == pytest.approx(0.12)
    assert aligned(v, [0.0, 1.0], within_angle=0.12, twin=[1.0, 0.0]).outcome is Outcome.REFUTED
    assert aligned(v, [1.0, 0.0], within_angle=0.101, twin=[0.0, 1.0], of="every replica").holds
    assert aligned(v, [1.0, 0.0], within_angle=0.09, twin=[0.0, 1.0], of="every replica").outcome is Outcome.REFUTED


def test_tiny_angles_keep_their_digits():
    v = np.tile([1.0, 1e-9], (8, 1))
    assert aligned(v, [1.0, 0.0], within_angle=1e-8, twin=[1.0, 1e-6], of="every replica").measured == pytest.approx(
        1e-9, rel=1e-6
    )  # arccos of the cosine would give 0


def test_unsigned_directions_ignore_the_sign():
    v = np.random.default_rng(1).normal([1.0, 0.0], 0.02, (16, 2)) * np.resize([1, -1], (16, 1))
    assert aligned(v, [1.0, 0.0], within_angle=0.1, twin=[0.0, 1.0], signed=False).holds
    assert not aligned(v, [1.0, 0.0], within_angle=0.1, twin=[0.0, 1.0]).holds


def test_matrices_and_directions_for_each_replica_are_compared_as_vectors():
    rng = np.random.default_rng(2)
    reference = rng.normal(size=(16, 3, 3))
    rival = np.swapaxes(reference, 1, 2)
    assert aligned(2 * reference + 0.01 * rng.normal(size=(16, 3, 3)), reference, within_angle=0.02, twin=rival).holds
    swapped = Twin.of("transposed", direction=rival)
    assert (
        aligned(rival + 0.01 * rng.normal(size=(16, 3, 3)), reference, within_angle=0.02, twin=swapped).outcome
        is Outcome.REFUTED
    )


def test_a_rival_direction_inside_the_margin_is_told():
    v = np.random.default_rng(1).normal([1.0, 0.0], 0.01, (16, 2))
    verdict = aligned(v, [1.0, 0.0], within_angle=0.5, twin=[1.0, 0.1])
    assert verdict.outcome is Outcome.INVALID
    assert f"choose within below {math.atan(0.1) / 2:.4g}" in verdict.reason


def test_bad_directions_are_named():
    v = np.ones((8, 2))
    with pytest.raises(ValueError, match="give one of within_angle"):
        aligned(v, [1, 0], twin=[0, 1])
    with pytest.raises(ValueError, match="admits every direction"):
        aligned(v, [1, 0], within_angle=1.6, signed=False, twin=[0, 1])
    with pytest.raises(ValueError, match=r"min_cosine must lie"):
        aligned(v, [1, 0], min_cosine=1.0, twin=[0, 1])
    with pytest.raises(ValueError, match=r"vectors\[3\] is zero"):
        aligned(v * (np.arange(8) != 3)[:, None], [1, 0], within_angle=0.1, twin=[0, 1])
    with pytest.raises(ValueError, match="direction must have shape"):
        aligned(v, [1, 0, 0], within_angle=0.1, twin=[0, 1])
    assert aligned(v[:0], [1, 0], within_angle=0.1, twin=[0, 1]).outcome is Outcome.VACUOUS
    assert aligned(v[:1], [1, 1], within_angle=0.1, twin=[0, 1]).outcome is Outcome.UNDECIDED
