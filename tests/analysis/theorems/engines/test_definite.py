"""Positive definite matrices at their ends: what floats stand for there, and what is inside by rounding alone."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from attnlab.analysis.theorems.check import check
from attnlab.analysis.theorems.engines.confirmation import confirm
from attnlab.analysis.theorems.engines.definite import entries, inside
from attnlab.analysis.theorems.statement.claim import exists, for_all
from attnlab.analysis.theorems.statement.domains import PositiveDefinite


@pytest.mark.parametrize("end", [0.1, 0.7, 1.1, 1 / 3, Fraction(2, 7)])
def test_a_bound_by_an_end_is_not_refuted_by_the_float_of_the_end(end):
    high = for_all(A=PositiveDefinite(2, end / 16, end)).bound(lambda A: A[0, 0], at_most=end)
    low = for_all(A=PositiveDefinite(2, end, 2 * end)).bound(lambda A: A[0, 0], at_least=end)
    for claim in (high, low):
        assert not confirm(claim, {"A": np.eye(2) * float(end)}).violated
    twin = for_all(A=PositiveDefinite(2, end / 16, end)).bound(lambda A: A[0, 0], at_most=float(end) * (1 - 1e-9))
    assert confirm(twin, {"A": np.eye(2) * float(end)}).violated


def rotated(ends, n=40):
    """Q diag(ends) Q' in floats: eigenvalues a few units of the last place from the ends, on either side."""
    q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((n, 3, 3)))
    found = q @ (np.array(ends)[None, :, None] * np.swapaxes(q, 1, 2))
    return (found + np.swapaxes(found, 1, 2)) / 2


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("low", "high"), [(1, 2), (0.1, 10), (1, 1), (1e-3, 1e3), (Fraction(1, 3), Fraction(2, 3))])
def test_rotated_matrices_at_the_ends_refute_what_is_false_and_nothing_else(low, high):
    """The matrix that is meant lies at most 1e-8 of the high end from the floats: bounds below that are not told apart."""
    domain = PositiveDefinite(3, low, high)
    middle = (float(low) + float(high)) / 2
    least = lambda A: torch.linalg.eigvalsh(A)[0]  # noqa: E731
    most = lambda A: torch.linalg.eigvalsh(A)[-1]  # noqa: E731
    room = 1e-6 * float(high)
    for A in rotated([float(low), middle, float(high)]):
        at = {"A": A}
        assert confirm(for_all(A=domain).bound(least, at_least=low), at).disproved
        assert confirm(for_all(A=domain).bound(most, at_most=high), at).disproved
        assert confirm(for_all(A=domain).bound(least, at_least=float(low) + room), at).violated
        assert confirm(for_all(A=domain).bound(most, at_most=float(high) - room), at).violated


def test_what_is_meant_lies_inside_and_near():
    domain = PositiveDefinite(3, 0.1, 10)
    for A in rotated([0.1, 1.0, 10.0], n=10):
        meant = np.array([float(x) for x in entries(domain, A)]).reshape(3, 3)
        assert np.abs(meant - A).max() < 1e-11  # a few times the rounding of floats near 10
    assert entries(domain, np.diag([0.1, 1, 10.000001])) is None  # outside by more than rounding
    assert entries(domain, np.array([[1.0, 0.0, 0], [1e-17, 1.0, 0], [0, 0, 1]])) is None  # not symmetric
    assert entries(domain, np.full((3, 3), np.nan)) is None


def test_the_border_belongs_to_the_domain():
    border = np.array([[1.5, 0.5], [0.5, 1.5]])  # eigenvalues 1 and 2, exactly
    exact = [[Fraction(float(x)) for x in row] for row in border]
    assert inside(exact, Fraction(1), Fraction(2))
    beyond = [
        [Fraction(3, 2), Fraction(1, 2) + Fraction(1, 10**30)],
        [Fraction(1, 2) + Fraction(1, 10**30), Fraction(3, 2)],
    ]
    assert not inside(beyond, Fraction(1), Fraction(2))
    claim = exists(A=PositiveDefinite(2, 1, 2)).such_that(lambda A: A[0, 1], at_least=0.5)
    assert confirm(claim, {"A": border}, wanted="met").status == "met"


@pytest.mark.parametrize(("low", "high"), [(1, 1), (0.1, 10)])
def test_the_default_ends_and_a_single_matrix_are_held_and_refuted_by_a_search(low, high):
    domain = for_all(A=PositiveDefinite(2, low, high))
    assert check(domain.bound(lambda A: A[0, 0], at_most=high), "searched", budget=4000).outcome == "HOLDS"
    assert check(domain.bound(lambda A: A[0, 0], at_most=high * 0.9999), "searched", budget=4000).outcome == "REFUTED"


def test_an_attained_bound_by_a_decimal_end_is_held():
    claim = for_all(A=PositiveDefinite(2, 0.05, 0.1)).bound(lambda A: A[0, 0], at_most=0.1)
    assert check(claim, "searched", budget=4000).outcome == "HOLDS"
    twin = for_all(A=PositiveDefinite(2, 0.05, 0.1)).bound(lambda A: A[0, 0], at_most=0.0999)
    assert check(twin, "searched", budget=4000).outcome == "REFUTED"
