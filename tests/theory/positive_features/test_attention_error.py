"""Errors of whole outputs to first order: against linearised draws, brute-force sums and limits."""

import math

import numpy as np
import pytest

from attnlab.theory.positive_features import attention_error as theory

RNG = np.random.default_rng(3)
Q, K, V = 0.2 * RNG.standard_normal((2, 3)), 0.2 * RNG.standard_normal((4, 3)), RNG.standard_normal((4, 2))


def ratios(kind, n):
    """estimate / kernel by n single projections, (n, query, key)."""
    x, y = Q / 3**0.25, K / 3**0.25
    w = np.random.default_rng(4).standard_normal((n, 3))
    if kind == "positive":
        a = x[:, None] + y
        return np.exp(np.einsum("nd,ijd->nij", w, a) - (a**2).sum(-1) / 2)
    b = x[:, None] - y
    return np.exp((b**2).sum(-1) / 2) * np.cos(np.einsum("nd,ijd->nij", w, b))


@pytest.mark.parametrize("kind", theory.KINDS)
def test_covariances_and_first_order_errors_are_those_of_draws(kind):
    """200 000 projections: four standard errors of each entry. Twin: keys that err independently."""
    n = 200_000
    e = ratios(kind, n) - 1
    c = theory.pair_covariance_exact(Q, K, kind)
    for j in range(4):
        products = e[:, :, j][:, :, None, None] * e[:, None]  # (n, i, k, l)
        error = 4 * products.std(0) / math.sqrt(n)
        assert (np.abs(products.mean(0) - c[:, j]) < error + 1e-12).all()
    S = Q @ K.T / math.sqrt(3)
    p = np.exp(S) / np.exp(S).sum(1, keepdims=True)
    pull = p[..., None] * (V - (p @ V)[:, None])
    first = np.einsum("nij,ijc->nic", e, pull).reshape(n, -1)
    covariance = theory.output_covariance_approx(Q, K, V, kind, 7)
    spread = 4 * (first**2).sum(1).std() / math.sqrt(n)
    assert abs((first**2).sum(1).mean() - 7 * np.trace(covariance)) < spread
    assert abs(theory.output_error_of_independent_keys(Q, K, V, kind, 7) - np.trace(covariance)) > spread / 7
    sums = np.einsum("ij,nij->ni", p, e)
    assert theory.normaliser_variance(Q, K, kind, 1) == pytest.approx(sums.var(0), rel=0.05)


def test_the_chance_of_a_negative_row_sum_is_that_of_its_moments():
    """The third moment by draws; at large m the chance is the normal one."""
    x = 6 * Q, 6 * K
    many = theory.negative_row_sums_approx(*x, 10**6)
    assert many == pytest.approx(np.zeros(2), abs=1e-12)
    variance = theory.normaliser_variance(*x, "trigonometric", 30)
    normal = np.array([0.5 * math.erfc(1 / math.sqrt(2 * v)) for v in variance])
    assert theory.negative_row_sums_approx(*x, 30) == pytest.approx(normal, abs=0.02)
    single = theory.normaliser_variance(Q, K[:1], "trigonometric", 1)
    own = theory.pair_covariance_exact(Q, K[:1], "trigonometric")[[0, 1], 0, [0, 1], 0]
    assert single == pytest.approx(own)  # one key: its own variance


def test_one_key_has_no_error_and_kinds_are_named():
    assert theory.output_covariance_approx(Q, K[:1], V[:1], "positive", 3) == pytest.approx(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="unknown"):
        theory.pair_covariance_exact(Q, K, "hyperbolic")
