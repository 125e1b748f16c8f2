"""Error terms of splitting schemes against expansions in non-commuting symbols, small steps, and a closed form."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import sympy
from scipy.linalg import expm

from attnlab.theory.particle_flow.fields import ParticleSystem, integrate
from attnlab.theory.particle_flow.splitting import (
    SCHEMES,
    SUB_FLOWS,
    error_coefficient,
    error_constant,
    error_terms,
    euler_layer,
    orders,
)


def system(seed=0, dim=4, hidden=8):
    rng = np.random.default_rng(seed)
    shapes = [(dim, dim)] * 4 + [(dim, hidden), (hidden,), (hidden, dim), (dim,)]
    return ParticleSystem(*(rng.normal(size=shape) / 2 for shape in shapes))


START = np.random.default_rng(9).normal(size=(6, 4))


def second_order_terms(stages, sub_flow):
    """The same coefficients from linear fields: maps F, G that do not commute, the stages multiplied out in powers of g.

    For linear fields P'Q is the product P Q, so the coefficient of g^2 in exp(g (F + G)) minus the scheme lists all four.
    """
    F, G = sympy.symbols("F G", commutative=False)
    g = sympy.Symbol("g")
    scheme = sympy.Integer(1)
    for a, b in stages:
        M = g * (sympy.Rational(a) * F + sympy.Rational(b) * G)
        step = 1 + M + (M * M / 2 if sub_flow != "euler" else 0)
        scheme = step * scheme
    exact = 1 + g * (F + G) + g**2 * (F + G) ** 2 / 2
    rest = sympy.expand(sympy.expand(exact - scheme).coeff(g, 2))
    return {
        P + Q: Fraction(str(rest.coeff(p * q) if p != q else rest.coeff(p**2)))
        for P, p in (("F", F), ("G", G))
        for Q, q in (("F", F), ("G", G))
    }


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("sub_flow", ["euler", "midpoint"])
def test_error_terms_are_those_of_the_expansion_in_symbols(name, sub_flow):
    assert error_terms(SCHEMES[name], sub_flow) == second_order_terms(SCHEMES[name], sub_flow)


def test_the_table_of_the_paper_and_its_correction():
    half, quarter = Fraction(1, 2), Fraction(1, 4)
    assert error_terms(SCHEMES["transformer"], "exact") == {"FF": 0, "FG": half, "GF": -half, "GG": 0}
    assert error_terms(SCHEMES["reversed"], "exact") == {"FF": 0, "FG": -half, "GF": half, "GG": 0}
    assert not any(error_terms(SCHEMES["macaron"], "exact").values())
    assert error_terms(SCHEMES["transformer"], "euler") == {"FF": half, "FG": half, "GF": -half, "GG": half}
    assert error_terms(SCHEMES["macaron"], "euler") == {"FF": half, "FG": 0, "GF": 0, "GG": quarter}
    assert error_terms(SCHEMES["macaron_swapped"], "euler") == {"FF": quarter, "FG": 0, "GF": 0, "GG": half}


def test_no_arrangement_of_euler_steps_is_second_order_not_even_with_backward_ones():
    rng = np.random.default_rng(5)
    for _ in range(200):
        n = int(rng.integers(1, 7))
        a = [Fraction(int(k), 4) for k in rng.integers(-6, 7, n)]
        b = [Fraction(int(k), 4) for k in rng.integers(-6, 7, n)]
        a[-1], b[-1] = 1 - sum(a[:-1]), 1 - sum(b[:-1])
        terms = error_terms(list(zip(a, b, strict=True)), "euler")
        assert terms["FF"] == sum(x * x for x in a) / 2 > 0 and terms["GG"] == sum(x * x for x in b) / 2 > 0
        assert orders(list(zip(a, b, strict=True)), "euler") == (2, 1)


def test_orders_of_the_named_schemes():
    assert {
        (name, sub): orders(SCHEMES[name], sub)
        for name in SCHEMES
        for sub in SUB_FLOWS
        if (name, sub) != ("parallel", "exact")
    } == {
        **{(name, sub): (2, 1) for name in ("transformer", "reversed") for sub in SUB_FLOWS},
        **{(name, sub): (3, 2) for name in ("macaron", "macaron_swapped") for sub in ("exact", "midpoint")},
        **{(name, "euler"): (2, 1) for name in ("macaron", "macaron_swapped", "parallel")},
        ("parallel", "midpoint"): (3, 2),
    }


@pytest.mark.parametrize("name", SCHEMES)
def test_the_local_error_of_a_layer_is_the_coefficient_to_first_order_in_the_step(name):
    s, gaps = system(), []
    c = error_coefficient(s, START, error_terms(SCHEMES[name], "euler"))
    for step in (0.02, 0.01, 0.005):
        defect = integrate(s.field, START, step, 8)[-1] - euler_layer(s, START, step, SCHEMES[name])
        gaps.append(np.abs(defect / step**2 - c).max() / np.abs(c).max())
    ratios = np.array(gaps[:-1]) / gaps[1:]
    assert np.all(np.abs(ratios - 2) < 0.2) and gaps[-1] < 0.05  # 2 plus O(step)
    other = error_coefficient(
        s, START, error_terms(SCHEMES["macaron" if name != "macaron" else "transformer"], "euler")
    )
    assert np.abs(other - c).max() / np.abs(c).max() > 0.1


@pytest.mark.parametrize("name", ["transformer", "macaron"])
def test_the_error_constant_is_the_limit_of_the_global_error_per_step(name):
    s, terms = system(1), error_terms(SCHEMES[name], "euler")
    E, end, gaps = error_constant(s, START, 1.0, terms), integrate(s.field, START, 1.0, 256)[-1], []
    for depth in (64, 128, 256):
        X = START
        for _ in range(depth):
            X = euler_layer(s, X, 1 / depth, SCHEMES[name])
        gaps.append(np.abs(depth * (end - X) - E).max() / np.abs(E).max())
    assert np.all(np.abs(np.array(gaps[:-1]) / gaps[1:] - 2) < 0.2) and gaps[-1] < 0.05
    added_up = error_constant(s, START, 1.0, terms, transported=False)
    assert np.abs(added_up - E).max() / np.abs(E).max() > 0.1


def test_the_error_constant_does_not_depend_on_the_integrator():
    s, terms = system(2), error_terms(SCHEMES["macaron"], "euler")
    coarse, fine = (error_constant(s, START, 1.0, terms, n_steps=n) for n in (64, 128))
    assert np.abs(coarse - fine).max() < 1e-6 * np.abs(fine).max()  # (1/64)^4 = 6e-8, times a constant


def test_a_single_particle_without_feed_forward_has_a_closed_form():
    # n = 1: F(x) = x M, M = W_V W_O; Euler steps give E(T) = (T/2) x M^2 e^{M T}
    s = system(3)
    s, x = replace(s, W_2=np.zeros_like(s.W_2), b_2=np.zeros(4)), START[:1]
    M, T = s.W_V @ s.W_O, 0.7
    exact = T / 2 * x @ M @ M @ expm(T * M)
    assert np.allclose(
        error_constant(s, x, T, error_terms(SCHEMES["transformer"], "euler")), exact, rtol=1e-8, atol=1e-10
    )


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match="do not add up"):
        error_terms([(Fraction(1), Fraction(0))], "euler")
    with pytest.raises(ValueError, match="sub_flow='rk4'"):
        error_terms(SCHEMES["macaron"], "rk4")
    with pytest.raises(ValueError, match="no order"):
        orders(SCHEMES["parallel"], "exact")
