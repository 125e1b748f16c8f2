"""The nuclear-norm machine against an independent splitting method, special cases, and false certificates."""

import numpy as np
import pytest

from attnlab.theory.max_margin_attention import frobenius as svm
from attnlab.theory.max_margin_attention import nuclear

RNG = np.random.default_rng(8)


def instance(n, T, d):
    keys, queries = RNG.normal(size=(n, T, d)), RNG.normal(size=(n, d))
    keys /= np.linalg.norm(keys, axis=-1, keepdims=True)
    return keys, queries / np.linalg.norm(queries, axis=-1, keepdims=True), RNG.integers(T, size=n)


def splitting(keys, queries, selected, n_steps=4_000):
    """Alternating projections with soft-thresholded singular values: exact zeros, and nothing shared with the interior point."""
    A = svm.margin_matrices(keys, queries, selected)
    rows = A.reshape(-1, A[0, 0].size)
    rows = rows[np.linalg.norm(rows, axis=1) > 0]
    S = U = np.zeros(A.shape[2:])
    for _ in range(n_steps):
        V = S - U
        need = 1 - rows @ V.ravel()
        W = V + (svm.least_distance(rows, need)[0].reshape(V.shape) if need.max() > 0 else 0)
        left, values, right = np.linalg.svd(W + U)
        new = left * np.maximum(values - 1, 0) @ right
        U, S, moved = U + W - new, new, np.abs(new - S).max() + np.abs(W - new).max()
        if moved < 1e-9:
            break
    return S


def test_one_constraint_gives_a_rank_one_solution_in_closed_form():
    x, z = RNG.normal(size=(2, 4)), RNG.normal(size=3)
    A = np.outer(x[0] - x[1], z)
    found = nuclear.nuclear_svm([x], [z], [0])
    assert np.allclose(found.weights, A / (A**2).sum(), atol=1e-8) and found.residual < 1e-8
    assert nuclear.rank(found.weights) == 1 and nuclear.stable_rank(found.weights) == pytest.approx(1, abs=1e-6)


def test_a_prompt_vector_has_one_machine_for_both_norms():
    keys = RNG.normal(size=(3, 4, 6))
    one, other = (solve(keys, np.ones((3, 1)), [0, 1, 2]) for solve in (svm.frobenius_svm, nuclear.nuclear_svm))
    assert svm.angle(one.weights, other.weights) < 1e-6


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 4, 5), (6, 8, 10)])
def test_a_splitting_method_finds_the_same_weights_and_the_same_rank(shape):
    instance_ = instance(*shape)
    found, other = nuclear.nuclear_svm(*instance_), splitting(*instance_)
    assert found.residual < 1e-8
    assert np.linalg.norm(other, "nuc") == pytest.approx(found.norm, rel=1e-6)
    assert svm.angle(found.weights, other) < 1e-3
    assert nuclear.rank(found.weights) == np.linalg.matrix_rank(other, tol=1e-6)


def test_the_dual_matrix_has_operator_norm_one_and_the_singular_vectors_of_the_weights():
    instance_ = instance(4, 5, 6)
    found = nuclear.nuclear_svm(*instance_)
    left, values, right = np.linalg.svd(nuclear.dual_matrix(*instance_, found))
    assert values[0] == pytest.approx(1, abs=1e-12)
    r = nuclear.rank(found.weights)
    assert np.all(values[:r] > 1 - 1e-6)
    inside = left[:, :r] @ left[:, :r].T @ found.weights @ right[:r].T @ right[:r]
    assert np.allclose(inside, found.weights, atol=1e-5 * found.norm)


def test_the_frobenius_solution_is_longer_in_the_nuclear_norm_and_the_other_way_round():
    for _ in range(5):
        instance_ = instance(4, 5, 6)
        plain, low = svm.frobenius_svm(*instance_), nuclear.nuclear_svm(*instance_)
        assert np.linalg.norm(plain.weights, "nuc") >= low.norm * (1 - 1e-9)
        assert np.linalg.norm(low.weights) >= plain.norm * (1 - 1e-9)
        assert max(nuclear.rank(plain.weights), nuclear.rank(low.weights)) <= 4


def test_infeasible_selections_are_refused():
    with pytest.raises(svm.Infeasible):
        nuclear.nuclear_svm([[[1.0], [0.0], [-1.0]]], [[1.0]], [1])
