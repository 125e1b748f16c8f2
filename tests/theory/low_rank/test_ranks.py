"""Rank laws, the recall bound, counts, and bounded scores, against brute force and independent derivations."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ndtr

from attnlab.theory.costs import linear_and_pooling as low_rank_cost
from attnlab.theory.low_rank import pooling as low_rank_pooling
from attnlab.theory.low_rank import ranks as low_rank


def rank(matrix):
    return np.linalg.matrix_rank(matrix, rtol=1e-9)


def test_linear_attention_has_the_rank_of_its_features_and_normalisation_leaves_it():
    rng = np.random.default_rng(0)
    for n, k in ((6, 3), (4, 9), (7, 7)):
        A = rng.uniform(0.5, 2, (n, k)) @ rng.uniform(0.5, 2, (k, n))
        assert rank(A) == rank(A / A.sum(1, keepdims=True)) == low_rank.attention_matrix_rank(n, k, "linear")


def test_softmax_with_one_dimensional_keys_has_full_rank():
    q = np.arange(4.0)
    exact = np.array([[Fraction(2) ** int(a * b) for b in q] for a in q], dtype=object)

    def determinant(M):
        return (
            M[0, 0]
            if len(M) == 1
            else sum((-1) ** j * M[0, j] * determinant(np.delete(M[1:], j, 1)) for j in range(len(M)))
        )

    assert determinant(exact) > 0 and low_rank.attention_matrix_rank(4, 1, "softmax") == 4


def test_face_splitting_factors_a_hadamard_product():
    rng = np.random.default_rng(1)
    U, W, V, Z = (rng.integers(-5, 6, shape) for shape in ((7, 2), (7, 3), (6, 2), (6, 3)))
    product = low_rank.face_splitting(U, W) @ low_rank.face_splitting(V, Z).T
    assert np.array_equal(product, (U @ V.T) * (W @ Z.T))
    assert rank(product) == low_rank.hadamard_rank(2, 3, 7, 6) == 6
    assert rank((U @ V.T) ** 2) == low_rank.hadamard_square_rank(2, 7, 6) == 3


def test_recall_bound_is_the_error_of_the_best_linear_map_of_given_rank():
    # oracle: the best rank-r estimate of n standard normals keeps r of them
    n, m, d = 6, 4, 3
    assert low_rank.recall_error_bound(n, d, m) == pytest.approx(1 - d * m / (n * m))
    assert low_rank.recall_error_bound(3, 8, 8) == 0
    rng, errors = np.random.default_rng(2), []
    M, V = rng.uniform(0.1, 1, (n, d)), rng.normal(size=(4_000, n, m))
    P = M @ np.linalg.pinv(M)  # the best read-out of these features
    errors = ((P @ V - V) ** 2).sum((1, 2)) / (n * m)
    standard_error = errors.std() / len(errors) ** 0.5
    assert abs(errors.mean() - low_rank.recall_error_bound(n, d, m)) < 4 * standard_error
    assert abs(errors.mean() - low_rank.recall_error_bound(n, d + 1, m)) > 4 * standard_error  # twin


def test_crossover_is_where_the_counts_meet():
    for k, v in ((8, 8), (4, 12), (16, 3)):
        N = low_rank_cost.crossover_length(k, v)
        assert N * (2 * k * v + k) == N**2 * (k + v)
        below, above = int(N), int(N) + 1
        assert low_rank_cost.linear_attention_macs(above, k, v) < low_rank_cost.softmax_attention_macs(above, k, v)
        assert low_rank_cost.linear_attention_macs(below, k, v) >= low_rank_cost.softmax_attention_macs(below, k, v)
    assert low_rank_cost.crossover_length(8, 8) == Fraction(17, 2)


def test_the_augmented_crossover_is_where_the_counts_meet_with_gate_and_global_query():
    for k, v, m in ((8, 8, 8), (16, 32, 32), (4, 12, 7)):
        N = low_rank_cost.augmented_crossover_length(k, v, m)
        assert N * (2 * k * v + k + k + m * v) == N**2 * (k + v)
        assert N > low_rank_cost.crossover_length(k, v)
    assert low_rank_cost.augmented_crossover_length(32, 32, 32) == 49
    assert low_rank_cost.augmentation_macs(5, 2, 3, 7) == 5 * 2 + 5 * 7 * 3


def test_the_module_costs_its_maps_and_its_heads():
    N, C, d = 9, 64, 16
    head = low_rank_cost.linear_attention_macs(N, d, d) + N * d  # and the scores of the global query
    assert low_rank_cost.augmented_module_macs(N, C, d) == N * (5 * C * C + 25 * C) + 4 * head
    assert low_rank_cost.augmented_module_macs(N, C, C) == N * (5 * C * C + 25 * C) + 2 * N * C * C + 2 * N * C


def test_published_examples_of_savings():
    assert low_rank_cost.pooling_parameters("compact", 512, 8) == 8_192
    assert low_rank_cost.pooling_macs("compact", 100, 512, 8) + 100 * 512 - 512 * 8 + 512 * 8 == 823_296 + 51_200
    assert low_rank_cost.pooling_macs("transformer", 100, 512, 8) == 115_097_600
    assert low_rank_cost.pooling_parameters("transformer", 512, 8) == 1_050_624
    assert low_rank_cost.pooling_parameters("shared", 10, 3, rank=2) == 46


def test_largest_weight_is_reached_and_not_passed():
    for T in (1, 2, 50):
        scores = -np.ones(T)
        scores[0] = 1
        weights = np.exp(scores) / np.exp(scores).sum()
        assert weights[0] == pytest.approx(float(low_rank_pooling.largest_weight_bound(T)), rel=1e-14)
    rng = np.random.default_rng(3)
    scores = rng.uniform(-1, 1, (10_000, 5))
    assert (np.exp(scores) / np.exp(scores).sum(1, keepdims=True)).max() < low_rank_pooling.largest_weight_bound(5)
    assert low_rank_pooling.weight_ratio_bound() == pytest.approx(np.exp(2))


def test_selection_bound_is_the_accuracy_of_the_extremal_weights():
    for T in (2, 10, 200):
        a = float(low_rank_pooling.largest_weight_bound(T))
        others = np.full(T - 1, (1 - a) / (T - 1))
        assert ndtr(a / np.linalg.norm(others)) == pytest.approx(
            float(low_rank_pooling.selection_accuracy_bound(T)), rel=1e-12
        )
    rng, T = np.random.default_rng(4), 20
    values = rng.normal(size=(40_000, T))
    values[:, 0] = 1
    correct = (values @ np.r_[np.e, np.full(T - 1, 1 / np.e)] > 0).mean()
    bound = float(low_rank_pooling.selection_accuracy_bound(T))
    assert abs(correct - bound) < 4 * np.sqrt(bound * (1 - bound) / 40_000)
    assert abs(correct - ndtr(np.e / np.sqrt(T - 1))) > 4 * np.sqrt(bound * (1 - bound) / 40_000)  # twin: one sign


def test_two_heads_select_exactly_and_one_does_not():
    for T in (2, 7, 1000):
        scores, readout = low_rank_pooling.two_head_selection(T)
        assert np.array_equal((scores**2).sum(0), np.ones(T))
        weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        combined = readout @ weights
        assert combined[0] == pytest.approx(1, rel=1e-12)
        assert np.abs(combined[1:]).max() < 8 * T * np.finfo(float).eps
        assert weights[0, 1] > 1e-4  # one head is flat


def test_rank_error_closed_form_equals_the_integrals():
    for x in (0.3, 1.0, 1.7):
        ratio = quad(lambda s: np.sqrt(4 - s * s) / np.pi, x, 2)[0]
        error = quad(lambda s: s * s * np.sqrt(4 - s * s) / np.pi, 0, x)[0]
        assert float(low_rank_pooling.gaussian_rank_error_limit(ratio)) == pytest.approx(error, abs=1e-9)
    assert low_rank_pooling.gaussian_rank_error_limit([0, 1]).tolist() == pytest.approx([1, 0], abs=1e-15)
    assert float(low_rank_pooling.gaussian_rank_error_limit(1e-4)) == pytest.approx(1 - 4e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: low_rank.attention_matrix_rank(4, 2, "hard"), "kind='hard' is unknown"),
        (lambda: low_rank.buffer_rank(0, 2, 2), "n_tokens=0"),
        (lambda: low_rank.multi_head_rank(4, []), "head_ranks"),
        (lambda: low_rank.face_splitting(np.ones((2, 2)), np.ones((3, 2))), "equally many rows"),
        (lambda: low_rank_cost.pooling_macs("compcat", 4, 2, 2), "'compcat' is unknown"),
        (lambda: low_rank_pooling.largest_weight_bound(0), "n_tokens=0"),
        (lambda: low_rank_pooling.gaussian_rank_error_limit(1.5), "ratio must lie"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
