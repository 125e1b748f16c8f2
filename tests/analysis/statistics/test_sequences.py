"""Confidence sequences: coverage under continuous looking, known formulas, and what a fixed-size interval would do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from attnlab.analysis.statistics.sequences import (
    betting_sequence,
    empirical_bernstein_sequence,
    gaussian_sequence,
    mean_sequence,
)
from attnlab.analysis.statistics.sequential import mean_within, until_decided, with_looks
from attnlab.analysis.verdicts.ledger import ErrorLedger
from attnlab.analysis.verdicts.verdict import Outcome, Verdict

RUNS, LENGTH, ERROR = 200, 100, 0.1
# misses over all looks are at most ERROR in probability; above this many in RUNS has probability below 1e-4
ALLOWED = int(stats.binom.isf(1e-4, RUNS, ERROR))


def _misses(draw, sequence, mean):
    generator = np.random.default_rng(0)
    count = 0
    for _ in range(RUNS):
        lower, upper = sequence(draw(generator))
        count += bool(np.any((lower > mean) | (upper < mean)))
    return count


@pytest.mark.parametrize(
    ("draw", "sequence", "mean"),
    [
        (lambda g: g.binomial(1, 0.2, LENGTH), lambda x: betting_sequence(x, 0, 1, 1 - ERROR), 0.2),
        (lambda g: g.beta(0.3, 0.6, LENGTH), lambda x: empirical_bernstein_sequence(x, 0, 1, 1 - ERROR), 1 / 3),
        (lambda g: 3 + 10 * g.standard_normal(LENGTH), lambda x: gaussian_sequence(x, 1 - ERROR), 3.0),
        (lambda g: 2 * g.binomial(1, 0.5, LENGTH) - 1, lambda x: mean_sequence(x, 1 - ERROR, -1, 1), 0.0),
    ],
    ids=["betting", "empirical Bernstein", "Gaussian", "intersection"],
)
def test_the_mean_is_covered_at_all_sizes_at_once(draw, sequence, mean):
    assert _misses(draw, sequence, mean) <= ALLOWED


def test_a_fixed_size_interval_misses_far_more_often_when_looked_at_continuously():
    """The twin: a t interval at each n, at the same error, is refuted by the same count."""

    def t_intervals(x):
        n = np.arange(1, x.size + 1)
        mean = np.cumsum(x) / n
        sd = np.sqrt(np.maximum(np.cumsum(x**2) - n * mean**2, 0) / np.maximum(n - 1, 1))
        half = np.where(n > 2, stats.t.isf(ERROR / 2, np.maximum(n - 1, 1)) * sd / np.sqrt(n), np.inf)
        return mean - half, mean + half

    assert _misses(lambda g: g.standard_normal(LENGTH), t_intervals, 0.0) > ALLOWED


def test_the_gaussian_sequence_is_where_the_mixture_likelihood_ratio_reaches_one_over_error():
    """Oracle: integrate the likelihood over effect size and scale numerically, at the end of the interval."""
    x = np.array([0.3, 1.1, -0.4, 2.0, 0.9, 1.6, 0.2, 1.3])
    error, n = 0.1, 8
    lower, upper = gaussian_sequence(x, 1 - error)

    def likelihood(m, effect):
        def integrand(log_sigma):
            sigma = math.exp(log_sigma)
            return math.exp(-0.5 * np.sum((x - m - effect * sigma) ** 2) / sigma**2 - n * log_sigma)

        return integrate.quad(integrand, -6, 6, epsabs=0, epsrel=1e-9, limit=200)[0]

    for end in (lower[-1], upper[-1]):
        mixture = integrate.quad(
            lambda d, end=end: likelihood(end, d) * stats.norm.pdf(d), -8, 8, epsrel=1e-8, limit=200
        )[0]
        assert mixture / likelihood(end, 0.0) == pytest.approx(1 / error, rel=1e-5)


def test_the_gaussian_sequence_moves_and_scales_with_the_data():
    x = np.random.default_rng(0).standard_normal(30)
    lower, upper = gaussian_sequence(x)
    lower2, upper2 = gaussian_sequence(100 + 5 * x)
    assert np.allclose(lower2[3:], 100 + 5 * lower[3:]) and np.allclose(upper2[3:], 100 + 5 * upper[3:])
    assert np.isinf(lower[0])


def test_betting_is_narrower_than_hoeffding_for_small_variance():
    x = np.random.default_rng(0).uniform(0.49, 0.51, 300)
    lower, upper = betting_sequence(x, 0, 1)
    assert upper[-1] - lower[-1] < math.sqrt(math.log(2 / 0.01) / (2 * 300))  # half of the fixed-n Hoeffding width


def test_betting_by_hand_for_one_value():
    """After x = 1 the bet on m is capped at BET / m: wealth 1/2 (1 + min(bet, 0.5 / m) (1 - m)), below 2 for all m."""
    lower, upper = betting_sequence([1.0], 0, 1, confidence=0.5)
    m = np.linspace(0, 1, 1001)
    bet = math.sqrt(2 * math.log(4) / (0.25 * math.log(2)))
    wealth = 0.5 * (1 + np.minimum(bet, 0.5 / np.maximum(m, 1e-12)) * (1 - m))
    assert lower[0] == pytest.approx(max(0.0, m[np.argmax(wealth < 2)] - 1e-3), abs=1e-12) and upper[0] == 1.0


def test_values_outside_their_bounds_are_an_error():
    with pytest.raises(ValueError, match="outside"):
        betting_sequence([0.5, 1.5], 0, 1)
    with pytest.raises(ValueError, match="both low and high"):
        mean_sequence([0.5], low=0)


def _source(mean, seed=0):
    generator = np.random.default_rng(seed)
    return lambda n: mean + generator.standard_normal(n)


def test_replicas_are_added_until_the_claim_is_decided():
    true = until_decided(_source(1.0), mean_within(1.0, 0.5), budget=5000)
    false = until_decided(_source(3.0), mean_within(1.0, 0.5), budget=5000)
    assert true.verdict.outcome is Outcome.HOLDS and false.verdict.outcome is Outcome.REFUTED
    assert len(false.values) < len(true.values) < 5000


def test_the_budget_ends_an_undecidable_claim_and_says_so():
    decision = until_decided(_source(1.5), mean_within(1.0, 0.5), budget=100)
    assert decision.verdict.outcome is Outcome.UNDECIDED and "budget of 100 values ended" in decision.verdict.reason
    assert len(decision.values) == 100


def test_a_fixed_size_judge_pays_for_each_look():
    ledger = ErrorLedger(0.01)
    judge = with_looks(lambda v: Verdict(Outcome.UNDECIDED, "unit", reason="never"), ledger, "claim", share=0.01)
    decision = until_decided(_source(0.0), judge, budget=50)
    assert decision.looks >= 4 and ledger.reserved == pytest.approx(0.01)


def test_a_source_that_returns_too_few_values_is_an_error():
    with pytest.raises(ValueError, match=r"sample_more\(8\) must return 8 values"):
        until_decided(lambda n: np.zeros(n - 1), mean_within(0, 1), budget=10)
