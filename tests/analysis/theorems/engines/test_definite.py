"""Positive definite matrices at their ends: what floats stand for there, and what is inside by rounding alone."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from attnlab.analysis.theorems.check import check
from attnlab.analysis.theorems.engines.confirmation import confirm
from attnlab.analysis.theorems.engines.definite import certainly_inside
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


def test_rotated_matrices_that_are_inside_by_rounding_refute_nothing():
    """Q diag(1, 1.5, 2) Q' in floats has eigenvalues a few 1e-16 from 1 and 2, on either side."""
    q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((40, 3, 3)))
    rotated = q @ (np.array([1, 1.5, 2])[None, :, None] * np.swapaxes(q, 1, 2))
    rotated = (rotated + np.swapaxes(rotated, 1, 2)) / 2
    domain = PositiveDefinite(3, 1, 2)
    claim = for_all(A=domain).bound(lambda A: torch.linalg.eigvalsh(A)[0], at_least=1)
    twin = for_all(A=domain).bound(lambda A: torch.linalg.eigvalsh(A)[0], at_least=1.001)
    inside = [A for A in rotated if certainly_inside(domain, A)]
    assert 0 < len(inside) < len(rotated)  # rounding puts some on either side
    assert not any(confirm(claim, {"A": A}).violated for A in rotated)
    assert all(confirm(twin, {"A": A}).violated for A in inside)


def test_the_border_belongs_to_the_domain():
    domain = PositiveDefinite(2, 1, 2)
    border = np.array([[1.5, 0.5], [0.5, 1.5]])  # eigenvalues 1 and 2, exactly
    assert certainly_inside(domain, border)
    assert not certainly_inside(domain, np.array([[1.5, 0.5 + 1e-15], [0.5 + 1e-15, 1.5]]))
    assert not certainly_inside(domain, np.array([[1.0, 0.0], [1e-17, 1.0]]))  # not symmetric
    claim = exists(A=domain).such_that(lambda A: A[0, 1], at_least=0.5)
    assert confirm(claim, {"A": border}, wanted="met").status == "met"


def test_an_attained_bound_by_a_decimal_end_is_held():
    claim = for_all(A=PositiveDefinite(2, 0.05, 0.1)).bound(lambda A: A[0, 0], at_most=0.1)
    assert check(claim, "searched", budget=4000).outcome == "HOLDS"
    twin = for_all(A=PositiveDefinite(2, 0.05, 0.1)).bound(lambda A: A[0, 0], at_most=0.0999)
    assert check(twin, "searched", budget=4000).outcome == "REFUTED"
