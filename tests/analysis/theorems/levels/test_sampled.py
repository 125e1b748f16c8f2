"""Claims about laws: points of a support are read as those of a domain, draws of an unknown law as computed numbers; means
of all entries."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
import torch

from attnlab.analysis.theorems.check import check
from attnlab.analysis.theorems.statement.claim import ClaimError, exists, for_all
from attnlab.analysis.theorems.statement.domains import Distribution, Real, Simplex, Sphere, Vector
from attnlab.analysis.verdicts.verdict import Twin


def dirichlet(generator, n):
    return generator.dirichlet(np.ones(3), n)


def directions(generator, n):
    z = generator.standard_normal((n, 3))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def at_the_end(generator, n):
    return np.full((n, 3), 0.1)


LAWS = {  # the law, a bound that is attained exactly, a twin that fails somewhere it draws
    "simplex": (Distribution(dirichlet, (3,), "Dirichlet", Simplex(3)), lambda x: x.sum(), 1, 0.999),
    "sphere": (Distribution(directions, (3,), "directions", Sphere(3)), lambda x: x @ x, 1, 0.999),
    "box": (Distribution(at_the_end, (3,), "an atom", Vector(3, 0, 0.1)), lambda x: x.sum(), 0.3, 0.2999),
    "no support": (Distribution(dirichlet, (3,), "Dirichlet"), lambda x: x.sum(), 1, 0.999),
    "no support, atom": (Distribution(at_the_end, (3,), "an atom"), lambda x: x.sum(), 0.3, 0.2999),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("level", ["sampled", "searched"])
def test_rounding_of_draws_refutes_no_bound_that_is_attained(name, level):
    law, side, bound, less = LAWS[name]
    assert check(for_all(x=law).bound(side, at_most=bound), level, budget=2000, confidence=0.99).outcome != "REFUTED"
    twin = for_all(x=law).bound(side, at_most=less)
    assert check(twin, level, budget=2000, confidence=0.99).outcome == "REFUTED"


@pytest.mark.parametrize("support", [Real(0, 1), Real(1)])
def test_a_law_that_leaves_its_support_is_named(support):
    law = Distribution(lambda g, n: g.uniform(0, 2, n), label="twice uniform", support=support)
    with pytest.raises(ValueError, match=r"'twice uniform' returned .*, outside its support"):
        check(for_all(x=law).bound(lambda x: x, at_most=3), "sampled", confidence=0.99)


def test_every_entry_of_a_mean_is_judged():
    """The first entry is 0, the second has mean 1/2."""
    box = for_all(x=Vector(2, 0, 1))
    side = lambda x: torch.stack([0 * x[0], x[1]])  # noqa: E731
    assert check(box.on_average(side, between=(0, 1), at_most=0.4), confidence=0.99).outcome == "REFUTED"
    assert check(box.on_average(side, between=(0, 1), at_most=0.6), confidence=0.99).outcome == "HOLDS"
    low = box.on_average(lambda x: torch.stack([x[0], 0 * x[1]]), between=(0, 1), at_least=0.4)
    assert check(low, confidence=0.99).outcome == "REFUTED"


def test_a_mean_is_not_certified_by_draws():
    claim = for_all(x=Real(0, 1)).on_average(lambda x: x, between=(0, 1), at_most=0.6)
    assert check(claim, "sampled", confidence=0.99).outcome == "HOLDS"
    for level in ("searched", "certified", "symbolic"):
        verdict = check(claim, level, confidence=0.99)
        assert verdict.outcome == "UNDECIDED" and repr(level) in verdict.reason
    false = for_all(x=Real(0, 1)).on_average(lambda x: x, between=(0, 1), at_most=0.4)
    assert check(false, "certified", confidence=0.99).outcome == "REFUTED"


def test_a_truth_value_counts_one_or_nothing():
    box = for_all(x=Real(0, 1))
    probability = box.on_average(lambda x: x > 0.5, between=(0, 1), at_most=0.55)
    assert check(probability, confidence=0.99).outcome == "HOLDS"
    twin = box.on_average(lambda x: x > 0.5, between=(0, 1), at_most=0.45)
    assert check(twin, confidence=0.99).outcome == "REFUTED"
    never = box.bound(lambda x: x > 2, at_most=-0.5)  # 0 <= -1/2 is false
    assert check(never, "searched", budget=2000).outcome == "REFUTED"
    assert check(box.bound(lambda x: x > 2, at_least=-0.5), "searched", budget=2000).outcome == "HOLDS"


def test_rounding_at_the_ends_of_a_bounded_value_is_no_error():
    claim = for_all(p=Simplex(3)).on_average(lambda p: p.sum(), between=(0, 1), at_least=0.9)
    assert check(claim, confidence=0.99).outcome == "HOLDS"


@pytest.mark.parametrize("right", [np.array([0.6, 0.4]), sympy.Symbol("x") + 1, lambda x: x])
def test_the_right_side_of_a_mean_is_one_number(right):
    with pytest.raises(ClaimError, match="one number"):
        for_all(x=Real(0, 1)).on_average(lambda x: x, between=(0, 1), at_most=right)
    twin = Twin.of("no number", at_most=right)
    claim = for_all(x=Real(0, 1)).on_average(lambda x: x, between=(0, 1), at_most=0.6, twin=twin)
    with pytest.raises(ClaimError, match="one number"):
        check(claim, confidence=0.99)


def test_an_example_is_found_for_a_side_without_an_exact_form():
    side = lambda x: torch.digamma(x)  # noqa: E731
    assert check(exists(x=Real(1, 3)).such_that(side, at_least=0.5), budget=2000).outcome == "HOLDS"
    beyond = check(exists(x=Real(1, 3)).such_that(side, at_least=1.5), budget=2000)  # digamma(3) = 0.92...
    assert beyond.outcome == "UNDECIDED"


def test_no_point_meets_two_conditions_that_exclude_each_other():
    both = lambda x: torch.stack([x, 1 - x])  # noqa: E731
    refuted = check(exists(x=Real(0, 1)).such_that(both, at_least=0.6), budget=4000)
    assert refuted.outcome == "REFUTED" and refuted.level == "certified"
    met = check(exists(x=Real(0, 1)).such_that(both, at_least=0.4), budget=4000)
    assert met.outcome == "HOLDS"
