"""Symbols that sympy was told more of than the domain says are refused; those that fit are judged."""

from __future__ import annotations

import pytest
import sympy

from attnlab.analysis.theorems.statement.claim import ClaimError, for_all
from attnlab.analysis.theorems.statement.domains import (
    Distribution,
    Integer,
    Permutation,
    PositiveDefinite,
    Real,
    Simplex,
    Sphere,
    Vector,
)


def symbol(name="x", **facts):
    return sympy.Symbol(name, **facts)


REFUSED = [
    (Real(-1, 1), symbol(positive=True), "positive"),
    (Real(0, 1), symbol(positive=True), "positive"),  # 0 is a point of the domain
    (Real(-1, 1), symbol(nonnegative=True), "nonnegative"),
    (Real(-1, 1), symbol(nonzero=True), "nonzero"),
    (Real(0, 5), symbol(integer=True), "integer"),
    (Integer(0, 5), symbol(even=True), "even"),
    (Vector(2, -1, 1), symbol("x_1", positive=True), "positive"),
    (Simplex(3), symbol("x_0", positive=True), "positive"),
    (Sphere(2), symbol("x_0", nonnegative=True), "nonnegative"),
    (Distribution(lambda g, n: g.uniform(0, 1, n)), symbol(nonnegative=True), "nonnegative"),
]
JUDGED = [
    (Real(-1, 1), symbol(real=True)),
    (Real(0.5, 1), symbol(positive=True)),
    (Real(0, 1), symbol(nonnegative=True)),
    (Real(-2, -1), symbol(negative=True)),
    (Integer(1, 5), symbol(integer=True, positive=True)),
    (Permutation(2), symbol("x_0", integer=True, nonnegative=True)),
    (Simplex(3), symbol("x_0", nonnegative=True)),
    (PositiveDefinite(1, 1, 2), symbol("x_0", positive=True)),
    (Distribution(lambda g, n: g.uniform(0, 1, n), support=Real(0, 1)), symbol(nonnegative=True)),
]


@pytest.mark.parametrize(("domain", "x", "fact"), REFUSED)
def test_a_symbol_that_is_declared_more_than_its_domain_is_refused(domain, x, fact):
    """``sqrt(x**2)`` of a positive symbol is x before anyone can look at it."""
    with pytest.raises(ClaimError, match=rf"declares {x} {fact}.*simplifies by it"):
        for_all(x=domain).bound(sympy.sqrt(x**2 + 1), at_most=9)
    with pytest.raises(ClaimError, match="simplifies by it"):
        for_all(x=domain).bound(1, at_most=9, assuming=x <= sympy.Rational(1, 2))


@pytest.mark.parametrize(("domain", "x"), JUDGED)
def test_a_symbol_that_its_domain_bears_out_is_judged(domain, x):
    assert for_all(x=domain).bound(sympy.sqrt(x**2 + 1), at_most=9).statement
