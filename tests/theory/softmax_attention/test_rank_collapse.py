"""Rank collapse: simulated layers stay below the bound, opposite tokens reach it, faster rates fail."""

import itertools

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.special import softmax

from attnlab.theory.softmax_attention import rank_collapse as theory

EPS = 2.0**-52


def layer(x, beta):
    return softmax(beta * x @ x.T, axis=1) @ x


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 3))
def test_a_layer_shrinks_the_diameter_at_least_to_its_bound(seed, beta):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(5, 3)) * generator.choice([0.1, 1.0])
    before = pdist(x).max()
    assert pdist(layer(x, beta)).max() <= theory.collapsed_diameter_bound(before, beta) + 64 * EPS * (1 + before)


@pytest.mark.parametrize("D", [0.3, 1.0, 3.0])
def test_two_opposite_tokens_reach_the_bound_at_every_depth(D):
    x = np.array([[-D / 2], [D / 2]])
    for n_layers in (1, 2, 3):
        x = layer(x, 1.0)
        exact = theory.diameter_after_layers_bound(D, n_layers)
        assert abs(x[1, 0] - x[0, 0]) == pytest.approx(exact, rel=1e-12)  # p - 1/2 loses digits as x shrinks
        assert exact > theory.diameter_after_layers_bound(D, n_layers, 1 / 1.05)  # the twin D^2 / 4.2 is false


def test_the_closed_form_bounds_the_iteration_and_is_doubly_exponential():
    for D in (0.1, 1.0, 1.9):
        for n_layers in (1, 2, 3):
            assert theory.diameter_after_layers_bound(D, n_layers) <= theory.doubly_exponential_bound(D, n_layers)
    assert theory.doubly_exponential_bound(1.0, 2) == pytest.approx(2 * 0.5**9, rel=1e-14)
    with mpmath.workdps(40):  # exponents triple with each layer
        size = mpmath.mpf(1) / 100
        logs = []
        for _ in range(4):
            size = mpmath.tanh(size**2 / 4) * size
            logs.append(mpmath.log(size / 2))
    ratios = [float(b / a) for a, b in itertools.pairwise(logs)]
    assert ratios == pytest.approx([3, 3, 3], abs=1e-4) and min(ratios) > 2.9 and max(ratios) < 3.2


def test_no_layer_and_no_spread_are_special_cases():
    assert theory.collapsed_diameter_bound(0.0) == 0
    assert theory.collapsed_diameter_bound(100.0) == 100.0  # far tokens attend to themselves
    with pytest.raises(ValueError, match="n_layers"):
        theory.diameter_after_layers_bound(1.0, 0)
    with pytest.raises(ValueError, match="diameter"):
        theory.doubly_exponential_bound(-1.0, 1)
