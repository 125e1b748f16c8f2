"""Bounds on the output of a head: random heads respect them, extremal heads reach them, rivals fail."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.special import softmax

from attnlab.theory.softmax_attention import output_bounds as theory

EPS = 2.0**-52
SEEDS = st.integers(0, 2**32 - 1)


def head(seed, n=6, d=3):
    """Logits and values of a random head."""
    generator = np.random.default_rng(seed)
    return generator.normal(size=n) * generator.choice([0.3, 2.0]), generator.normal(size=(n, d)), generator


@given(SEEDS)
def test_dropping_keys_moves_the_output_by_at_most_the_dropped_mass_bound(seed):
    x, v, generator = head(seed)
    kept = generator.integers(1, 6)
    p, largest = softmax(x), np.linalg.norm(v, axis=1).max()
    renormalised = np.linalg.norm(p @ v - softmax(x[:kept]) @ v[:kept])
    truncated = np.linalg.norm(p @ v - p[:kept] @ v[:kept])
    gamma = p[:kept].sum()
    assert renormalised <= theory.dropped_mass_bound(gamma, largest) + 64 * EPS * largest
    assert truncated <= theory.truncation_bound(gamma, largest) + 64 * EPS * largest


def test_dropped_mass_bound_is_reached_by_opposite_values_and_half_of_it_is_false():
    p, v = np.array([0.7, 0.3]), np.array([[1.0, 0.0], [-1.0, 0.0]])
    change = np.linalg.norm(p @ v - v[0])
    assert change == pytest.approx(theory.dropped_mass_bound(0.7, 1.0), rel=1e-14)
    assert change > theory.truncation_bound(0.7, 1.0)
    assert theory.dropped_mass_bound(1.0, 5.0) == 0


@given(SEEDS)
def test_output_moves_by_at_most_the_bound_on_its_logits(seed):
    x, v, generator = head(seed)
    y = generator.normal(size=6)
    moved = np.linalg.norm(softmax(x) @ v - softmax(y) @ v)
    assert moved <= theory.output_change_bound(np.ptp(x - y), pdist(v).max()) + 256 * EPS


def test_output_change_bound_is_reached_and_a_smaller_one_false():
    s = 1.6
    moved = abs((softmax([s / 4, -s / 4]) - softmax([-s / 4, s / 4])) @ np.array([0.0, 3.0]))
    assert moved == pytest.approx(theory.output_change_bound(s, 3.0), rel=1e-14)
    assert moved > 3 * np.tanh(s / 4.4)


@given(SEEDS)
def test_query_gradient_is_bounded_and_equals_a_difference_quotient(seed):
    generator = np.random.default_rng(seed)
    k, v, q, beta = generator.normal(size=(5, 2)), generator.normal(size=(5, 3)), generator.normal(size=2), 1.3
    p = softmax(beta * k @ q)
    gradient = beta * ((p[:, None] * v).T @ k - np.outer(p @ v, p @ k))  # (value, key)
    h = 1e-5  # central difference: error h^2 times a third derivative, about 10
    steps = [(softmax(beta * k @ (q + h * e)) @ v - softmax(beta * k @ (q - h * e)) @ v) / (2 * h) for e in np.eye(2)]
    assert np.allclose(np.array(steps).T, gradient, rtol=0, atol=1e-6)
    bound = theory.query_gradient_bound(beta, pdist(k).max(), pdist(v).max())
    assert np.linalg.norm(gradient, 2) <= bound + 256 * EPS


def test_query_gradient_bound_is_reached_by_two_keys_of_equal_weight():
    k, v = np.array([1.0, -1.0]), np.array([2.0, 0.0])
    covariance = (k * v).mean() - k.mean() * v.mean()
    assert covariance == theory.query_gradient_bound(1.0, 2.0, 2.0) and covariance > 0.95


@given(SEEDS)
def test_loss_gradient_is_bounded_by_the_wrong_mass(seed):
    x, _, _ = head(seed)
    p = softmax(x)
    gradient = p - np.eye(6)[0]
    even = np.sqrt(6 / 5) * p[1:].sum()
    assert even - 16 * EPS <= np.linalg.norm(gradient) <= theory.loss_gradient_bound(p[0]) + 16 * EPS


def test_loss_gradient_bound_is_reached_by_two_classes():
    p = softmax([0.3, 1.0])
    assert np.linalg.norm(p - [1, 0]) == pytest.approx(theory.loss_gradient_bound(p[0]), rel=1e-15)


@pytest.mark.parametrize("R", [1, 3, 30, 1000])
def test_self_attention_grows_at_least_like_the_square_of_the_radius(R):
    """Oracle: the three outputs in 40 digits."""

    def outputs(x):
        rows = []
        for a in x:
            weights = [mpmath.exp(a * b - max(a * c for c in x)) for b in x]
            rows.append(mpmath.fsum(w * b for w, b in zip(weights, x, strict=True)) / mpmath.fsum(weights))
        return rows

    with mpmath.workdps(40):
        R = mpmath.mpf(R)
        here, there = outputs([mpmath.mpf(0), R, -R]), outputs([1 / R, R, -R])
        ratio = float(mpmath.sqrt(sum((a - b) ** 2 for a, b in zip(here, there, strict=True))) * R)
    assert theory.self_attention_growth(float(R)) <= ratio < float(R) ** 2  # the twin R^2 is false
    if R > 20:
        assert ratio / float(R) ** 2 == pytest.approx(2 * np.sinh(1) / (1 + 2 * np.cosh(1)), rel=3 / float(R) ** 2)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="kept_mass"):
        theory.dropped_mass_bound(1.2, 1.0)
    with pytest.raises(ValueError, match="inverse_temperature"):
        theory.query_gradient_bound(0.0, 1.0, 1.0)
