"""Counts and laws of memorisation: special cases, and brute force on small random layers."""

from fractions import Fraction

import numpy as np
import pytest

from attnlab.theory.memorization import ranks as theory


def features(rng, T, contexts, n_heads, head_dim, kind="softmax"):
    """Rows [z_1, ..., z_H] for Gaussian queries; contexts (T, n, d)."""
    d = contexts.shape[-1]
    e, blocks = rng.normal(size=(T, d)), []
    for _ in range(n_heads):
        M = rng.normal(size=(d, head_dim)) @ rng.normal(size=(head_dim, d)) / (d * head_dim) ** 0.5
        logits = 2 * np.einsum("tnd,de,te->tn", contexts, M, e)
        weights = {
            "softmax": lambda s: np.exp(s) / np.exp(s).sum(1, keepdims=True),
            "linear": lambda s: s,
            "normalised": lambda s: s / s.sum(1, keepdims=True),
        }[kind](logits)
        blocks.append(np.einsum("tn,tnd->td", weights, contexts))
    return np.concatenate(blocks, axis=1)


def rank(Z):
    return int(np.linalg.matrix_rank(Z, tol=1e-9 * np.linalg.norm(Z, 2)))


@pytest.mark.parametrize(
    ("n", "d", "H", "d_h", "T", "found"),
    [
        (4, 8, 3, 8, 40, 10),
        (4, 8, 3, 2, 40, 10),
        (8, 16, 4, 4, 80, 29),
        (4, 8, 3, 8, 9, 9),
        (1, 5, 3, 2, 9, 1),
        (6, 4, 2, 4, 30, 8),
    ],
)
def test_shared_rank_is_that_of_random_layers(n, d, H, d_h, T, found):
    rng = np.random.default_rng(0)
    E = np.broadcast_to(rng.normal(size=(n, d)), (T, n, d))
    assert rank(features(rng, T, E, H, d_h)) == theory.shared_context_rank(T, H, n, min(n, d)) == found


@pytest.mark.parametrize(("rho", "ones", "found"), [(3, False, 12), (3, True, 9), (5, False, 20), (5, True, 17)])
def test_a_deficient_context_counts_by_whether_it_holds_the_ones(rho, ones, found):
    rng, T, H = np.random.default_rng(1), 80, 4
    left = rng.normal(size=(8, rho))
    left[:, 0] = 1 if ones else left[:, 0]
    E = np.broadcast_to(left @ rng.normal(size=(rho, 16)) / rho**0.5, (T, 8, 16))
    assert rank(features(rng, T, E, H, 8)) == theory.shared_context_rank(T, H, 8, rho, ones) == found
    assert theory.shared_context_rank(T, H, 8, rho, not ones) != found  # twin


def test_distinct_contexts_fill_all_columns():
    rng = np.random.default_rng(2)
    for n, d, H, T in ((4, 6, 3, 30), (2, 6, 3, 30), (2, 6, 3, 11), (1, 6, 3, 30)):
        Z = features(rng, T, rng.normal(size=(T, n, d)), H, 3)
        assert rank(Z) == theory.distinct_contexts_rank(T, H, n, d)
    assert theory.distinct_contexts_rank(30, 3, 2, 6) > theory.shared_context_rank(30, 3, 2)


def test_without_softmax_heads_share_and_with_a_sum_they_add():
    rng, T, n, d, H = np.random.default_rng(3), 60, 4, 8, 3
    E = np.broadcast_to(rng.normal(size=(n, d)), (T, n, d))
    for d_h in (1, 2, 4):
        assert rank(features(rng, T, E, H, d_h, "linear")) == theory.linear_attention_rank(T, H, n, d_h, d)
        assert rank(features(rng, T, E, H, d_h, "normalised")) == theory.normalised_linear_rank(T, H, n, d_h)
    assert theory.linear_attention_rank(T, 50, n, 4, d) == d
    assert theory.normalised_linear_rank(T, H, n, 8) == theory.shared_context_rank(T, H, n)


def test_counts_meet_where_heads_are_wide():
    for n in (2, 5, 9):
        assert (
            theory.constructive_count(3, n, n)
            == theory.constructive_count(3, n, n + 4)
            == theory.shared_context_rank(10**6, 3, n)
        )
        assert theory.constructive_count(3, n, 1) == 1
        assert theory.sufficient_head_dim(n, 16) == n - 1
    assert theory.sufficient_head_dim(1, 4) == 1


def test_dimension_of_the_functions_without_heads_that_do_anything_and_between_its_bounds():
    assert theory.function_dimension(5, 3, 1, 2) == 1  # constants
    for d, H, n in ((4, 1, 2), (8, 3, 4), (8, 20, 8)):
        D = theory.function_dimension(d, H, n, n - 1)
        assert theory.shared_context_rank(10**6, H, n) <= D < theory.layer_parameters(d, H, max(n - 1, 1), 1)
    assert theory.function_dimension(3, 1, 2, 1) == 4 + 1 + 1  # a logit (d + 1, its bias one) and two values


def test_frozen_residual_is_the_mean_over_projections():
    rng, T, R = np.random.default_rng(4), 12, 5
    basis = np.linalg.qr(np.c_[np.ones(T), rng.normal(size=(T, R - 1))])[0]
    y = rng.uniform(size=(T, 40_000))
    errors = (y**2).sum(0) - ((basis.T @ y) ** 2).sum(0)
    standard_error = errors.std() / T / 200
    assert abs(errors.mean() / T - theory.frozen_residual(T, R)) < 4 * standard_error
    assert abs(errors.mean() / T - theory.frozen_residual(T, R - 1)) > 4 * standard_error  # twin
    assert theory.frozen_residual(R, R) == theory.frozen_residual(R - 1, R) == 0


def test_dichotomies_of_points_in_the_plane_are_counted_by_turning_a_line():
    rng = np.random.default_rng(5)
    for T in (1, 3, 6):
        points = rng.normal(size=(T, 2))
        angles = np.linspace(0, 2 * np.pi, 20_001)
        signs = points @ np.stack([np.cos(angles), np.sin(angles)]) > 0
        assert len(np.unique(signs, axis=1).T) == theory.separable_dichotomies(T, 2)
    assert theory.separable_dichotomies(5, 5) == theory.separable_dichotomies(5, 9) == 2**5
    assert theory.separable_probability(20, 10) == Fraction(1, 2)
    assert float(theory.separable_probability(16, 10)) == pytest.approx(0.849, abs=5e-4)


def test_equal_queries_leave_half_of_the_squared_difference():
    Z = np.array([[1.0, 2.0], [1.0, 2.0], [0.5, -1.0]])
    y = np.array([0.2, 0.9, 0.4])
    left = ((Z @ np.linalg.lstsq(Z, y, rcond=None)[0] - y) ** 2).sum()
    assert left == pytest.approx(theory.equal_queries_residual(0.2, 0.9), rel=1e-12)


def test_a_pair_is_seen_as_often_as_drawn():
    rng, T, s, k, trials = np.random.default_rng(6), 12, 4, 5, 20_000
    chosen = rng.random((trials, k, T)).argsort(-1)[..., :s]
    seen = ((chosen == 0).any(-1) & (chosen == 1).any(-1)).any(-1).mean()
    law = theory.pair_seen_probability(T, s, k)
    standard_error = (law * (1 - law) / trials) ** 0.5
    assert abs(seen - law) < 4 * standard_error < abs(seen - (1 - (1 - s / T) ** k))
    assert theory.pair_seen_probability(5, 5, 1) == 1


def test_parameters_are_the_published_numbers():
    assert theory.layer_parameters(64, 20, 64, 100) == 177_060 and theory.layer_parameters(64, 1, 64, 100) == 18_980
    assert theory.numbers_per_parameter(2, 1) == Fraction(1, 4) and theory.numbers_per_parameter(2, 64) == Fraction(
        65, 512
    )
    assert abs(theory.numbers_per_parameter(10**6, 7) - Fraction(1, 4)) < Fraction(1, 10**6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.shared_context_rank(0, 2, 2), "n_examples=0"),
        (lambda: theory.shared_context_rank(9, 2, 3, 4), "context_rank=4 exceeds n_context=3"),
        (lambda: theory.shared_context_rank(9, 2, 3, 3, False), "ones=False contradicts"),
        (lambda: theory.sufficient_head_dim(5, 4), "n_context=5 exceeds dim=4"),
        (lambda: theory.function_dimension(8, 2, 4, 2), "head_dim=2 is below n - 1 = 3"),
        (lambda: theory.pair_seen_probability(3, 4, 1), "subset=4 exceeds"),
        (lambda: theory.layer_parameters(8, 2, 2.5, 1), "head_dim=2.5"),
    ],
)
def test_bad_sizes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
