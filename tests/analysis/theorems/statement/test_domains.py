"""Domains: their draws lie inside, their coordinates cover them, malformed ones say why."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlab.analysis.theorems.engines.coordinates import Latent
from attnlab.analysis.theorems.engines.starting_points import structured, varied
from attnlab.analysis.theorems.statement.claim import for_all
from attnlab.analysis.theorems.statement.domains import (
    Distribution,
    Integer,
    Matrix,
    Permutation,
    PositiveDefinite,
    Real,
    Simplex,
    Sphere,
    Vector,
    round_digits,
)

DOMAINS = [
    Real(-1, 2),
    Real(),
    Real(0),
    Vector(4, -3, 3),
    Matrix(2, 3, 0, 1),
    Sphere(5, 2.0),
    Simplex(4),
    PositiveDefinite(3, 0.5, 4),
    Integer(-3, 9),
    Permutation(5),
]


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_draws_and_starts_lie_in_the_domain(domain):
    generator = np.random.default_rng(0)
    claim = for_all(x=domain).bound(lambda x: 0.0, at_most=1)
    for values in (domain.draw(50, generator), varied(domain, 50, generator), structured(claim, 50, generator)["x"]):
        assert values.shape == (50, *domain.shape)
        assert all(domain.contains(v) for v in values)


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_a_value_outside_is_not_contained(domain):
    outside = domain.draw(1, np.random.default_rng(0))[0] * 0 + 1000
    if isinstance(domain, (Real, Vector)) and math.isinf(domain.high):
        outside = outside * math.nan
    assert not domain.contains(np.asarray(outside))


@pytest.mark.parametrize("domain", [d for d in DOMAINS if not d.whole], ids=str)
def test_any_free_coordinates_give_a_value_of_the_domain(domain):
    latent = Latent(for_all(x=domain).bound(lambda x: 0.0, at_most=1))
    z = torch.as_tensor(
        np.random.default_rng(1).uniform(np.maximum(latent.low, -2), np.minimum(latent.high, 2), (30, latent.size))
    )
    values = latent.unpack(z, {})["x"].numpy()
    assert all(domain.contains(v) for v in values)


@pytest.mark.parametrize("domain", [d for d in DOMAINS if not d.whole], ids=str)
def test_coordinates_of_a_value_give_the_value_back(domain):
    latent = Latent(for_all(x=domain).bound(lambda x: 0.0, at_most=1))
    values = domain.draw(20, np.random.default_rng(2))
    back = latent.unpack(torch.as_tensor(latent.pack({"x": values})), {})["x"].numpy()
    assert np.allclose(back, values, rtol=0, atol=1e-12 * (1 + np.abs(values).max()))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(DOMAINS), st.integers(0, 10**6))
def test_simpler_values_keep_the_shape(domain, seed):
    value = domain.draw(1, np.random.default_rng(seed))[0]
    for simple in domain.simpler(np.asarray(value)):
        assert np.shape(simple) == domain.shape


def test_uniform_draws_have_the_mean_of_the_box():
    values = Vector(3, -2, 4).draw(20_000, np.random.default_rng(0))
    sd = 6 / math.sqrt(12)
    assert np.all(np.abs(values.mean(axis=0) - 1) <= 5 * sd / math.sqrt(20_000))  # 5 sigma, three coordinates


def test_sphere_and_simplex_measures_have_their_known_moments():
    x = Sphere(4).draw(20_000, np.random.default_rng(0))
    p = Simplex(4).draw(20_000, np.random.default_rng(1))
    # E x_i^2 = 1/n with Var x_i^2 = 2(n-1)/(n^2 (n+2)); E p_i = 1/n with Var p_i = (n-1)/(n^2 (n+1))
    assert np.all(np.abs((x**2).mean(axis=0) - 0.25) <= 5 * math.sqrt(2 * 3 / (16 * 6) / 20_000))
    assert np.all(np.abs(p.mean(axis=0) - 0.25) <= 5 * math.sqrt(3 / (16 * 5) / 20_000))


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        (Real(1, -1), "empty domain: low=1"),
        (Real(math.nan, 1), "low=nan"),
        (Vector(0), "empty domain: n=0"),
        (Vector(2.5), "n=2.5"),
        (Sphere(3, 0.0), "radius=0.0"),
        (PositiveDefinite(2, -1, 1), "0 < low"),
        (Integer(3, 2), "empty domain"),
        (Integer(0.5, 2), "low=0.5"),
    ],
)
def test_a_malformed_domain_says_why(domain, words):
    assert words in domain.problem()


def test_a_law_that_returns_the_wrong_shape_is_an_error():
    law = Distribution(lambda generator, n: generator.normal(size=(n, 2)), value_shape=(3,))
    with pytest.raises(ValueError, match=r"expected \(4, 3\)"):
        law.draw(4, np.random.default_rng(0))


def test_round_digits_keeps_significant_digits():
    assert [round_digits(0.0012345, d) for d in (1, 2, 3)] == [0.001, 0.0012, 0.00123]
    assert round_digits(0.0, 2) == 0.0
