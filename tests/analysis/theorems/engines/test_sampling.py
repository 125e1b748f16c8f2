"""The sampled level: exact binomial bounds, Hoeffding's interval, and errors of the values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from attnlab.analysis.theorems.check import check
from attnlab.analysis.theorems.engines.evaluate import Evaluator
from attnlab.analysis.theorems.engines.sampling import Sampled, hoeffding_interval, sample
from attnlab.analysis.theorems.statement.claim import ClaimError, for_all
from attnlab.analysis.theorems.statement.domains import Real


def _drawn(bound, n=8000):
    claim = for_all(x=Real(0, 1)).bound(lambda x: x, at_most=bound)
    return sample(claim, n, 0, Evaluator(claim))


def test_no_violation_leaves_the_mass_at_which_none_would_be_seen():
    mass = _drawn(1.0).mass(0.01)[1]
    assert (1 - mass) ** 8000 == pytest.approx(0.01, rel=1e-9)


def test_the_interval_covers_the_true_violating_mass():
    drawn = _drawn(0.9)
    low, high = drawn.mass(1e-4)
    assert low < 0.1 < high
    # oracle: the ends are where the binomial tails reach half of the error
    assert stats.binom.sf(drawn.violations - 1, drawn.n, low) == pytest.approx(5e-5, rel=1e-6)
    assert stats.binom.cdf(drawn.violations, drawn.n, high) == pytest.approx(5e-5, rel=1e-6)


def test_nothing_drawn_says_nothing():
    assert Sampled().mass(0.01) == (0.0, 1.0)


def test_assumptions_condition_the_mass():
    claim = for_all(x=Real(0, 1)).bound(lambda x: x, at_most=0.75, assuming=lambda x: x >= 0.5)
    drawn = sample(claim, 8000, 0, Evaluator(claim))
    assert abs(drawn.n / drawn.n_drawn - 0.5) < 5 * 0.5 / math.sqrt(8000)
    assert abs(drawn.violations / drawn.n - 0.5) < 5 * 0.5 / math.sqrt(drawn.n)


def test_hoeffding_width_is_its_formula_and_covers():
    generator = np.random.default_rng(0)
    missed = 0
    for _ in range(300):
        low, high = hoeffding_interval(generator.binomial(1, 0.5, 50).astype(float), 0, 1, 0.9)
        missed += not low <= 0.5 <= high
        assert high - low == pytest.approx(2 * math.sqrt(math.log(20) / 100))
    assert missed <= stats.binom.isf(1e-4, 300, 0.1)


def test_hoeffding_refuses_values_outside_their_bounds():
    with pytest.raises(ValueError, match="outside"):
        hoeffding_interval(np.array([0.0, 2.0]), 0, 1)


def test_an_average_whose_bounds_are_wrong_is_an_error_that_names_the_point():
    claim = for_all(x=Real(0, 2)).on_average(lambda x: x, between=(0, 1), at_most=1.5)
    with pytest.raises(ClaimError, match="widen between"):
        check(claim)
