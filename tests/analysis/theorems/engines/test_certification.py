"""Branch and bound: proofs of true bounds, never of false ones, and advice where it cannot tell."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlab.analysis.theorems.engines.certification import certify
from attnlab.analysis.theorems.engines.cover import Cover, point_of
from attnlab.analysis.theorems.statement.claim import for_all
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


def two_way(x):
    p = x.softmax(-1)[0]
    return 2 * p * (1 - p)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=4, max_size=4), st.sampled_from([-0.05, 0.05]))
def test_a_cubic_bound_is_proved_exactly_if_its_true_maximum_allows_it(coefficients, slack):
    """Oracle: the maximum of a cubic on [-1, 1] from the roots of its derivative."""
    derivative = np.polyder(coefficients)
    inside = [float(r.real) for r in np.roots(derivative) if abs(r.imag) < 1e-12 and -1 < r.real < 1]
    maximum = max(np.polyval(coefficients, t) for t in [-1.0, 1.0, *inside])
    a, b, c, d = coefficients
    claim = for_all(x=Real(-1, 1)).bound(lambda x: a * x**3 + b * x**2 + c * x + d, at_most=maximum + slack)
    result = certify(claim)
    assert result.status == ("proved" if slack > 0 else "refuted")


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        (for_all(x=Vector(2, -10, 10)).bound(two_way, at_most=0.501), "proved"),
        (for_all(x=Vector(2, -10, 10)).bound(two_way, at_most=0.499), "refuted"),
        (for_all(p=Simplex(3)).bound(lambda p: (p * p).sum(), at_least=0.333), "proved"),
        (for_all(p=Simplex(3)).bound(lambda p: (p * p).sum(), at_least=0.334), "refuted"),
        (for_all(u=Sphere(3)).bound(lambda u: u[0] + u[1], at_most=1.42), "proved"),
        (for_all(u=Sphere(3)).bound(lambda u: u[0] + u[1], at_most=1.41), "refuted"),
        (
            for_all(A=PositiveDefinite(2, 1, 4)).bound(lambda A: A[0, 0] * A[1, 1] - A[0, 1] ** 2, at_most=16.1),
            "proved",
        ),
        (
            for_all(x=Vector(3, 0, 1), pi=Permutation(3)).bound(lambda x, pi: x[pi].sum() - x.sum(), at_most=0.01),
            "proved",
        ),
        (for_all(k=Integer(1, 50), x=Real(0, 1)).bound(lambda x, k: x**k, at_most=1.0), "proved"),
        (for_all(x=Vector(2, -1, 1)).bound(lambda x: x.sum(), at_most=1.01, assuming=lambda x: x.sum() <= 1), "proved"),
        (
            for_all(x=Vector(2, -1, 1)).bound(lambda x: x.sum(), at_most=0.99, assuming=lambda x: x.sum() <= 1),
            "refuted",
        ),
        (for_all(x=Real(0, 1)).bound(lambda x: torch.sqrt(x), at_most=1.0), "proved"),
        (for_all(x=Vector(2, -1, 1)).bound(lambda x: torch.stack([x[0], -x[1]]), at_most=1.0), "proved"),
    ],
    ids=lambda v: v if isinstance(v, str) else v.region,
)
def test_bounds_on_every_kind_of_domain(claim, status):
    assert certify(claim).status == status


def test_a_bound_that_is_attained_inside_is_undecided_and_says_how_to_restate():
    result = certify(for_all(x=Vector(2, -10, 10)).bound(two_way, at_most=0.5))
    assert result.status == "undecided"
    assert "the two sides meet at" in result.advice and "slack" in result.advice and "symbolic" in result.advice


@pytest.mark.slow
def test_a_lipschitz_claim_is_told_to_bound_the_jacobian():
    claim = for_all(x=Vector(2, -1, 1), y=Vector(2, -1, 1)).bound(
        lambda x, y: (x.softmax(-1) - y.softmax(-1)).norm(), at_most=lambda x, y: 0.6 * (x - y).norm()
    )
    result = certify(claim)
    assert result.status == "undecided" and "both sides vanish" in result.advice and "Jacobian" in result.advice


@pytest.mark.slow
def test_the_restated_lipschitz_claim_is_certified():
    """The Jacobian diag p - p p^T of two-way softmax, as a quadratic form over unit vectors."""

    def form(x, u):
        p = x.softmax(-1)
        return (p * u * u).sum() - (p * u).sum() ** 2

    claim = for_all(x=Vector(2, -4, 4), u=Sphere(2)).bound(form, at_most=0.6)
    result = certify(claim)
    assert result.status == "proved" and result.dimension == 3


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (for_all(x=Real()).bound(lambda x: torch.tanh(x), at_most=2), "x is unbounded; give low and high"),
        (for_all(x=Vector(4, -1, 1)).bound(lambda x: torch.digamma(x + 2).amax(), at_most=5), "digamma"),
        (for_all(x=Real(-1, 1)).bound(lambda x: x if x > 0 else -x, at_most=2), "branches"),
        (for_all(A=PositiveDefinite(3)).bound(lambda A: A.trace(), at_most=31), "up to 2x2"),
        (for_all(k=Integer(1, 10**6)).bound(lambda k: 1.0 * k, at_most=10**6), "narrow"),
        (for_all(x=Distribution(lambda g, n: g.random(n))).bound(lambda x: x, at_most=1), "give its support"),
    ],
    ids=["unbounded", "no exact form", "branch", "large matrix", "many integers", "law"],
)
def test_what_cannot_be_certified_comes_with_the_reason(claim, words):
    result = certify(claim)
    assert result.status == "undecided" and words in result.advice


@pytest.mark.slow
def test_the_time_limit_is_kept_and_named():
    claim = for_all(x=Vector(8, -5, 5)).bound(lambda x: (x.softmax(-1) ** 2).sum(), at_least=0.1249)
    result = certify(claim)
    assert result.status == "undecided" and "dimension 8" in result.advice


def test_the_opposite_is_proved_strictly():
    parabola = for_all(x=Real(-1, 1)).bound(lambda x: x * x + 0.001, at_most=0.0)
    assert certify(parabola, negated=True).status == "proved"
    touching = for_all(x=Real(-1, 1)).bound(lambda x: x * x, at_most=0.0)
    assert certify(touching, negated=True).status != "proved"


@pytest.mark.sampled(4)
@pytest.mark.parametrize("domain", [Simplex(4), Sphere(4), PositiveDefinite(2, 1, 3)], ids=str)
def test_every_point_of_a_cover_lies_in_the_domain_and_reaches_all_of_it(domain):
    claim = for_all(x=domain).bound(lambda x: x.sum(), at_most=100)
    generator, cover = np.random.default_rng(0), Cover()
    from attnlab.analysis.exact.tape import Tape

    cover.inputs(Tape(), "x", domain)
    targets = domain.draw(200, np.random.default_rng(1))
    nearest = np.full(200, np.inf)
    for _ in range(1500):
        middle = {
            key: float(low + (high - low) * Fraction(generator.random())) for key, (low, high) in cover.ends.items()
        }
        point = point_of(claim, middle, {})["x"]
        assert domain.contains(point)
        nearest = np.minimum(nearest, np.abs(targets - point).reshape(200, -1).max(axis=1))
    # three coordinates: 1500 points leave no gap near a target wider than half the domain's extent
    assert nearest.max() < 0.75 * np.ptp(targets)


def test_a_claim_about_whole_numbers_alone_that_is_not_decided_says_so():
    """k / 3 * 3 is k only as far as a float of a third is known."""
    undecided = certify(for_all(k=Integer(-5, 5)).identity(lambda k: k / 3 * 3, equals=lambda k: k * 1.0))
    assert undecided.status == "undecided" and "the two sides meet at k=" in undecided.advice
    assert certify(for_all(k=Integer(-5, 5)).identity(lambda k: k / 2 * 2, equals=lambda k: k * 1.0)).status == "proved"
    assert certify(for_all(k=Integer(-5, 5)).bound(lambda k: k / 3, at_most=1.6)).status == "refuted"


def test_some_entry_fails_at_every_point():
    """Of x and 1 - x one is below 0.6; neither is everywhere."""
    both = for_all(x=Real(0, 1)).bound(lambda x: torch.stack([x, 1 - x]), at_least=0.6)
    assert certify(both, negated=True).status == "proved"
    twin = for_all(x=Real(0, 1)).bound(lambda x: torch.stack([x, 1 - x]), at_least=0.5)
    assert certify(twin, negated=True).status != "proved"
