"""Statements: what they say, and the errors of malformed ones, which name the variable."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
import torch

from attnlab.analysis.theorems.check import check
from attnlab.analysis.theorems.engines.evaluate import Evaluator, tensors
from attnlab.analysis.theorems.statement.claim import ClaimError, exists, for_all
from attnlab.analysis.theorems.statement.domains import Integer, Real, Vector
from attnlab.analysis.theorems.statement.sides import symbol_home
from attnlab.analysis.verdicts.verdict import Twin

X = sympy.Symbol("x")


def test_statement_reads_as_a_sentence():
    claim = for_all(x=Real(-2, 2)).bound(lambda x: x * (1 - x), at_most=0.25, assuming={"x is small": lambda x: x <= 1})
    assert claim.statement == "x * (1 - x) <= 0.25 for all x in [-2, 2], assuming x is small"
    assert claim.region == "x in [-2, 2] (dimension 1)"


def named(x):
    return x


def test_a_statement_shows_what_was_written():
    """Two lambdas of one line are told apart by their columns; a function is shown by its name, sympy by its formula."""
    x = Real(0, 1)
    assert for_all(x=x).bound(lambda x: x + 1, at_most=lambda x: x + 2).statement.startswith("x + 1 <= x + 2 for")
    assert for_all(x=x).bound(named, at_most=X**2).statement.startswith("named(x) <= x**2 for all")
    wide = for_all(x=x).bound(
        lambda x: (
            x.exp()
            - 1
        ),
        at_least=0,
        assuming=lambda x: x > 0.5,
    )  # fmt: skip
    assert wide.statement == "x.exp() - 1 >= 0 for all x in [0, 1], assuming x > 0.5"
    assert "left(" not in for_all(x=x).bound(eval("lambda x: x"), at_most=1).statement


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: for_all(x=Real(0, 1)).bound(lambda z: z, at_most=1), "free parameter 'z' without a domain"),
        (lambda: for_all(x=Real(0, 1)).bound(X + sympy.Symbol("y"), at_most=1), "free symbol 'y' without a domain"),
        (
            lambda: for_all(x=Real(1, 0)).bound(lambda x: x, at_most=1),
            "variable 'x': empty domain: low=1 is above high=0",
        ),
        (lambda: for_all(x=3).bound(lambda x: x, at_most=1), "variable 'x' needs a domain"),
        (lambda: for_all(x=Vector("n")).bound(lambda x: x, at_most=1), "variable 'x' has the open size 'n'"),
        (lambda: for_all(x=Real(0, 1)).bound(lambda x: x, at_most=float("nan")), "right side is NaN"),
        (lambda: for_all(x=Real(0, 1)).bound(lambda x: x), "exactly one of at_most and at_least"),
        (
            lambda: for_all(x=Real(0, 1)).bound(lambda x: x, at_most=1, twin=Twin.of("t", at_mots=2)),
            "did you mean 'at_most'",
        ),
        (
            lambda: for_all(x=Real(0, 1)).bound(lambda x: x, at_most=1, assuming=lambda w: w > 0),
            "assumption 'w > 0'.*'w'",
        ),
        (lambda: for_all(), "at least one variable"),
        (lambda: exists(x=Real(0, 1)).such_that(lambda x: x, equals=1), "within > 0"),
        (lambda: for_all(x=Real(0, 1)).bound("x", at_most=1), "left side must be a number"),
    ],
)
def test_a_malformed_claim_names_what_is_wrong(make, words):
    with pytest.raises(ClaimError, match=words):
        make()


def test_sides_of_different_shapes_name_the_shapes_and_variables():
    claim = for_all(x=Vector(3)).bound(lambda x: x, at_most=lambda x: x[:2])
    with pytest.raises(
        ClaimError, match=r"left side returns shape \(3,\) and the right side shape \(2,\) \(variables: x \(3,\)\)"
    ):
        check(claim, "searched")


def test_a_side_that_is_nan_in_the_domain_names_the_variable():
    claim = for_all(x=Real(-1, 1), y=Real(0, 1)).bound(lambda x: torch.sqrt(x), at_most=2)
    with pytest.raises(ClaimError, match=r"left side is NaN at x=-0.*narrow the domain of 'x'"):
        check(claim, "searched")


@pytest.mark.slow
def test_an_assumption_may_exclude_the_points_where_a_side_is_nan():
    claim = for_all(x=Real(-1, 1)).bound(lambda x: torch.sqrt(x), at_most=1.5, assuming=lambda x: x >= 0)
    assert check(claim, "searched").holds


def test_a_side_that_cannot_be_called_shows_its_own_error():
    claim = for_all(x=Vector(3)).bound(lambda x: x @ np.ones((2, 2)), at_most=1)
    with pytest.raises(ClaimError, match=r"left side cannot be evaluated with x of shape \(3,\)"):
        check(claim, "sampled")


def test_sizes_are_filled_in_and_given_to_the_sides():
    claim = for_all(x=Vector("n", 0, 1)).bound(lambda x, n: x.sum() / n, at_most=1, sizes={"n": (2, 5)})
    assert [one.variables["x"].shape for one in claim.instances()] == [(2,), (5,)]
    evaluator = Evaluator(claim.at(n=3))
    assert float(evaluator(tensors({"x": np.ones((1, 3))}))[0]) == 1.0
    with pytest.raises(ClaimError, match="no size 'm'"):
        claim.at(m=3)


def test_one_statement_gives_the_same_numbers_in_torch_numpy_and_sympy():
    forms = [
        lambda x: torch.exp(x) / (1 + torch.exp(x)),
        lambda x: float(np.exp(x) / (1 + np.exp(x))),
        sympy.exp(X) / (1 + sympy.exp(X)),
    ]
    points = tensors({"x": np.linspace(-3, 3, 7)})
    values = [Evaluator(for_all(x=Real(-3, 3)).bound(f, at_most=1)).left(points) for f in forms]
    assert all(torch.allclose(v, values[0], rtol=0, atol=4 * 2.0**-53) for v in values)


def test_definitions_are_computed_from_the_variables_in_order():
    claim = for_all(x=Vector(3, 0, 1)).bound(
        lambda w: w, at_most=3.0, where={"s": lambda x: x.sum(), "w": lambda s: 2 * s / 2}
    )
    assert claim.kind == "construction"
    assert float(Evaluator(claim)(tensors({"x": np.ones((1, 3))}))[0]) == 3.0


def test_a_twin_replaces_sides_assumptions_and_domains():
    claim = for_all(x=Real(0, 1), k=Integer(1, 3)).bound(lambda x, k: x**k, at_most=1)
    twin = claim.with_twin(Twin.of("wider", x=Real(0, 2), at_least=0.0))
    assert twin.variables["x"] == Real(0, 2) and twin.sense == "at_least" and not twin.twins


def test_symbols_find_their_variable():
    assert symbol_home("x_12", ["x", "y"]) == ("x", 12)
    assert symbol_home("x3", ["x"]) == ("x", 3)
    assert symbol_home("z", ["x"]) is None
