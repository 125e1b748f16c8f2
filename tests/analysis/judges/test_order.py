"""Order of two quantities, and shares of replicas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from attnlab.analysis import Outcome, Twin, bounded, ordered, share
from attnlab.analysis.judges.resolution import unresolved
from attnlab.analysis.statistics.intervals import skew_guard

NOISE = np.array([0.3, -0.2, 0.1, -0.4, 0.25, -0.1, 0.2, -0.15])
BASE = 100 * np.array([1.0, 2.0, 0.5, 3.0, 1.5, 2.5, 0.1, 4.0])
values = st.lists(st.floats(-1, 1).map(lambda x: round(x, 4)), min_size=4, max_size=12).filter(
    lambda v: len(set(v)) > 1
)


def test_pairs_show_an_order_that_the_spread_between_replicas_hides():
    assert ordered(BASE, BASE + 1 + NOISE, twin=2.0).holds
    assert ordered(BASE, BASE + 1 + NOISE, twin=2.0, paired=False).outcome is Outcome.UNDECIDED


def test_the_reversed_order_is_refuted_and_replays():
    refuted = ordered(BASE + 1 + NOISE, BASE, twin=2.0)
    assert refuted.outcome is Outcome.REFUTED
    assert ordered(np.zeros(8), refuted.witness["values"], twin=2.0).outcome is Outcome.REFUTED
    reverse = Twin.of("reversed", smaller=BASE + 1 + NOISE, larger=BASE)
    assert ordered(BASE, BASE + 1 + NOISE, twin=reverse).holds


@given(values, st.floats(-0.5, 0.5))
@unresolved()
def test_an_order_is_a_lower_bound_on_the_difference(differences, by):
    order = ordered(np.zeros(len(differences)), differences, by=by, twin=by + 0.5)
    bound = bounded(differences, by, side="below", twin=by + 0.5)
    assert (order.outcome, order.twin_outcome) == (bound.outcome, bound.twin_outcome)
    assert order.interval == pytest.approx(bound.interval)


def test_unpaired_samples_use_welchs_interval():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 9), rng.normal(5, 3, 14)
    welch = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.99)
    middle, half = (welch.low + welch.high) / 2, skew_guard(9, 0.99) * (welch.high - welch.low) / 2
    verdict = ordered(a, b, by=-9.0, twin=19.0)
    assert verdict.interval == pytest.approx((middle - half, middle + half))
    assert verdict.n == 9
    assert verdict.holds


def test_equality_is_not_an_order():
    equal = np.full(8, 2.0)
    assert ordered(equal, equal, twin=1.0, of="every replica").outcome is Outcome.REFUTED  # 0 > 0 is false
    assert ordered(equal, equal + 0.5, twin=1.0, of="every replica").holds


def test_bad_order_arguments_are_named():
    with pytest.raises(ValueError, match="weaker than by=1"):
        ordered(BASE, BASE + 2 + NOISE, by=1.0, twin=0.5)
    with pytest.raises(ValueError, match="paired=True needs equal lengths"):
        ordered(BASE, BASE[:5], twin=1.0, paired=True)
    with pytest.raises(ValueError, match="needs pairs"):
        ordered(BASE, BASE[:5], twin=1.0, of="every replica")
    with pytest.raises(TypeError, match="ordered needs a twin"):
        ordered(BASE, BASE, twin=None)
    assert ordered([1.0], [2.0, 3.0], twin=9.0).outcome is Outcome.UNDECIDED
    assert ordered([], [], twin=9.0).outcome is Outcome.VACUOUS


def test_a_share_is_decided_by_the_exact_interval():
    hits = np.arange(16) < 15
    low, high = stats.binomtest(15, 16).proportion_ci(0.99, method="exact")
    assert share(hits, at_least=low - 1e-6, twin=high + 1e-6).holds
    assert share(hits, at_least=low - 1e-6, twin=high - 1e-6).outcome is Outcome.UNDECIDED  # the twin is not refuted
    verdict = share(hits, at_least=low - 1e-6, twin=Twin.of("a coin", successes=np.arange(16) < 4))
    assert verdict.holds
    assert verdict.interval == pytest.approx((low, high))
    assert share(hits, at_least=low + 1e-6, twin=high + 1e-6).outcome is Outcome.UNDECIDED
    assert share(~hits, at_least=0.5, twin=0.9).outcome is Outcome.REFUTED
    assert share(~hits, at_most=0.5, twin=Twin.of("always", successes=hits | True)).holds
    assert share(hits, at_most=0.5, twin=0.1).outcome is Outcome.REFUTED
    many = np.arange(400) % 2 == 0
    assert share(many, predicted=0.5, within=0.1, twin=0.8).holds
    assert share(many, predicted=0.8, within=0.1, twin=0.5).outcome is Outcome.REFUTED


@given(st.integers(0, 12), st.floats(0.05, 0.9))
@unresolved()
def test_a_share_and_its_complement_are_mirror_images(successes, at_least):
    hits = np.arange(12) < successes
    a = share(hits, at_least=at_least, twin=at_least + 0.05)
    b = share(~hits, at_most=1 - at_least, twin=1 - (at_least + 0.05))
    if all(abs(end - edge) > 1e-9 for end in a.interval for edge in (at_least, at_least + 0.05)):
        assert (a.outcome, a.twin_outcome) == (b.outcome, b.twin_outcome)


def test_an_impossible_share_says_how_many_replicas_it_takes():
    verdict = share(np.ones(16, bool), at_least=0.9, twin=0.99)
    assert verdict.outcome is Outcome.UNDECIDED
    # all of m succeed: (0.01 / 2)^(1/m) >= 0.9 needs m >= log(0.005) / log(0.9) = 50.3
    assert "no outcome of n=16 could hold at error 0.01; it takes 51" in verdict.reason
    assert share(np.ones(51, bool), at_least=0.9, twin=Twin.of("never", successes=np.zeros(51, bool))).holds
    assert (
        share(np.ones(50, bool), at_least=0.9, twin=Twin.of("never", successes=np.zeros(50, bool))).outcome
        is Outcome.UNDECIDED
    )


def test_a_share_with_the_twin_inside_the_margin_is_never_merely_undecided():
    verdict = share(np.arange(40) % 2 == 0, predicted=0.5, within=0.3, twin=0.6)
    assert verdict.outcome in (Outcome.VACUOUS, Outcome.INVALID)
    assert "choose within below 0.05" in verdict.reason


def test_bad_share_arguments_are_named():
    hits = np.ones(8, bool)
    for wrong in ({}, {"at_least": 0.5, "at_most": 0.6}, {"predicted": 0.5}, {"at_least": 0.5, "within": 0.1}):
        with pytest.raises(ValueError, match="exactly one of at_least"):
            share(hits, twin=0.9, **wrong)
    with pytest.raises(ValueError, match="weaker than at_least"):
        share(hits, at_least=0.5, twin=0.4)
    with pytest.raises(ValueError, match=r"share in \[0, 1\]"):
        share(hits, at_least=1.5, twin=1.7)
    with pytest.raises(ValueError, match="successes must be boolean"):
        share(hits.astype(float), at_least=0.5, twin=0.9)
    assert share(hits[:0], at_least=0.5, twin=0.9).outcome is Outcome.VACUOUS
