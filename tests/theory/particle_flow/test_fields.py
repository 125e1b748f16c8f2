"""The two fields of a layer, their derivatives, and the integrator, against brute force, finite differences and closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import expm

from attnlab.theory.particle_flow.fields import ACTIVATIONS, ParticleSystem, integrate

EPS = np.finfo(float).eps


def system(seed=0, n_heads=1, activation="tanh", dim=4, hidden=6, lead=()):
    rng = np.random.default_rng(seed)
    shapes = [(dim, dim)] * 4 + [(dim, hidden), (hidden,), (hidden, dim), (dim,)]
    return ParticleSystem(
        *(rng.normal(size=(*lead, *shape)) / 2 for shape in shapes), n_heads=n_heads, activation=activation
    )


def states(seed=1, n=5, dim=4, lead=()):
    return np.random.default_rng(seed).normal(size=(*lead, n, dim))


def brute_interaction(s, X):
    """Attention with loops over heads, queries and keys."""
    n, d = X.shape
    width, out = d // s.n_heads, np.zeros((n, d))
    for h in range(s.n_heads):
        part = slice(h * width, (h + 1) * width)
        Q, K, V = X @ s.W_Q[:, part], X @ s.W_K[:, part], X @ s.W_V[:, part]
        for i in range(n):
            weights = np.array([np.exp(Q[i] @ K[j] / np.sqrt(width)) for j in range(n)])
            out[i] += sum(w * V[j] for j, w in enumerate(weights / weights.sum())) @ s.W_O[part]
    return out


@pytest.mark.parametrize("n_heads", [1, 2, 4])
def test_interaction_is_softmax_attention_summed_over_heads(n_heads):
    s, X = system(n_heads=n_heads), states()
    assert np.allclose(s.interaction(X), brute_interaction(s, X), atol=200 * EPS)
    wrong = replace(s, n_heads=1 if n_heads > 1 else 2)
    assert not np.allclose(wrong.interaction(X), brute_interaction(s, X), atol=1e-3)


def test_without_scores_every_particle_gets_the_mean_value_and_one_particle_its_own():
    s, X = replace(system(), W_Q=np.zeros((4, 4))), states()
    assert np.allclose(s.interaction(X), X.mean(0) @ s.W_V @ s.W_O, atol=50 * EPS)
    assert np.allclose(system().interaction(X[:1]), X[:1] @ s.W_V @ s.W_O, atol=50 * EPS)


def test_convection_acts_on_each_particle_alone_and_interaction_does_not():
    s, X = system(), states()
    moved = X.copy()
    moved[0] += 1
    assert np.array_equal(s.convection(moved)[1:], s.convection(X)[1:])
    assert np.abs(s.interaction(moved)[1:] - s.interaction(X)[1:]).max() > 1e-3


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("n_heads", [1, 2])
def test_derivatives_are_those_of_central_differences(activation, n_heads):
    # the error of a central difference is h^2/6 times a third derivative (order 10 here) plus eps/h: 1e-9 at h = 1e-5
    s, X, Y, h = system(n_heads=n_heads, activation=activation), states(), states(2), 1e-5
    for field, derivative in ((s.interaction, s.interaction_derivative), (s.convection, s.convection_derivative)):
        difference = (field(X + h * Y) - field(X - h * Y)) / (2 * h)
        assert np.abs(derivative(X, Y) - difference).max() < 1e-8
        assert np.abs(derivative(X, 1.01 * Y) - difference).max() > 1e-4


def test_leading_axes_are_systems_and_states():
    s, X = system(lead=(3,), n_heads=2), states(lead=(3,))
    for r in range(3):
        one = ParticleSystem(
            *(getattr(s, name)[r] for name in ("W_Q", "W_K", "W_V", "W_O", "W_1", "b_1", "W_2", "b_2")), n_heads=2
        )
        assert np.allclose(s.field(X)[r], one.field(X[r]), atol=50 * EPS)


def test_the_integrator_is_of_order_four_on_a_linear_equation():
    A, x = np.random.default_rng(3).normal(size=(4, 4)), states(n=1)
    exact = x @ expm(A)
    errors = [np.abs(integrate(lambda X: X @ A, x, 1.0, n)[-1] - exact).max() for n in (32, 64, 128)]
    slopes = -np.diff(np.log2(errors))
    assert np.all(np.abs(slopes - 4) < 0.3)  # 4 plus O(1/n)
    assert integrate(lambda X: X @ A, x, 1.0, 5).shape == (6, 1, 4)


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="activation='sine'"):
        system(activation="sine")
    with pytest.raises(ValueError, match="n_heads=3 does not divide dim=4"):
        system(n_heads=3)
    with pytest.raises(ValueError, match="n_steps=0"):
        integrate(lambda X: X, states(), 1.0, 0)
