"""Agreement with a prediction and one-sided bounds: decided by the interval, guarded by the twin."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from attnlab.analysis import Outcome, Twin, agrees, bounded
from attnlab.analysis.judges.resolution import unresolved
from attnlab.analysis.statistics.intervals import skew_guard
from attnlab.analysis.verdicts.budget import Piece, budget, replicas

SAMPLE = np.array([0.2, 0.5, 0.4, 0.3, 0.6, 0.45, 0.35, 0.4])  # mean 0.4, standard error 0.0423
samples = st.lists(st.floats(-1, 1).map(lambda x: round(x, 4)), min_size=3, max_size=20).filter(
    lambda v: len(set(v)) > 1
)
phrases = st.sampled_from(
    ["mean over replicas", "median over replicas", "quantile 0.75 over replicas", "every replica"]
)


def test_a_true_prediction_holds_and_a_false_one_is_refuted():
    half = skew_guard(8, 0.99) * stats.t.ppf(0.995, 7) * stats.sem(SAMPLE)
    assert agrees(SAMPLE, 0.4, within=half * 1.001, twin=1.9).outcome is Outcome.HOLDS
    assert agrees(SAMPLE, 0.4, within=half * 0.999, twin=1.9).outcome is Outcome.UNDECIDED
    assert agrees(SAMPLE, 0.4 + half + 0.1, within=0.0999, twin=1.9).outcome is Outcome.REFUTED
    assert agrees(SAMPLE, 0.4 + half + 0.1, within=0.1001, twin=1.9).outcome is Outcome.UNDECIDED


def test_the_verdict_carries_its_numbers():
    verdict = agrees(SAMPLE, 0.41, within=0.2, twin=1.9, unit="data set", of="mean over data sets")
    half = skew_guard(8, 0.99) * stats.t.ppf(0.995, 7) * stats.sem(SAMPLE)
    assert (verdict.predicted, verdict.margin, verdict.n, verdict.unit) == (0.41, 0.2, 8, "data set")
    assert verdict.measured == pytest.approx(0.4)
    assert verdict.interval == pytest.approx((0.4 - half, 0.4 + half))
    assert (verdict.confidence, verdict.twin, verdict.twin_outcome) == (0.99, "predicted=1.9", Outcome.REFUTED)


@given(samples, st.floats(-1, 1), st.floats(0.05, 2), st.floats(-2, 2), phrases)
@unresolved()
def test_claim_and_twin_never_both_survive_a_holds(values, predicted, within, rival, of):
    if rival == predicted:
        return
    verdict = agrees(values, predicted, within=within, twin=rival, of=of)
    if verdict.holds:
        assert verdict.twin_outcome is Outcome.REFUTED
        # so claim and twin cannot be swapped and hold again on the same data
        assert not agrees(values, rival, within=within, twin=predicted, of=of).holds
    if verdict.outcome is Outcome.INVALID:
        assert verdict.twin_outcome is Outcome.HOLDS


@given(
    samples,
    st.floats(-1, 1),
    phrases,
    st.sampled_from([0.25, 2.0, 8.0]),
    st.sampled_from([-4.0, 1.0, 16.0]),
    st.randoms(use_true_random=False),
)
@unresolved()
def test_the_verdict_does_not_depend_on_unit_origin_or_order(values, predicted, of, factor, shift, random):
    # powers of two scale without rounding; what remains is the rounding of the shift, far from any edge for most data
    rows = list(values)
    random.shuffle(rows)
    within, rival = 0.3, predicted + 1.0
    before = agrees(values, predicted, within=within, twin=rival, of=of)
    after = agrees(
        factor * np.array(rows) + shift,
        factor * predicted + shift,
        within=factor * within,
        twin=factor * rival + shift,
        of=of,
    )
    edges = [predicted - within, predicted + within, rival - within, rival + within]
    if min(abs(end - edge) for end in before.interval for edge in edges) > 1e-9:
        assert (before.outcome, before.twin_outcome) == (after.outcome, after.twin_outcome)


@given(samples, st.floats(-1, 1), phrases)
@unresolved()
def test_a_wider_margin_never_turns_holds_into_refuted(values, predicted, of):
    order = [Outcome.REFUTED, Outcome.UNDECIDED, Outcome.HOLDS]
    outcomes = [
        agrees(values, predicted, within=w, twin=predicted + 100, of=of).outcome for w in (0.01, 0.1, 1.0, 10.0)
    ]
    assert [order.index(o) for o in outcomes] == sorted(order.index(o) for o in outcomes)


def test_predictions_for_each_replica_are_compared_one_by_one():
    predicted = np.linspace(0, 7, 8)
    noise = np.array([1, -1, 1, -1, 1, -1, 1, -1]) * 0.01
    verdict = agrees(predicted + noise, predicted, within=0.05, twin=predicted + 1)
    assert verdict.holds
    assert verdict.predicted == verdict.measured == pytest.approx(3.5)
    assert verdict.interval == pytest.approx(
        (3.5 - 0.03638, 3.5 + 0.03638), abs=1e-4
    )  # 2.75 t(7, .995) .01 sqrt(8/7/8)
    # a rival with the right mean and the wrong order is seen by every replica, not by the mean
    backwards = predicted[::-1]
    assert agrees(predicted + noise, predicted, within=0.05, twin=backwards, of="every replica").holds
    assert agrees(predicted + noise, predicted, within=0.05, twin=backwards).outcome is not Outcome.HOLDS
    # as an unpaired mean the margin would be hopeless: the predictions spread over 7
    assert agrees(predicted + noise, 3.5, within=0.05, twin=5.0).outcome is Outcome.UNDECIDED


def test_every_replica_is_a_statement_about_the_replicas_at_hand():
    verdict = agrees(SAMPLE, 0.4, within=0.21, twin=0.9, of="every replica")
    assert verdict.holds
    assert verdict.interval == (0.2, 0.6)
    # (0.01 / 2)^(1/8) = 0.516: what 8 of 8 say about all replicas
    assert "8 of 8 satisfy it; of all replicas at least 0.516" in verdict.reason
    refuted = agrees(SAMPLE, 0.4, within=0.15, twin=0.9, of="every replica")
    assert refuted.outcome is Outcome.REFUTED
    assert refuted.witness == {"replica": 0, "value": 0.2, "predicted": 0.4, "all_outside": [0, 4]}
    assert agrees([3.0], 3.0, within=0.1, twin=4.0, of="every replica").holds  # one deterministic run


def test_the_median_ignores_an_outlier_that_ruins_the_mean():
    values = np.append(np.tile(SAMPLE, 2), 40.0)
    assert agrees(values, 0.4, within=0.21, twin=0.9, of="median over replicas").holds
    assert agrees(values, 0.4, within=0.21, twin=0.9).outcome is Outcome.UNDECIDED


def test_no_spread_decides_nothing_about_a_mean():
    verdict = agrees(np.zeros(8), 0.1, within=0.02, twin=0.5)  # eight zeros of a coin with 10 % heads: 43 % likely
    assert verdict.outcome is Outcome.UNDECIDED
    assert "equal: a t interval needs spread" in verdict.reason
    assert agrees(np.zeros(8), 0.0, within=0.02, twin=0.5, of="every replica").holds


def test_too_few_replicas_are_undecided_with_the_reason():
    one = agrees([0.4], 0.4, within=0.1, twin=0.9)
    assert (one.outcome, one.n) == (Outcome.UNDECIDED, 1)
    assert "no spread" in one.reason
    assert "n=4 is too small" in agrees(SAMPLE[:4], 0.4, within=1.0, twin=9.0, of="median over replicas").reason
    empty = agrees([], 0.4, within=0.1, twin=0.9)
    assert (empty.outcome, empty.n) == (Outcome.VACUOUS, 0)


def test_an_undecided_verdict_says_how_many_replicas_would_decide():
    rng = np.random.default_rng(0)
    few = agrees(rng.normal(0, 1, 16), 0.0, within=0.5, twin=3.0)
    assert few.outcome is Outcome.UNDECIDED
    needed = int(few.reason.split("about ")[1].split(" would")[0])
    # undecided until t sd / sqrt(n) = within - |mean|: between 20 and a few hundred for this sample
    assert 20 < needed < 1000
    assert agrees(rng.normal(0, 1, 8 * needed), 0.0, within=0.5, twin=3.0).holds


def test_more_replicas_are_asked_for_than_there_are_however_lopsided_the_interval():
    rng, asked = np.random.default_rng(1), []
    for _ in range(40):
        x = 10 ** rng.normal(0, 1, 24)
        found = agrees(x, 1.0, within=float(rng.uniform(0.3, 3)), twin=30.0, of="median over replicas")
        if "about" in found.reason:
            asked.append(int(found.reason.split("about ")[1].split(" would")[0]))
    assert len(asked) > 10 and min(asked) > 24


def test_a_twin_inside_the_margin_makes_the_check_vacuous_or_invalid():
    tight = np.array([0.0, 0.01, -0.01, 0.0, 0.005, -0.005, 0.01, -0.01])
    both = agrees(tight, 0.0, within=0.2, twin=0.1)
    assert both.outcome is Outcome.INVALID  # the data fit both
    assert "choose within below 0.05" in both.reason
    never = agrees(tight, 0.0, within=0.2, twin=0.2)  # the interval straddles the edge of the twin
    assert never.outcome is Outcome.VACUOUS
    assert "even data equal to the prediction could not tell" in never.reason
    # margins [-0.2, 0.2] and [0.1, 0.5] overlap: data in the overlap fit both, data on its edge tell nothing
    for shift, outcome in ((0.15, Outcome.INVALID), (0.1, Outcome.UNDECIDED)):
        overlap = agrees(tight + shift, 0.0, within=0.2, twin=0.3)
        assert overlap.outcome is outcome
        assert "margins of claim and twin overlap: choose within below 0.15" in overlap.reason
    assert agrees(tight, 0.0, within=0.04, twin=0.1).holds  # the advice works


def test_a_twin_may_replace_the_data():
    shuffled = Twin.of("shuffled labels", measured=SAMPLE + 1)
    assert agrees(SAMPLE, 0.4, within=0.45, twin=shuffled).holds
    same = Twin.of("no change", measured=SAMPLE[::-1])
    assert agrees(SAMPLE, 0.4, within=0.45, twin=same).outcome is Outcome.INVALID


def test_skewed_replicas_are_pointed_out():
    values = np.array([0.1, 0.12, 0.11, 0.13, 0.1, 0.12, 0.11, 0.14, 1.5, 3.0])
    assert "the median is safe" in agrees(values, 0.4, within=9.0, twin=30.0).reason
    assert "the median is safe" not in agrees(SAMPLE, 0.4, within=9.0, twin=30.0).reason


def test_a_refuted_mean_carries_the_values_to_judge_again():
    verdict = agrees(SAMPLE, 3.0, within=0.2, twin=9.0)
    witness = verdict.witness
    again = agrees(witness["values"], witness["predicted"], within=witness["within"], twin=9.0)
    assert verdict.outcome is again.outcome is Outcome.REFUTED


@pytest.mark.parametrize("within", [0, -1, math.nan, math.inf, True, [0.1]])
def test_a_margin_is_one_positive_number(within):
    with pytest.raises(ValueError, match="within must be"):
        agrees(SAMPLE, 0.4, within=within, twin=0.9)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"measured\[1\] is nan \(replica 1"):
        agrees([1.0, math.nan], 0.4, within=0.1, twin=0.9)
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match=r"predicted is (nan|inf)"):
            agrees(SAMPLE, bad, within=0.1, twin=0.9)
        with pytest.raises(ValueError, match=r"bound is (nan|inf)"):
            bounded(SAMPLE, bad, twin=0.1)
    with pytest.raises(ValueError, match=r"predicted\[2\] is nan \(replica 2"):
        agrees(SAMPLE[:3], [1.0, 2.0, math.nan], within=0.1, twin=0.9)
    with pytest.raises(ValueError, match="predicted must be one number or one for each of the 8 replicas"):
        agrees(SAMPLE, [1.0, 2.0], within=0.1, twin=0.9)
    with pytest.raises(ValueError, match="measured must have shape"):
        agrees(SAMPLE.reshape(2, 4), 0.4, within=0.1, twin=0.9)
    with pytest.raises(ValueError, match="'mean' is not understood; say 'mean over replicas'"):
        agrees(SAMPLE, 0.4, within=0.1, twin=0.9, of="mean")
    with pytest.raises(ValueError, match="side must be 'above'"):
        bounded(SAMPLE, 0.4, side="over", twin=0.2)


def test_a_judge_without_a_proper_twin_is_an_error():
    with pytest.raises(TypeError, match="twin"):
        agrees(SAMPLE, 0.4, within=0.1)
    with pytest.raises(TypeError, match="needs a twin: the nearest rival theory"):
        agrees(SAMPLE, 0.4, within=0.1, twin=None)
    with pytest.raises(TypeError, match="cannot read twin='plain'"):
        agrees(SAMPLE, 0.4, within=0.1, twin="plain")
    with pytest.raises(ValueError, match="did you mean 'predicted'"):
        agrees(SAMPLE, 0.4, within=0.1, twin=Twin.of("plain", predictd=0.5))
    with pytest.raises(ValueError, match="twin 'plain': predicted is nan"):
        agrees(SAMPLE, 0.4, within=0.1, twin=Twin.of("plain", predicted=math.nan))
    with pytest.raises(ValueError, match="replaces nothing"):
        agrees(SAMPLE, 0.4, within=0.1, twin=0.4)


def test_a_bound_holds_only_if_the_whole_interval_respects_it():
    half = skew_guard(8, 0.99) * stats.t.ppf(0.995, 7) * stats.sem(SAMPLE)
    assert bounded(SAMPLE, 0.4 + half * 1.001, twin=-0.1).holds
    assert bounded(SAMPLE, 0.4 + half * 0.999, twin=-0.1).outcome is Outcome.UNDECIDED
    assert bounded(SAMPLE, 0.4 - half * 1.001, twin=-0.1).outcome is Outcome.REFUTED
    assert bounded(SAMPLE, 0.4 - half * 1.001, side="below", twin=0.9).holds
    assert bounded(SAMPLE, 0.4 + half * 1.001, side="below", twin=0.9).outcome is Outcome.REFUTED


@given(samples, st.floats(-1, 1), phrases)
@unresolved()
def test_upper_and_lower_bounds_are_mirror_images(values, bound, of):
    if of.startswith("quantile"):
        of, mirrored = "quantile 0.75 over replicas", "quantile 0.25 over replicas"
    else:
        mirrored = of
    above = bounded(values, bound, twin=bound - 0.5, of=of)
    below = bounded(-np.array(values), -bound, side="below", twin=-bound + 0.5, of=mirrored)
    assert (above.outcome, above.twin_outcome) == (below.outcome, below.twin_outcome)
    assert above.measured == pytest.approx(-below.measured, abs=1e-12)


def test_tightness_is_one_for_a_sharp_bound():
    assert bounded(SAMPLE, 0.8, twin=0.1).tightness == pytest.approx(0.5)
    assert bounded(SAMPLE, 0.2, side="below", twin=0.8).tightness == pytest.approx(0.5)
    assert bounded(SAMPLE, 0.6, twin=0.5, of="every replica").tightness == pytest.approx(1)
    assert bounded(SAMPLE - 1, 0.6, twin=-0.9).tightness is None  # measured and bound have different signs


def test_every_replica_respects_its_own_bound():
    bound = SAMPLE * 1.25
    verdict = bounded(SAMPLE, bound, twin=SAMPLE * 0.99, of="every replica")
    assert verdict.holds
    assert verdict.tightness == pytest.approx(0.8)
    broken = bound.copy()
    broken[5] = 0.44
    refuted = bounded(SAMPLE, broken, twin=SAMPLE * 0.99, of="every replica")
    assert (refuted.outcome, refuted.witness["replica"]) == (Outcome.REFUTED, 5)
    assert bounded(SAMPLE, broken, within=0.011, twin=SAMPLE * 0.9, of="every replica").holds


def test_a_rival_bound_that_cannot_be_violated_is_an_error():
    with pytest.raises(ValueError, match="looser than the claimed bound"):
        bounded(SAMPLE, 0.8, twin=0.9)
    with pytest.raises(ValueError, match="looser than the claimed bound"):
        bounded(SAMPLE, 0.2, side="below", twin=0.1)


def test_a_one_sided_quantile_needs_only_the_end_it_uses():
    # the 0.1 quantile of 8 values has no lower end, but it certainly lies below 0.7
    verdict = bounded(SAMPLE, 0.7, twin=0.1, of="quantile 0.1 over replicas")
    assert verdict.interval[0] == -math.inf
    assert verdict.outcome is Outcome.UNDECIDED  # the twin is not refuted by an open end
    assert verdict.twin_outcome is Outcome.UNDECIDED


def test_a_margin_that_reaches_the_twin_for_want_of_replicas_alone_asks_for_them():
    rounding, few = Piece("rounding", 1e-3), replicas(0.13, 8, confidence=0.99)
    assert few.size > 0.05
    wanting = agrees(SAMPLE, 0.4, within=budget(rounding, few), twin=0.45)
    assert wanting.outcome is Outcome.UNDECIDED and wanting.wants == "replicas" and "reaches the twin" in wanting.reason
    # the same margin from a piece that replicas do not shrink: no data can tell
    blunt = agrees(SAMPLE, 0.4, within=budget(rounding, Piece("1/d", few.size)), twin=0.45)
    assert blunt.outcome in (Outcome.VACUOUS, Outcome.INVALID) and not blunt.wants
    # nor can more replicas where the rest alone takes up half of the distance
    half = agrees(SAMPLE, 0.4, within=budget(Piece("1/d", 0.0251), few), twin=0.45)
    assert half.outcome in (Outcome.VACUOUS, Outcome.INVALID)
