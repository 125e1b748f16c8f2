"""Coefficients, gauges, states and gates against products by hand, limits, quadrature and false twins."""

import math

import numpy as np
import pytest
from scipy import integrate, special, stats

from attnlab.theory.recurrent_forms import gates, state, transfer
from attnlab.theory.recurrent_forms.transfer import Coefficients

RNG = np.random.default_rng(8)
Q, K = RNG.uniform(0.1, 2.0, (2, 7, 3))


def by_hand(c):
    """Products of decays, one entry at a time."""
    phi = np.zeros((len(c.gain), len(c.gain)))
    for i in range(len(phi)):
        for j in range(i + 1):
            phi[i, j] = np.sum(c.read[i] * np.prod(c.decay[j + 1 : i + 1], axis=0) * c.gain[j])
    return phi


def test_the_unrolled_map_is_the_product_of_decays():
    c = Coefficients(RNG.uniform(0.2, 1.5, (7, 3)), RNG.standard_normal((7, 3)), RNG.standard_normal((7, 3)))
    assert transfer.transfer_matrix(c) == pytest.approx(by_hand(c), rel=1e-12, abs=1e-12)
    assert transfer.transfer_matrix(c._replace(decay=c.decay**1.02)) != pytest.approx(by_hand(c), rel=1e-4)


def test_linear_attention_has_rows_that_sum_to_one_and_a_constant_normaliser_leaves_plain_products():
    phi = transfer.transfer_matrix(transfer.linear_attention(Q, K))
    assert phi.sum(1) == pytest.approx(1) and phi[3, 1] == pytest.approx(Q[3] @ K[1] / (Q[3] @ K[:4].sum(0)))
    plain = transfer.transfer_matrix(transfer.normalised_attention(Q, K, np.zeros(7)))
    assert plain == pytest.approx(np.tril(Q @ K.T))


def test_selective_models_mask_by_sums_of_steps_and_with_one_rate_are_one_decay():
    steps, rates = RNG.uniform(0.1, 1.0, 7), np.array([0.3, 0.7, 1.1])
    phi = transfer.transfer_matrix(transfer.selective(steps, rates, K, Q))
    assert phi[5, 2] == pytest.approx(np.sum(Q[5] * K[2] * steps[2] * np.exp(-rates * steps[3:6].sum())))
    one = transfer.selective(steps, 0.5, K, Q)
    assert np.all(one.decay == one.decay[:, :1])
    gated = transfer.gated_recurrence(np.full(4, 800.0), np.zeros(4), np.zeros(4))
    assert transfer.transfer_matrix(gated) == pytest.approx(np.tril(np.full((4, 4), 0.25)))


def test_the_coupled_model_is_linear_attention_and_needs_an_increasing_normaliser():
    q = np.repeat(Q[:1], 7, 0)
    eta = np.cumsum(K, 0) @ q[0]
    coupled = transfer.coupled_selective(eta, q, K, 0.4)
    assert transfer.transfer_matrix(coupled) == pytest.approx(transfer.transfer_matrix(transfer.linear_attention(q, K)))
    assert np.all(coupled.decay[1:] < 1)
    with pytest.raises(ValueError, match=r"normaliser must increase, but falls .* at position 2"):
        transfer.coupled_selective(np.array([1.0, 2.0, 1.5]), q[:3], K[:3], 0.4)


def test_a_gauge_changes_coefficients_and_not_the_map():
    c = transfer.linear_attention(Q, K)
    other = transfer.regauged(c, np.exp(RNG.standard_normal(7)))
    assert transfer.transfer_matrix(other) == pytest.approx(transfer.transfer_matrix(c))
    assert other.decay[1:] != pytest.approx(c.decay[1:], rel=1e-2)


@pytest.mark.parametrize(("n", "d"), [(3, 4), (4, 4), (6, 4)])
def test_states_of_tokens_that_are_key_and_value_at_once_are_images_of_symmetric_matrices(n, d):
    W, V = RNG.standard_normal((d, n)), RNG.standard_normal((d, d))
    images = [(W.T @ (np.outer(a, b) + np.outer(b, a)) @ V).ravel() for a in np.eye(d) for b in np.eye(d)]
    rank = np.linalg.matrix_rank(np.array(images))
    assert state.state_numbers("ssd", n, d, 100) == rank == state.state_numbers("normalised", n, d, 100)
    assert state.state_numbers("s6", n, d, 100) == n * d > rank


def test_states_are_never_larger_than_the_past():
    assert [state.state_numbers("linear", 3, 4, past) for past in (1, 3, 4, 9)] == [4, 12, 15, 15]
    assert state.state_numbers("softmax", 1, 4, 1000) == 4000
    assert state.block_rank(3, 8, 2) == 2 and state.block_rank(3, 8, 5) == 3


def test_truncated_exponentials():
    s = np.linspace(-6, 6, 41)
    for order in (0, 1, 2, 5, 8):
        by_terms = sum(s**k / math.factorial(k) for k in range(order + 1))
        assert state.truncated_exponential(s, order) == pytest.approx(by_terms, rel=1e-9, abs=1e-9)
        error = np.abs(np.exp(s) - by_terms)
        assert np.all(error <= state.truncation_error_bound(s, order) * (1 + 1e-9) + 1e-12)
        assert np.any(error > state.truncation_error_bound(s, order) / (order + 2))
    assert state.truncated_exponential(0.3, 60) == pytest.approx(math.exp(0.3))
    for order in (1, 3, 5, 7):
        zero = state.least_positive_score(order)
        assert state.truncated_exponential(zero, order) == pytest.approx(0, abs=1e-12)
        assert np.all(state.truncated_exponential(np.linspace(-60, 60, 999), order + 1) > 0)
    assert state.least_positive_score(1) == pytest.approx(-1) and state.least_positive_score(4) == -math.inf
    assert [state.n_exponential_features(4, p) for p in (0, 1, 2, 3)] == [1, 5, 15, 35]


def test_gates():
    assert gates.reversed_gate(1.3, 1.0) == pytest.approx(special.expit(-1.3))
    assert gates.reversed_gate(1.3, 0.2) == pytest.approx(special.expit(-1.3) ** 0.2)
    assert gates.retention_exact(5, 1.0) == pytest.approx(0.5**5)  # E sigma(z) = 1/2 by symmetry
    by_quad = integrate.quad(lambda z: stats.norm.pdf(z) * special.expit(1.7 * z) ** 0.4, -12, 12)[0]
    assert gates.retention_exact(3, 1.7, 0.4) == pytest.approx(by_quad**3)
    assert gates.retention_second_moment(3, 1.7, 0.2) == pytest.approx(by_quad**3)


def test_the_density_behind_falling_normalisers_by_another_way():
    a, b = 1000, 4000
    drift = math.log(b / a) / (b - a)
    # one feature: w = ln phi(q) is q below 0 and ln(1 + q) above, and f_0 is the integral of its squared density
    below = integrate.quad(lambda w: stats.norm.pdf(w) ** 2, -12, 0)[0]
    above = integrate.quad(lambda w: (stats.norm.pdf(math.expm1(w)) * math.exp(w)) ** 2, 0, 3)[0]
    law = gates.share_of_decays_above_one_approx(1, a, b)
    assert (0.5 - law) / drift == pytest.approx(below + above, rel=2e-3)
    steps = np.mean([1 / 20.5, 1 / 21.5])  # from position 20 to 21, and from 21 to 22
    assert 0.5 - gates.share_of_decays_above_one_approx(1, 20, 22) == pytest.approx((below + above) * steps, rel=3e-3)
    # many features: a sum is nearly normal, its logarithm has the relative spread, and f_0 = 1 / (2 sqrt(pi) spread)
    n = 64
    mean = 0.5 + stats.norm.pdf(0) + integrate.quad(lambda q: stats.norm.pdf(q) * math.exp(q), -12, 0)[0]
    square = integrate.quad(lambda q: stats.norm.pdf(q) * (1 + q) ** 2, 0, 12)[0]
    square += integrate.quad(lambda q: stats.norm.pdf(q) * math.exp(2 * q), -12, 0)[0]
    spread = math.sqrt((square - mean**2) / n) / mean
    f0 = (0.5 - gates.share_of_decays_above_one_approx(n, a, b)) / drift
    assert f0 == pytest.approx(1 / (2 * math.sqrt(math.pi) * spread), rel=1 / n)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: state.state_numbers("mamba", 2, 2, 2), "model='mamba' is unknown"),
        (lambda: transfer.regauged(transfer.linear_attention(Q, K), -np.ones(7)), r"(?s)gauge=.* must be positive"),
        (lambda: transfer.linear_attention(-Q, K), r"(?s)normaliser=.* must be positive"),
        (lambda: transfer.selective(-np.ones(7), 1.0, K, Q), r"(?s)steps=.* must be positive"),
        (lambda: gates.share_of_decays_above_one_approx(1, 5, 5), "last=5 must be above"),
        (lambda: state.truncation_error_bound(1.0, -1), "order=-1"),
    ],
)
def test_errors_name_the_argument(call, words):
    with pytest.raises(ValueError, match=words):
        call()
