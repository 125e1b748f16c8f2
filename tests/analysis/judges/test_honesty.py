"""Judges that keep their promise: skew, unseen modes, groups, bounds, curves that bend, logarithms that are biased."""

import numpy as np
import pytest

from attnlab.analysis import (
    Outcome,
    agrees,
    all_of,
    bounded,
    exponent,
    follows,
    identical,
    mean_interval,
    ordered,
    share,
)
from attnlab.analysis.statistics.intervals import difference_interval, guarded_mean_interval, skew_guard, two_groups
from attnlab.analysis.statistics.sequences import (
    betting_sequence,
    bounded_mean_interval,
    gaussian_sequence,
    mean_sequence,
)

RNG = np.random.default_rng(3)
NORMAL = 1 + 0.01 * RNG.standard_normal(16)


def test_the_guard_is_wider_for_few_values_and_small_errors_and_goes_to_one():
    sizes = [8, 11, 16, 32, 64, 128, 1000, 10**6, 10**9]
    guards = [skew_guard(n, 0.9995) for n in sizes]
    assert guards == sorted(guards, reverse=True) and guards[-1] == pytest.approx(1, abs=1e-3)
    assert skew_guard(16, 0.9999) > skew_guard(16, 0.99) > 2
    low, high = mean_interval(NORMAL, 0.99)
    wide = guarded_mean_interval(NORMAL, 0.99)
    assert np.ptp(wide) == pytest.approx(skew_guard(16, 0.99) * (high - low))
    assert np.ptp(guarded_mean_interval(NORMAL, 0.99, draws=10_000)) < 1.05 * (high - low)


def test_replicas_that_are_averages_of_many_draws_say_so_and_get_the_narrower_interval():
    plain = agrees(NORMAL, 1.0, within=0.1, twin=2.0)
    drawn = agrees(NORMAL, 1.0, within=0.1, twin=2.0, of="mean over replicas of 4000 draws")
    assert np.ptp(drawn.interval) < 0.6 * np.ptp(plain.interval) and drawn.holds
    paths = np.ones((16, 3)) + 0.01 * RNG.standard_normal((16, 3))
    wide, narrow = (
        follows(paths, np.ones(3), within=0.1, twin=np.zeros(3), of=f"mean trajectory{of}")
        for of in ("", " of 4000 draws")
    )
    assert narrow.interval[1] < wide.interval[1]


def test_every_verdict_on_a_mean_says_how_large_a_second_mode_would_have_gone_unseen():
    mean, median = (
        agrees(NORMAL, 1.0, within=0.1, twin=2.0, of=f"{word} over replicas") for word in ("mean", "median")
    )
    assert mean.unseen == pytest.approx(1 - 0.01 ** (1 / 16)) and median.unseen is None
    assert "a second mode of up to 25 % of replicas would go unseen" in mean.line()
    few = agrees(NORMAL[:8], 1.0, within=0.2, twin=2.0)
    assert all_of(mean, median, few).unseen == few.unseen > 0.4
    # what it says is true: a mode of that share shows no value among n with the stated probability
    assert (1 - few.unseen) ** 8 == pytest.approx(0.01)


def test_a_few_values_far_from_the_others_withhold_holds_unless_the_margin_covers_them_too():
    stuck = np.concatenate([NORMAL[:14], [3.0, 3.01]])
    verdict = agrees(stuck, 1.25, within=1.0, twin=9.0)
    assert verdict.outcome is Outcome.UNDECIDED and "2 of 16 values lie" in verdict.reason
    assert agrees(stuck, 1.25, within=2.5, twin=9.0).holds
    assert agrees(stuck, 9.0, within=1.0, twin=1.0).outcome is Outcome.REFUTED
    assert two_groups(NORMAL) is None and two_groups([1.0, 1.0, 1.0]) is None
    assert two_groups([0.0] * 12 + [1.0] * 12) is None  # both groups are well known
    assert two_groups([0.0] * 12 + [1.0]) == (1, np.inf)


def test_values_with_known_bounds_are_judged_by_betting():
    accuracy = np.clip(0.9 + 0.02 * RNG.standard_normal(64), 0, 1)
    verdict = agrees(accuracy, 0.9, within=0.15, twin=0.5, low=0, high=1)
    assert verdict.holds and verdict.interval == pytest.approx(bounded_mean_interval(accuracy, 0, 1, 0.99), abs=2e-3)
    assert bounded(accuracy, 0.7, side="below", twin=0.99, low=0, high=1).holds
    shifted = agrees(accuracy, np.linspace(0.89, 0.91, 64), within=0.2, twin=0.5, low=0, high=1)
    assert shifted.holds
    with pytest.raises(ValueError, match="give both low and high"):
        agrees(accuracy, 0.9, within=0.1, twin=0.5, low=0)
    with pytest.raises(ValueError, match="outside"):
        agrees(accuracy, 0.9, within=0.1, twin=0.5, low=0, high=0.5)


def test_betting_that_rejects_every_candidate_gives_an_empty_interval_and_decides_nothing():
    change = np.concatenate([np.zeros(300), np.ones(300)])
    lower, upper = betting_sequence(change, 0, 1, 0.99)
    assert lower[-1] > upper[-1]
    low, high = bounded_mean_interval(change, 0, 1)
    assert low > high
    verdict = agrees(change, 0.5, within=0.1, twin=0.9, low=0, high=1)
    assert verdict.outcome is Outcome.UNDECIDED and "not from one law" in verdict.reason


def test_sequences_of_unbounded_values_carry_the_same_guard():
    x = RNG.standard_normal(40)
    plain, guarded = gaussian_sequence(x, 0.99), mean_sequence(x, 0.99)
    assert guarded[1][-1] - guarded[0][-1] > 1.2 * (plain[1][-1] - plain[0][-1])


@pytest.mark.parametrize("window", [(16, 256), (100, 10_000), (1_000, 100_000)])
def test_log_x_over_x_is_no_power(window):
    x = np.geomspace(*window, 6)
    slope = np.polyfit(np.log(x), np.log(np.log(x) / x), 1)[0]
    curves = np.log(x) / x * np.exp(1e-3 * RNG.standard_normal((16, 6)))
    verdict = exponent(x, curves, slope, within=0.1, twin=slope - 0.5)
    assert verdict.outcome is not Outcome.HOLDS and "bend" in verdict.reason
    assert exponent(
        x, x**slope * np.exp(1e-3 * RNG.standard_normal((16, 6))), slope, within=0.1, twin=slope - 0.5
    ).holds
    assert exponent(x, curves, slope, within=0.1, bend=0.1, twin=slope - 0.5).holds  # allowed for beforehand


def test_welch_with_two_values_is_not_narrower_than_two_values_allow():
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(2000):
        low, high = difference_interval(rng.standard_normal(2), 3 * rng.standard_normal(12), 0.9)
        missed += not low <= 0 <= high
    assert missed <= 200 + 4 * np.sqrt(2000 * 0.09)
    assert difference_interval([0.0, 1.0], [0.0, 2.0], 0.9)[1] > 5


def test_logarithms_biased_by_noise_that_changes_along_the_curve_decide_nothing():
    x = np.array([1.0, 2, 4, 8, 16])
    noise = np.linspace(0.05, 0.9, 5)
    curves = x**-1.0 * np.exp(noise * RNG.standard_normal((4000, 5)) - noise**2 / 2)  # mean exactly 1/x
    slope = np.polyfit(np.log(x), np.log(curves).mean(0), 1)[0]
    verdict = exponent(x, curves, slope, within=0.2, bend=1.0, twin=-3.0)
    assert verdict.outcome is Outcome.UNDECIDED and "biases" in verdict.reason
    assert exponent(x, curves, -1.0, within=0.2, bend=1.0, twin=-3.0, of="mean curve").holds


def test_unpaired_orders_carry_the_guard():
    a, b = RNG.standard_normal(8), 10 + RNG.standard_normal(12)
    verdict = ordered(a, b, by=-20.0, twin=40.0)
    assert np.ptp(verdict.interval) == pytest.approx(skew_guard(8, 0.99) * np.ptp(difference_interval(a, b, 0.99)))


@pytest.mark.parametrize(
    "judged",
    [
        lambda x: agrees(x, 1.0, within=0.1, twin=2.0),
        lambda x: bounded(x, 2.0, twin=0.5),
        lambda x: ordered(x, np.full(16, 3.0), by=1.0, twin=9.0),
        lambda x: identical(x, np.ones(16), twin=2.0),
        lambda x: share(x > 0, at_least=0.5, twin=0.9),
    ],
)
def test_values_behind_a_mask_are_not_judged_and_not_dropped_unseen(judged):
    spoilt = np.where(np.arange(16) < 8, NORMAL, 5.0)
    with pytest.raises(ValueError, match=r"masked at 8 of 16 entries.*compressed"):
        judged(np.ma.masked_array(spoilt, mask=spoilt == 5))


@pytest.mark.filterwarnings("ignore:overflow")
def test_values_whose_sum_overflows_keep_their_prediction_and_interval():
    verdict = agrees(1e307 * NORMAL, 1e307, within=1e306, twin=2e307)
    assert verdict.holds and verdict.predicted == 1e307 and np.isfinite(verdict.interval).all()
