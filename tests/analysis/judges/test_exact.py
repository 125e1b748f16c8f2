"""Identities in floating point with a budget of roundings, and statements about every case of a finite set."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnlab.analysis import Outcome, Twin, exhaustive, identical
from attnlab.analysis.judges.resolution import unresolved

EPS = 2.0**-52


def test_two_orders_of_one_sum_agree_within_counted_roundings():
    rows = np.random.default_rng(0).normal(size=(64, 33))
    forward, backward = np.add.accumulate(rows, axis=1)[:, -1], np.add.accumulate(rows[:, ::-1], axis=1)[:, -1]
    # 32 additions each, every one at most eps / 2 of a partial sum, which is at most the sum of sizes
    verdict = identical(forward, backward, rounding=32, scale=np.abs(rows).sum(axis=1), twin=backward + 1e-10)
    assert verdict.holds
    assert 0 < verdict.measured <= 32
    assert (verdict.level, verdict.n, verdict.confidence) == ("identity", 64, None)


def test_the_measured_difference_is_in_units_of_eps_times_scale():
    b = np.array([1.0, 4.0])
    a = b + np.array([3 * EPS, 0.0])
    assert identical(a, b, rounding=1, twin=b * 2).measured == pytest.approx(0.75)  # scale 4, the largest |b|
    assert identical(a, b, rounding=3, scale=b, twin=b * 2).measured == pytest.approx(3)
    refuted = identical(a, b, rounding=2.9, scale=b, twin=b * 2)
    assert refuted.outcome is Outcome.REFUTED
    assert refuted.witness == {"index": [0], "a": 1 + 3 * EPS, "b": 1.0}
    assert identical(a, b, rounding=3e-4, scale=b, eps=1e-12, twin=b * 2).outcome is Outcome.REFUTED
    assert identical(a, b, rounding=1e-3, scale=b, eps=1e-12, twin=b * 2).holds


def test_the_coarser_type_sets_the_spacing():
    b = np.random.default_rng(1).normal(size=100)
    assert identical(b.astype(np.float32), b, rounding=0.5, twin=b * (1 + 1e-6)).holds
    assert identical(b.astype(np.float16).astype(np.float32), b, rounding=0.5, twin=b * 2).outcome is Outcome.REFUTED


def test_whole_numbers_must_be_equal():
    assert identical([1, 2, 3], [1, 2, 3], twin=[1, 2, 4]).holds
    assert identical([2**53 + 1], [2**53], rounding=9, twin=[7]).outcome is Outcome.REFUTED  # equal only as floats
    assert identical([True, False], [True, True], twin=[False, True]).outcome is Outcome.REFUTED
    assert identical([1 + 2j], [1 + 2j], twin=[1 - 2j]).holds


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=8), st.integers(0, 40))
@unresolved()
def test_holding_is_monotone_in_the_budget_and_blind_to_permutations(values, shift):
    b = np.array(values)
    a = b + shift * EPS * 512
    within = [identical(a, b, rounding=r, scale=512.0, twin=b + 1).holds for r in (0, 1, 10, 50)]
    assert within == sorted(within)
    assert within[-1]
    assert identical(a[::-1], b[::-1], rounding=10, scale=512.0, twin=b + 1).holds == within[2]


def test_values_that_are_not_finite_are_compared_honestly():
    b = np.array([1.0, math.inf, -math.inf])
    assert identical(b, b, twin=-b).holds
    assert identical([1.0, math.inf, 5.0], b, rounding=4, twin=-b).outcome is Outcome.REFUTED
    refuted = identical([math.nan, math.inf, -math.inf], b, rounding=4, twin=-b)
    assert refuted.outcome is Outcome.REFUTED
    assert refuted.witness == {"index": [0], "a": "nan", "b": 1.0}
    with pytest.raises(ValueError, match=r"b\[0\] is nan"):
        identical(b, [math.nan, 1, 1], twin=b)


def test_zero_references_allow_no_error():
    assert identical([0.0, 0.0], [0.0, -0.0], rounding=9, twin=[1.0, 0.0]).holds
    assert identical([1e-300, 0.0], [0.0, 0.0], rounding=9, twin=[1.0, 0.0]).outcome is Outcome.REFUTED


def test_an_identity_with_a_slack_that_admits_its_twin_is_invalid():
    b = np.ones(3)
    assert identical(b, b, rounding=100, twin=b + 50 * EPS).outcome is Outcome.INVALID


def test_bad_identities_are_named():
    with pytest.raises(ValueError, match=r"equal shapes, got \(2,\) and \(3,\)"):
        identical([1.0, 2.0], [1.0, 2.0, 3.0], twin=[1.0, 1.0])
    with pytest.raises(ValueError, match="rounding must be >= 0"):
        identical([1.0], [1.0], rounding=-1, twin=[2.0])
    with pytest.raises(ValueError, match="scale must be finite"):
        identical([1.0], [1.0], scale=math.nan, twin=[2.0])
    with pytest.raises(ValueError, match="replaces nothing"):
        identical([1.0], [1.0], twin=[1.0])
    assert identical([], [], twin=Twin.of("one", a=[1.0], b=[2.0])).outcome is Outcome.VACUOUS


def test_every_case_is_tried_and_counted():
    words = list(itertools.product([0, 1], repeat=6))
    verdict = exhaustive(words, lambda w: sum(w) == sum(w[::-1]), twin=lambda w: w == w[::-1])
    assert verdict.holds
    assert (verdict.n, verdict.level, verdict.measured) == (64, "exhaustive", 1.0)


def test_the_first_failing_case_is_the_witness():
    verdict = exhaustive(range(-3, 4), lambda k: k * k > k, twin=lambda k: k > 9)
    assert verdict.outcome is Outcome.REFUTED
    assert verdict.witness == {"case": 0, "failures": 2}  # 0 and 1
    assert "fails in 2 of 7, first for 0" in verdict.reason


def test_a_generator_is_read_once_and_used_for_the_twin_too():
    assert exhaustive((k for k in range(10)), lambda k: k < 10, twin=lambda k: k < 9).holds


def test_a_twin_that_is_true_in_every_case_makes_the_check_invalid():
    assert exhaustive(range(5), lambda k: k >= 0, twin=lambda k: k >= -1).outcome is Outcome.INVALID


def test_bad_finite_sets_are_named():
    assert exhaustive([], lambda k: True, twin=lambda k: False).outcome is Outcome.VACUOUS
    with pytest.raises(TypeError, match="check must return True or False, but for 0 it returned 0"):
        exhaustive(range(3), lambda k: k, twin=lambda k: False)
    with pytest.raises(TypeError, match="exhaustive needs a twin"):
        exhaustive(range(3), lambda k: True, twin=None)
