"""The circuit's loss in closed form: special cases, Monte Carlo with explicit vectors, derivatives, saddle."""

import numpy as np
import pytest

from attnlab.theory.induction_heads import reduced_loss as theory

EPS64 = np.finfo(np.float64).eps
POINT = {"beta1": 1.3, "alpha": 2.1, "beta2": 0.4, "xi": 5.0}


def by_hand(beta1, alpha, beta2, xi, N, L):
    """The loss with loops over tokens, straight from the definition with unit vectors as contents."""
    T, units, losses = 2 * N + 1, np.eye(N + L), []
    for m in range(N):
        c = np.zeros((T, N + L))
        c[0 : 2 * N : 2], c[1 : 2 * N : 2], c[-1] = units[:N], units[N : 2 * N], units[m]
        b = np.zeros_like(c)
        for i in range(T):
            weights = np.array([np.exp(beta1 * (j == i - 1)) for j in range(i + 1)])
            b[i] = weights @ c[: i + 1] / weights.sum()
        weights = np.exp(alpha * b @ c[-1] + beta2 * (np.arange(T) % 2))
        logits = xi * (weights @ c / weights.sum())[N:]
        losses.append(np.log(np.exp(logits).sum()) - logits[m])
    return np.mean(losses)


@pytest.mark.parametrize(("N", "L"), [(2, 2), (3, 7), (8, 32)])
def test_loss_is_that_of_orthonormal_contents(N, L):
    exact = by_hand(**POINT, N=N, L=L)
    assert abs(theory.circuit_loss_limit(**POINT, n_context=N, n_labels=L) - exact) < 100 * EPS64 * (1 + exact)
    assert abs(theory.circuit_loss_limit(**POINT, n_context=N, n_labels=L + 1) - exact) > 1e-3  # the twin


def test_loss_in_high_dimension_agrees_with_monte_carlo():
    """Random contents of dimension 4 000: overlaps of size 0.016 shift the loss by about alpha times that, 0.03."""
    rng, N, L, D = np.random.default_rng(0), 4, 8, 4_000
    losses = []
    for _ in range(100):
        labels, items = rng.normal(size=(L, D)) / D**0.5, rng.normal(size=(N, D)) / D**0.5
        order, m = rng.permutation(L)[:N], rng.integers(N)
        c = np.concatenate([np.stack([items, labels[order]], 1).reshape(2 * N, D), items[m : m + 1]])
        q = np.exp(POINT["beta1"] * np.eye(2 * N + 1, k=-1)) * np.tri(2 * N + 1)
        scores = POINT["alpha"] * (q / q.sum(1, keepdims=True)) @ (c @ c[-1]) + POINT["beta2"] * (
            np.arange(2 * N + 1) % 2
        )
        weights = np.exp(scores - scores.max())
        logits = POINT["xi"] * labels @ (weights @ c / weights.sum())
        losses.append(np.log(np.exp(logits).sum()) - logits[order[m]])
    error = np.std(losses) / 10
    assert abs(np.mean(losses) - theory.circuit_loss_limit(**POINT, n_context=N, n_labels=L)) < 4 * error + 0.03
    assert (
        abs(np.mean(losses) - theory.circuit_loss_limit(**(POINT | {"xi": 6.0}), n_context=N, n_labels=L)) > 4 * error
    )


def test_measures_at_the_origin_are_those_of_uniform_attention():
    uniform, found = theory.uniform_measures(8, 32), theory.circuit_measures_limit(0, 0, 0, 0, 8, 32)
    for name in ("item_attention", "match_attention", "label_attention", "context_mass", "correct_mass"):
        assert abs(getattr(uniform, name) - getattr(found, name)) < 10 * EPS64, name
    assert round(float(uniform.item_attention), 4) == 0.1699  # the published baseline for N = 8
    assert round(float(uniform.match_attention), 4) == 0.0588


def test_a_perfect_head_attends_and_answers_perfectly():
    """But for the first token, which sees itself only: without beta2 a target of the first class halves its attention."""
    found = theory.circuit_measures_limit(60.0, 60.0, 0.0, 60.0, 4, 16)
    assert min(found.item_attention, found.correct_mass) > 1 - 1e-12
    assert abs(found.match_attention - (1 - 1 / 8)) < 1e-12
    assert theory.circuit_measures_limit(60.0, 60.0, 30.0, 60.0, 4, 16).match_attention > 1 - 1e-12
    assert theory.circuit_loss_limit(60.0, 60.0, 0.0, 60.0, 4, 16) < 1e-12
    assert abs(theory.circuit_loss_limit(0, 0, 0, 1e4, 4, 16) - np.log(4)) < 1e-12  # labels of the context, any of them


def test_complex_steps_are_the_derivatives():
    h = 1e-6
    for name, value in POINT.items():
        step = theory.circuit_loss_limit(**(POINT | {name: value + 1e-30j}), n_context=4, n_labels=16).imag / 1e-30
        up, down = (theory.circuit_loss_limit(**(POINT | {name: value + s}), n_context=4, n_labels=16) for s in (h, -h))
        assert abs(step - (up - down) / (2 * h)) < 1e-9, name  # h^2 and eps / h


@pytest.mark.parametrize(("N", "L"), [(2, 2), (8, 8), (8, 32)])
def test_nested_logit_gradient_is_the_derivative(N, L):
    z, h = np.array([0.7, 1.9, 4.0]), 1e-6
    found = theory.nested_logit_gradient(*z, N, L)
    for i in range(3):
        up, down = (theory.nested_logit_loss_approx(*(z + s * h * np.eye(3)[i]), N, L) for s in (1, -1))
        assert abs(found[i] - (up - down) / (2 * h)) < 1e-9


def test_nested_logits_are_exact_where_every_label_is_typical():
    """Without layer 1 (alpha = 0) places do not matter; with it they do."""
    for xi in (0.5, 8.0):
        exact = theory.circuit_loss_limit(0.9, 0, 0, xi, 8, 32)
        assert abs(theory.nested_logit_loss_approx(0.9, 0, xi, 8, 32) - exact) < 20 * EPS64 * exact
    assert (
        abs(theory.nested_logit_loss_approx(0.9, 3.0, 8.0, 8, 32) - theory.circuit_loss_limit(0.9, 3.0, 0, 8.0, 8, 32))
        > 1e-2
    )


@pytest.mark.parametrize(("N", "L"), [(2, 2), (4, 4), (8, 8), (8, 32), (3, 5)])
def test_saddle_rates_are_the_mixed_derivatives(N, L):
    h = 1e-4
    slopes = [
        [loss(a) for a in (h, -h)]
        for loss in (
            lambda a: theory.circuit_loss_limit(0, a, 0, 1e-30j, N, L).imag / 1e-30,
            lambda a: theory.nested_logit_gradient(0, a, 0, N, L)[2],
        )
    ]
    exact, nested = (abs(up - down) / (2 * h) for up, down in slopes)  # error h^2 times a third derivative
    assert abs(theory.circuit_saddle_rate_exact(N, L) / exact - 1) < 1e-6
    assert abs(theory.saddle_rate(N, L) / nested - 1) < 1e-6
    assert N == 2 or abs(nested / exact - 1) > 0.02  # the two are told apart


def test_saddle_rate_at_equal_numbers_is_the_printed_one():
    for N in (2, 5, 8):
        harmonic = sum(1 / m for m in range(1, N + 1))
        assert abs(theory.circuit_saddle_rate_exact(N, N) - (harmonic - 1) / (2 * N * (2 * N + 1))) < 10 * EPS64


@pytest.mark.parametrize(
    ("N", "L", "message"), [(0, 4, "n_context=0"), (4, 3, "n_labels=3 is below"), (2.5, 4, "n_context=2.5")]
)
def test_impossible_sizes_are_named(N, L, message):
    with pytest.raises(ValueError, match=message):
        theory.circuit_loss_limit(0, 0, 0, 0, N, L)
