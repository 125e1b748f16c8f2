"""What the data resolve: the smallest relative change of a prediction that the same check refutes, in every judge."""

import math
from dataclasses import replace

import numpy as np
import pytest

from attnlab.analysis import (
    Outcome,
    Twin,
    agrees,
    aligned,
    all_of,
    bounded,
    converges,
    exhaustive,
    exponent,
    follows,
    frozen,
    identical,
    ordered,
    settles,
    share,
    trend,
)
from attnlab.analysis.judges.resolution import _blunt, resolution
from attnlab.analysis.statistics.intervals import guarded_mean_interval
from attnlab.analysis.verdicts.verdict import Verdict

RNG = np.random.default_rng(5)
VALUES = 2 + 0.01 * RNG.standard_normal(32)
T = np.linspace(0, 4, 41)


def test_the_smallest_change_is_found_to_one_per_cent_whatever_its_size():
    for edge in (3e-12, 0.0123, 0.4, 7.0, 60.0):
        assert edge <= resolution(lambda e, edge=edge: abs(e) >= edge) <= 1.011 * edge
    assert resolution(lambda e: e > 0.1 or e < -0.3) == pytest.approx(0.3, rel=0.011)
    assert resolution(lambda e: False) == math.inf


@pytest.mark.parametrize("predicted", [2.0, 2.005, -2.0])
def test_a_mean_resolves_the_margin_and_its_interval_and_its_bias(predicted):
    values, w = np.sign(predicted) * VALUES, 0.03
    low, high = guarded_mean_interval(values, 0.99)
    verdict = agrees(values, predicted, within=w, twin=1.1 * predicted)
    expected = max(high - predicted + w, predicted - low + w) / abs(predicted)
    assert verdict.holds and verdict.resolves == pytest.approx(expected, rel=0.011)
    for e, seen in ((verdict.resolves, True), (0.98 * verdict.resolves, False)):
        rivals = [agrees(values, predicted * (1 + s * e), within=w, twin=9.0).outcome for s in (1, -1)]
        assert (set(rivals) == {Outcome.REFUTED}) is seen


def test_a_prediction_of_zero_is_changed_in_the_declared_scale_or_in_that_of_its_twin():
    values = VALUES - 2
    by_twin = agrees(values, 0.0, within=0.01, twin=0.5)
    declared = agrees(values, 0.0, within=0.01, twin=0.5, scale=5.0)
    assert by_twin.resolves == pytest.approx(10 * declared.resolves, rel=0.03)


def test_a_blunt_verdict_says_what_makes_it_blunt():
    assert "margin is 0.4" in agrees(VALUES, 2.0, within=0.4, twin=3.0).reason
    noisy = 2 + 0.5 * RNG.standard_normal(8)
    assert agrees(VALUES, 2.0, within=0.03, twin=3.0).reason == ""
    assert agrees(noisy, 2.0, within=0.9, twin=9.0).resolves > 0.05
    parts = dict(margin=0.5, interval=(-0.1, 0.1), resolves=math.inf)
    nothing = Verdict(Outcome.HOLDS, "equivalence", **parts)
    said = _blunt(nothing)
    assert said == "resolves nothing: the margin is 0.5, the half-width 0.1; a smaller margin would resolve more"
    wide = _blunt(replace(nothing, interval=(-0.7, 0.7), resolves=0.2))
    assert wide == "resolves 20 % only: the half-width is 0.7 at margin 0.5; more replicas would resolve more"


def test_a_bound_resolves_one_minus_its_tightness():
    values = np.array([0.5, 0.9, 0.7])
    above = bounded(values, 1.0, of="every replica", twin=0.8)
    assert above.resolves == pytest.approx(1 - above.tightness, rel=0.011)
    below = bounded(values, 0.45, side="below", of="every replica", twin=0.6)
    assert below.resolves == pytest.approx(1 - below.tightness, rel=0.011)
    assert bounded(-values, -0.5, of="every replica", twin=-0.6).resolves <= 1e-15  # sharp


def test_exponents_and_rates_are_resolved_relative_to_themselves():
    x = np.array([1.0, 2, 4, 8, 16])
    curves = x**1.5 * np.exp(0.01 * RNG.standard_normal((16, 5)))
    verdict = exponent(x, curves, 1.5, within=0.06, twin=1.0)
    assert verdict.holds and 0.04 < verdict.resolves < 0.06
    assert exponent(x, x**1.5, 1.5, within=0.06, twin=1.0).resolves == pytest.approx(0.04, rel=0.011)
    flat = exponent(x, np.exp(0.01 * RNG.standard_normal((16, 5))), 0.0, within=0.06, twin=1.0)
    assert 0.06 < flat.resolves < 0.09  # in units of the twin's distance
    assert converges(x, 1 / x, rate=1.0, within=0.05, twin=2.0).resolves == pytest.approx(0.05, rel=0.011)


def test_a_path_resolves_its_amplitude_and_its_time_constant():
    runs = 1 - np.exp(-T) + 1e-4 * RNG.standard_normal((16, T.size))
    verdict = follows(runs, 1 - np.exp(-T), within=0.01, times=T, twin=1 - np.exp(-2 * T))
    amplitude, clock = 0.01 / (1 - math.exp(-4)), 0.01 * math.e  # max of t exp(-t) is 1 / e
    assert verdict.holds and max(amplitude, clock) < verdict.resolves < 1.15 * max(amplitude, clock)
    level = follows(np.ones((8, 5)), np.ones(5), within=0.01, of="every replica", twin=np.full(5, 2.0))
    assert level.resolves == pytest.approx(0.01, rel=0.011)


def test_a_direction_resolves_an_angle_and_a_limit_in_time_its_relative_change():
    vectors = np.array([1.0, 0, 0]) + 0.001 * RNG.standard_normal((16, 3))
    verdict = aligned(vectors, np.array([1.0, 0, 0]), within_angle=0.02, twin=np.array([0, 1.0, 0]))
    assert verdict.holds and 0.019 < verdict.resolves < 0.022
    curves = np.repeat(VALUES[:, None], 4, axis=1)
    steps = [1, 10, 100, 1000]
    limit = settles(steps, curves, 2.0, within=0.03, twin=3.0)
    assert limit.resolves == pytest.approx(agrees(VALUES, 2.0, within=0.03, twin=3.0).resolves, rel=0.02)


def test_equality_of_algorithms_resolves_what_its_budget_leaves():
    a = np.array([1.0, 2.0, 4.0])
    verdict = identical(a, a * (1 + 2**-52), rounding=4, twin=a + 1)
    assert verdict.holds and 4 * 2**-52 <= verdict.resolves <= 8 * 2**-52
    assert identical(np.array([1, 2]), np.array([1, 2]), twin=np.array([1, 3])).resolves == 0.0


def test_orders_shares_and_enumerations_have_no_formula_to_change():
    hits = np.ones(64, dtype=bool)
    assert ordered(VALUES, VALUES + 1 + 0.01 * RNG.standard_normal(32), twin=2.0).resolves is None
    assert share(hits, at_least=0.5, twin=0.99).resolves is None
    assert trend([1, 2, 3], [1.0, 2, 3], "rising", twin=5.0).resolves is None
    assert exhaustive([1, 2], lambda x: x > 0, twin=lambda x: x > 1).resolves is None
    coin = np.arange(400) % 2 == 0
    assert 0.3 < share(coin, predicted=0.5, within=0.1, twin=0.9).resolves < 0.5


def test_a_compound_resolves_what_its_bluntest_part_does():
    sharp, blunt = (agrees(VALUES, 2.0, within=w, twin=9.0).named(str(w)) for w in (0.02, 0.2))
    order = ordered(VALUES, VALUES + 1 + 0.01 * RNG.standard_normal(32), twin=2.0)
    assert all_of(sharp, blunt, order).resolves == blunt.resolves
    assert all_of(order, order).resolves is None


def test_a_refuted_or_vacuous_verdict_resolves_nothing():
    assert agrees(VALUES, 3.0, within=0.1, twin=9.0).resolves is None
    assert agrees([], 3.0, within=0.1, twin=9.0).resolves is None


RISE = 1 - np.exp(-T) + 1e-3 * RNG.standard_normal((16, T.size))


def test_where_the_null_control_passes_too_the_claim_is_vacuous_and_names_the_movement_it_needs():
    moved = follows(RISE, 1 - np.exp(-T), within=0.05, times=T, twin=1 - np.exp(-3 * T), null=frozen(RISE))
    assert moved.holds and moved.null is Outcome.REFUTED and moved.null_label == "nothing is learnt"
    rest = 1e-3 * RNG.standard_normal((16, T.size))
    slow = follows(rest, 0.01 * T / 4, within=0.05, times=T, twin=np.sin(T), null=frozen(rest))
    assert slow.outcome is Outcome.VACUOUS and "a movement above 0.05" in slow.reason


@pytest.mark.parametrize(
    ("judged", "null"),
    [
        (lambda null: agrees(VALUES, 2.0, within=0.1, twin=3.0, null=null), VALUES),
        (lambda null: bounded(VALUES, 3.0, twin=1.5, null=null), VALUES),
        (
            lambda null: ordered(VALUES - 1, VALUES, of="every replica", twin=1.5, null=null),
            Twin.of("no", larger=VALUES),
        ),
        (
            lambda null: share(
                np.ones(64, bool), at_least=0.5, twin=Twin.of("no", successes=np.zeros(64, bool)), null=null
            ),
            np.ones(64, bool),
        ),
        (lambda null: trend(T, RISE, "rising", twin=9.0, null=null), RISE),
        (lambda null: settles([1, 2, 4], RISE[:, -3:], 1.0, within=0.1, twin=9.0, null=null), RISE[:, -3:]),
        (lambda null: aligned(1 + RISE, np.ones(T.size), within_angle=0.9, twin=-np.ones(T.size), null=null), 1 + RISE),
    ],
)
def test_every_judge_of_dynamics_takes_a_null_control(judged, null):
    assert judged(None).holds and judged(None).null is None
    found = judged(null)
    assert found.outcome is Outcome.VACUOUS and found.null is Outcome.HOLDS and found.null_label in found.reason


def test_a_null_control_of_a_name_that_the_judge_lacks_is_an_error():
    with pytest.raises(ValueError, match="which agrees lacks"):
        agrees(VALUES, 2.0, within=0.1, twin=3.0, null=Twin.of("n", curves=VALUES))
    with pytest.raises(ValueError, match="must have shape"):
        frozen(np.ones(3))


def test_a_start_that_no_replica_left_refutes_as_a_null_control_but_decides_nothing_as_a_sample():
    still = np.zeros(32)
    moved = agrees(VALUES, 2.0, within=0.1, twin=3.0, null=still)
    assert moved.holds and moved.null is Outcome.REFUTED
    more = ordered(VALUES[::-1] - 1, VALUES, by=0.0, twin=1.5, null=Twin.of("no", smaller=still, larger=still))
    assert more.holds and more.null is Outcome.REFUTED
    apart = ordered(
        VALUES[:16] - 1, VALUES, paired=False, twin=1.5, null=Twin.of("no", smaller=still[:16], larger=still)
    )
    assert apart.holds and apart.null is Outcome.REFUTED
    on_target = agrees(VALUES, 2.0, within=0.1, twin=3.0, null=np.full(32, 2.0))
    assert on_target.outcome is Outcome.VACUOUS and on_target.null is Outcome.HOLDS
    assert agrees(np.full(32, 2.0), 2.0, within=0.1, twin=3.0).outcome is Outcome.UNDECIDED


def test_a_bound_of_zero_resolves_in_units_of_its_twins_distance():
    below = bounded(VALUES - 3, 0.0, twin=-2.0)
    low = guarded_mean_interval(VALUES - 3, below.confidence)[0]
    assert below.holds and below.resolves == pytest.approx(-low / 2, rel=0.02)


def test_settles_judges_the_median_where_distances_are_skewed():
    start = np.exp(1.5 * RNG.standard_normal((32, 1)))  # skewed: the mean of 32 has no useful interval
    end = 0.01 * np.abs(RNG.standard_normal((32, 2)))
    curves, of = np.hstack([start, end]), "median over replicas"
    by_mean = settles([1, 2, 4], curves, 0.0, within=0.05, scale=1.0, twin=1.0, null=frozen(curves))
    by_median = settles([1, 2, 4], curves, 0.0, within=0.05, scale=1.0, twin=1.0, null=frozen(curves), of=of)
    assert by_median.holds and by_median.of == of and by_median.null is Outcome.REFUTED
    assert by_mean.outcome is Outcome.UNDECIDED and by_mean.wants == "replicas" and "null control" in by_mean.reason
    with pytest.raises(ValueError, match="median over replicas"):
        settles([1, 2, 4], curves, 0.0, within=0.05, twin=1.0, of="every replica")
