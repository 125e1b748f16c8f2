"""Sympy proofs of classical inequalities; false neighbours of each are never proved."""

from __future__ import annotations

import signal
import subprocess
from fractions import Fraction

import pytest
import sympy
import torch

from attnlab.analysis.theorems.engines import proving
from attnlab.analysis.theorems.engines.proof_steps import nonnegative, prove_zero
from attnlab.analysis.theorems.engines.proof_steps import prove as prove_bound
from attnlab.analysis.theorems.engines.proving import prove
from attnlab.analysis.theorems.statement.claim import for_all
from attnlab.analysis.theorems.statement.domains import Integer, Permutation, Real, Simplex, Vector

X, Y = sympy.symbols("x y", real=True)
T = sympy.Symbol("t", nonnegative=True)
LINE = {X: (-sympy.oo, sympy.oo), Y: (-sympy.oo, sympy.oo)}
HALF = {T: (sympy.Integer(0), sympy.oo)}
UNIT = {X: (sympy.Integer(0), sympy.Integer(1)), Y: (sympy.Integer(0), sympy.Integer(1))}

TRUE = {
    "square": (2 * X * Y, X**2 + Y**2, LINE),
    "quarter": (X * (1 - X), sympy.Rational(1, 4), LINE),
    "exponential": (1 + X, sympy.exp(X), {X: LINE[X]}),
    "logarithm": (sympy.log(1 + T), T, HALF),
    "tanh": (sympy.tanh(T), T, HALF),
    "softmax": (2 * sympy.exp(X) * sympy.exp(Y) / (sympy.exp(X) + sympy.exp(Y)) ** 2, sympy.Rational(1, 2), LINE),
    "or": (X + Y - X * Y, sympy.Integer(1), UNIT),
    "quartic": (4 * X**3 - X**4, sympy.Integer(27), LINE),
    "triangle": (X, sympy.sqrt(X**2 + Y**2), LINE),
}
FALSE = {
    "square": (sympy.Rational(201, 100) * X * Y, X**2 + Y**2, LINE),
    "quarter": (X * (1 - X), sympy.Rational(249, 1000), LINE),
    "exponential": (sympy.Rational(101, 100) + X, sympy.exp(X), {X: LINE[X]}),
    "logarithm": (sympy.log(1 + T), sympy.Rational(99, 100) * T, HALF),
    "tanh": (sympy.tanh(T), sympy.Rational(99, 100) * T, HALF),
    "softmax": (2 * sympy.exp(X) * sympy.exp(Y) / (sympy.exp(X) + sympy.exp(Y)) ** 2, sympy.Rational(49, 100), LINE),
    "or": (X + Y - X * Y, sympy.Rational(99, 100), UNIT),
    "quartic": (4 * X**3 - X**4, sympy.Rational(269, 10), LINE),
    "triangle": (X, sympy.Rational(99, 100) * sympy.sqrt(X**2 + Y**2), LINE),
    "pole": (sympy.Integer(0), 1 / X, {X: (sympy.Integer(-1), sympy.Integer(1))}),
    "half line": (sympy.Integer(0), X, LINE),
}


@pytest.mark.parametrize("name", TRUE)
def test_a_classical_inequality_is_proved(name):
    assert prove_bound(*TRUE[name])


@pytest.mark.parametrize("name", FALSE)
def test_its_false_neighbour_is_not(name):
    assert not prove_bound(*FALSE[name])


def test_identities_are_exact():
    assert prove_zero((X + Y) ** 2 - X**2 - 2 * X * Y - Y**2) == "expansion"
    assert prove_zero(sympy.sin(X) ** 2 + sympy.cos(X) ** 2 - 1)
    assert not prove_zero(sympy.Rational(1, 10**12) * X)


def test_a_function_with_a_zero_in_the_interval_has_no_sign():
    assert not nonnegative(X - sympy.Rational(1, 2), UNIT)
    assert nonnegative((X - sympy.Rational(1, 2)) ** 2, UNIT)


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("claim", "status"),
    [
        (
            for_all(x=Vector(3), y=Vector(3)).bound(lambda x, y: x @ y, at_most=lambda x, y: x.norm() * y.norm()),
            "proved",
        ),
        (
            for_all(x=Vector(3), y=Vector(3)).identity(
                lambda x, y: (x + y).square().sum() - (x - y).square().sum(), equals=lambda x, y: 4 * (x @ y)
            ),
            "proved",
        ),
        (for_all(x=Vector(3), pi=Permutation(3)).identity(lambda x, pi: x[pi].softmax(-1).sum(), equals=1), "proved"),
        (for_all(p=Simplex(3)).bound(lambda p: (p * p).sum(), at_most=1), "proved"),
        (for_all(x=Real(0, 1), k=Integer(1, 4)).bound(lambda x, k: x**k, at_most=1), "proved"),
        (for_all(x=Real(-2, 2)).bound(lambda x: x * (1 - x), at_most=0.24), "refuted"),
        (for_all(x=Real(0)).bound(lambda x: torch.sin(x), at_most=lambda x: x), "undecided"),
        (
            for_all(x=Vector(3)).bound(
                lambda x: torch.linalg.svdvals(torch.outer(x, x)).amax(), at_most=lambda x: 2 * x @ x
            ),
            "undecided",
        ),
    ],
    ids=["Cauchy-Schwarz", "polarisation", "permuted softmax", "purity", "powers", "false", "sine", "no exact form"],
)
def test_claims_are_proved_refuted_or_left(claim, status):
    assert prove(claim).status == status


def test_a_proof_that_takes_too_long_is_stopped(monkeypatch):
    """The process ends itself by its limit of processor time; here it is said to have done so."""
    killed = subprocess.CompletedProcess([], -signal.SIGXCPU, "", "")
    monkeypatch.setattr(proving.subprocess, "run", lambda *a, **k: killed)
    result = prove(for_all(x=Real(0)).bound(lambda x: torch.tanh(x), at_most=lambda x: x))
    assert result.status == "undecided" and "did not finish in 20 s" in result.reason


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (for_all(x=Real(-1, 1)).bound(lambda x: x / x, at_least=1), "may vanish"),
        (for_all(x=Real(-1, 1)).bound(lambda x: 0 * torch.log(x + 0.5), at_most=1), "may not be positive"),
        (for_all(x=Real(-1, 1)).bound(lambda x: x.sqrt() ** 2, at_least=lambda x: x), "may be negative"),
        (for_all(x=Real()).identity(lambda x: (x * x - 1) / (x - 1), equals=lambda x: x + 1), "may vanish"),
    ],
    ids=["x/x", "logarithm", "root", "cancelled factor"],
)
def test_a_proof_keeps_the_domain(claim, words):
    result = prove(claim)
    assert result.status == "undecided" and words in result.reason


def test_a_computed_constant_stands_for_all_reals_near_it():
    """1/3 in floats is a little less than a third: x/3 <= x * 0.333... is not proved, with the fraction it is."""
    third = for_all(x=Real(0, 1)).bound(lambda x: x / 3, at_most=lambda x: x * (1 / 3))
    assert prove(third).status == "undecided"
    exact = for_all(x=Real(0, 1)).bound(lambda x: x * Fraction(1, 3), at_most=lambda x: x * Fraction(1, 3))
    assert prove(exact).status == "proved"


JUMPS = {  # each fails between simple points, though its derivative has one sign on every piece
    "case": (lambda x: torch.where(x > 0.53, 0.97, 0.0), lambda x: x),
    "weak case": (lambda x: torch.where(x >= 0.53, 0.97, 0.0), lambda x: x),
    "window": (lambda x: torch.where((x > 0.53) & (x < 0.54), 0.97, 0.0), lambda x: x),
    "sign": (lambda x: (x - 0.53).sign() * 0.97, lambda x: x),
    "whole part": (lambda x: (x + 0.47).floor() * 0.97, lambda x: x),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", JUMPS)
def test_derivatives_prove_nothing_across_a_jump(name):
    left, right = JUMPS[name]
    assert prove(for_all(x=Real(0, 1)).bound(left, at_most=right)).status != "proved"


def test_derivatives_prove_what_has_none_of_them():
    assert prove(for_all(x=Real(0)).bound(lambda x: (1 + x).log(), at_most=lambda x: x)).status == "proved"


def test_a_smaller_limit_of_processor_time_is_kept(monkeypatch):
    """A process may not raise the limit it was given."""
    monkeypatch.setattr(proving.resource, "getrlimit", lambda what: (5, 5))
    asked = []
    monkeypatch.setattr(proving.resource, "setrlimit", lambda what, limits: asked.append(limits))

    def run(*arguments, preexec_fn, **options):
        preexec_fn()
        return subprocess.CompletedProcess([], -signal.SIGXCPU, "", "")

    monkeypatch.setattr(proving.subprocess, "run", run)
    prove(for_all(x=Real(0)).bound(lambda x: torch.tanh(x), at_most=lambda x: x))
    assert asked == [(5, 5)]
