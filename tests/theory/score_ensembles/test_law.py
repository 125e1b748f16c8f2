"""Moments of the law of scores: closed forms against quadrature and draws."""

import math

import numpy as np
import pytest

from attnlab.theory.score_ensembles.law import ScoreLaw, mean_of_values_error_limit


@pytest.mark.parametrize("width", [1, 4, 16, 1024])
def test_the_rule_over_queries_reaches_the_closed_moments(width):
    law = ScoreLaw(100, 0.4, width)
    variance, weight = law.variances()
    for exponent in (-1.0, 0.5, 1.0):
        assert weight @ np.exp(exponent * variance) == pytest.approx(law.row_moment(exponent), rel=1e-9)
    assert weight @ variance == pytest.approx(0.16, rel=1e-12)  # the mean of s_q^2 is s^2
    # the twin: all queries alike, which lacks s^4/nu to first order
    assert not weight @ np.exp(variance) == pytest.approx(math.exp(0.16), rel=0.5 * 0.16**2 / width)


def test_moments_of_drawn_queries():
    x = 0.3**2 * np.random.default_rng(0).chisquare(8, 400_000) / 8
    law = ScoreLaw(100, 0.3, 8)
    assert abs(np.exp(2 * x).mean() - law.row_moment(2.0)) < 5 * np.exp(2 * x).std() / 400_000**0.5


def test_an_infinite_moment_is_refused_with_the_spread_that_has_one():
    law = ScoreLaw(100, 1.5, 4)
    with pytest.raises(ValueError, match=r"spread=1\.5 at width=4"):
        law.relative(lambda variance, p, Q: Q)
    assert ScoreLaw(100, 0.9, 4).row_moment(2.0) > 1


def test_planted_weight():
    law = ScoreLaw(101, 0.5, 4, height=3.0)
    p = law.planted_weight(np.array([0.0, 0.5]))
    assert p[0] == pytest.approx(math.exp(3) / (math.exp(3) + 100), rel=1e-12)
    assert p[1] == pytest.approx(math.exp(3) / (math.exp(3) + 100 * math.exp(0.25)), rel=1e-12)
    assert not ScoreLaw(101, 0.5, 4).planted_weight(np.array([0.5])).any()


def test_the_mean_of_values_errs_by_the_excess_of_participation():
    law = ScoreLaw(512, 0.5, 16)
    assert mean_of_values_error_limit(law) == pytest.approx(math.sqrt(1 - 1 / law.row_moment(1.0)), rel=1e-9)
    assert mean_of_values_error_limit(ScoreLaw(512, 0.5, 16, height=12.0)) == pytest.approx(1.0, abs=2e-3)
