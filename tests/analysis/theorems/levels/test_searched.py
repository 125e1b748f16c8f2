"""The level ``searched``: what floats cannot show is not passed over where the exact form shows it."""

from __future__ import annotations

import pytest
import sympy

from attnlab.analysis.theorems.check import check
from attnlab.analysis.theorems.engines import search
from attnlab.analysis.theorems.statement.claim import ClaimError, for_all
from attnlab.analysis.theorems.statement.domains import Real

X = sympy.Symbol("x")
TINY = sympy.Rational(1, 10**400)  # no float


@pytest.mark.parametrize(("bound", "outcome"), [(TINY / 10, "REFUTED"), (2 * TINY, "HOLDS")])
def test_a_violation_below_the_range_of_floats_is_seen_at_the_nearest_points(bound, outcome):
    claim = for_all(x=Real(0.5, 1)).bound(X * TINY, at_most=bound)
    assert check(claim, "searched", budget=2000).outcome == outcome


def test_processor_time_that_ended_decides_nothing_and_is_said(monkeypatch):
    """The cap is for claims that cost far more than any of ours: 0.5 ms an evaluation on the slowest processor seen, 2 allowed."""
    claim = for_all(x=Real(0.5, 1)).bound(X, at_most=1)
    assert check(claim, "searched", budget=2000).outcome == "HOLDS"
    assert 10 * search.SECONDS_PER_EVALUATION >= 4 * 5e-4
    monkeypatch.setattr(search, "SECONDS_PER_EVALUATION", 0.0)
    monkeypatch.setattr(search, "LEAST_SECONDS", 0.0)
    verdict = check(claim, "searched", budget=2000)
    assert verdict.outcome == "UNDECIDED" and "processor time ended" in verdict.reason


def test_numbers_beyond_the_range_of_floats_are_refused_or_judged():
    with pytest.raises(ClaimError, match="right side is beyond the range of float64"):
        for_all(x=Real(0, 1)).bound(X, at_most=10**400)
    huge = for_all(x=Real(0.5, 1)).bound(X * 10**400, at_most=sympy.Integer(10) ** 399)
    assert check(huge, "searched", budget=2000).outcome != "HOLDS"  # every point fails
    true = for_all(x=Real(0.5, 1)).bound(X * 10**400, at_most=sympy.Integer(10) ** 400)
    assert check(true, "searched", budget=2000).outcome != "REFUTED"
