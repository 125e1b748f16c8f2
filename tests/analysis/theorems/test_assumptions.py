"""The audit finds the assumptions that matter, with an example, and does not accuse the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnlab.analysis.theorems.assumptions import audit
from attnlab.analysis.theorems.statement.claim import ClaimError, for_all
from attnlab.analysis.theorems.statement.domains import Real, Vector


@pytest.mark.slow
def test_the_needed_assumption_is_found_and_the_idle_one_is_not():
    """x y <= (x^2 + y^2) / 2 <= 1 in the disc; the other condition cuts nothing off that matters."""
    claim = for_all(x=Vector(2, -3, 3)).bound(
        lambda x: x[0] * x[1],
        at_most=1.0,
        assuming={
            "in the unit disc of radius sqrt 2": lambda x: x.norm() <= 2**0.5,
            "first entry below 2": lambda x: x[0] <= 2,
        },
    )
    report = audit(claim)
    needed, idle = report.dropped
    assert report.whole.holds and needed.matters and not idle.matters
    x = np.array(needed.verdict.witness["point"]["x"])
    assert x[0] * x[1] > 1 and x[0] <= 2  # the example keeps the other assumption
    assert "MATTERS" in report.lines()[1] and "not needed?" in report.lines()[2]


def test_an_assumption_without_which_a_side_is_undefined_matters():
    claim = for_all(x=Real(-1, 1)).bound(lambda x: torch.sqrt(x), at_most=1.1, assuming={"sign": lambda x: x >= 0})
    (dropped,) = audit(claim).dropped
    assert dropped.matters and "NaN" in dropped.reason


def test_a_claim_without_assumptions_cannot_be_audited():
    with pytest.raises(ClaimError, match="no assumptions"):
        audit(for_all(x=Real(0, 1)).bound(lambda x: x, at_most=1))
