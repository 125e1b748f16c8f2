"""Sympy's functions and numbers on a tape, against values of known formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy

from attnlab.analysis.theorems.check import check
from attnlab.analysis.theorems.engines.confirmation import confirm
from attnlab.analysis.theorems.statement.claim import ClaimError, for_all
from attnlab.analysis.theorems.statement.domains import Integer, Matrix, Real

X, J, K = sympy.symbols("x j k")
A = sympy.MatrixSymbol("A", 2, 2)
LONG = sympy.Float("0.99999999999999999999", 30)

VALUES = [  # expression, domain, point, value
    (sympy.acot(X), Real(-2, 2), -1.0, -math.pi / 4),
    (sympy.acot(X), Real(-2, 2), 0.0, math.pi / 2),
    (sympy.asec(X), Real(1, 3), 2.0, math.pi / 3),
    (sympy.atan2(X, -1), Real(-2, 2), 1.0, 3 * math.pi / 4),
    (sympy.atan2(X, -1), Real(-2, 2), -1.0, -3 * math.pi / 4),
    (sympy.frac(X), Real(-2, 2), -0.25, 0.75),
    (sympy.sinc(X), Real(-2, 2), 0.0, 1.0),
    (sympy.sinc(X), Real(-2, 2), 1.0, math.sin(1)),
    (sympy.gamma(X), Real(1, 2), 1.5, math.sqrt(math.pi) / 2),
    (sympy.Sum(X**J, (J, 0, 5)), Real(0, 1), 0.5, 1.96875),
    (sympy.Product(1 + X / J, (J, 1, 4)), Real(0, 1), 1.0, 5.0),
    (sympy.GoldenRatio * X, Real(0, 1), 1.0, (1 + math.sqrt(5)) / 2),
    (sympy.EulerGamma * X, Real(0, 1), 1.0, 0.5772156649015329),
    (sympy.re(X), Real(-2, 2), -1.0, -1.0),
]


@pytest.mark.parametrize(("side", "domain", "point", "value"), VALUES)
def test_functions_have_the_value_of_their_definition(side, domain, point, value):
    at = {"x": np.asarray(point)}
    assert confirm(for_all(x=domain).bound(side, at_most=sympy.Float(value) - 1e-9), at).violated
    assert confirm(for_all(x=domain).bound(side, at_most=sympy.Float(value) + 1e-9), at).status == "met"
    assert confirm(for_all(x=domain).bound(side, at_least=sympy.Float(value) + 1e-9), at).violated


@pytest.mark.parametrize(
    ("side", "k", "value"),
    [
        (sympy.factorial(K), 6, 720),
        (sympy.binomial(10, K), 5, 252),
        (sympy.Sum(J, (J, 1, K)), 7, 28),
        (sympy.Sum(J, (J, 1, K)), 0, 0),
    ],
)
def test_whole_numbers_are_put_in_before_sums_are_written_out(side, k, value):
    claim = for_all(k=Integer(0, 10))
    assert confirm(claim.bound(side, at_most=value - 1), {"k": np.asarray(k)}).violated
    assert confirm(claim.bound(side, at_most=value), {"k": np.asarray(k)}).status == "met"


def test_the_angle_at_the_origin_has_no_value():
    y = sympy.Symbol("y")
    claim = for_all(x=Real(-1, 1), y=Real(-1, 1)).bound(sympy.atan2(y, X), at_most=4)
    assert confirm(claim, {"x": np.asarray(0.0), "y": np.asarray(0.0)}).status == "undefined"


def test_elements_of_a_matrix_are_those_of_its_variable():
    claim = for_all(A=Matrix(2, 2, -1, 1)).bound(A[0, 0] * A[1, 1] - A[0, 1] * A[1, 0], at_most=1.9)
    assert confirm(claim, {"A": np.array([[1.0, -1.0], [1.0, 1.0]])}).violated


def test_numbers_of_any_precision_are_read_as_they_were_typed():
    one = {"x": np.asarray(1.0)}
    box = for_all(x=Real(0, 1))
    assert confirm(box.bound(X, at_most=LONG), one).violated  # 1 - 1e-20: float64 would read 1
    assert confirm(box.bound(X, at_most=2 - LONG), one).status == "met"
    assert check(box.bound(X, at_most=LONG), "symbolic", budget=2000).outcome == "REFUTED"
    for digits in (5, 15, 30):
        tenth = sympy.Float("0.1", digits)
        assert not confirm(box.bound(X * tenth, at_most=sympy.Rational(1, 10)), one).violated
        assert confirm(box.bound(X * tenth, at_most=sympy.Rational(1, 10) - sympy.Rational(1, 10**6)), one).violated
    root = sympy.sqrt(2).n(40)  # computed: every real near it is meant
    assert not confirm(box.bound(X * root, at_most=sympy.sqrt(2)), one).violated
    assert confirm(box.bound(X * root, at_most=sympy.sqrt(2) - sympy.Rational(1, 10**30)), one).violated


@pytest.mark.parametrize(
    "side", [sympy.LambertW(X), sympy.Integral(J, (J, 0, X)), sympy.Sum(J, (J, 0, X)), sympy.zeta(K + 2)]
)
def test_what_has_no_form_is_refused_by_name_with_and_without_whole_numbers(side):
    with pytest.raises(ClaimError, match=r"no numerical form .*write it as a function"):
        check(for_all(x=Real(0, 1), k=Integer(0, 3)).bound(side, at_most=1), "searched", budget=2000)
    if not side.has(K):
        with pytest.raises(ClaimError, match=r"no numerical form .*write it as a function"):
            check(for_all(x=Real(0, 1)).bound(side, at_most=1), "searched", budget=2000)
