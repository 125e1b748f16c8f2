"""The support vector machines of attention against brute force, another algorithm and finite differences."""

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize

from attnlab.theory.max_margin_attention import frobenius as svm

RNG = np.random.default_rng(7)


def instance(n, T, d, rng=RNG):
    keys, queries = rng.normal(size=(n, T, d)), rng.normal(size=(n, d))
    keys /= np.linalg.norm(keys, axis=-1, keepdims=True)
    return keys, queries / np.linalg.norm(queries, axis=-1, keepdims=True), rng.integers(T, size=n)


def test_one_input_of_two_tokens_has_the_closed_form_gap_over_its_square():
    x, z = RNG.normal(size=(2, 4)), RNG.normal(size=3)
    A = np.outer(x[0] - x[1], z)
    found = svm.frobenius_svm([x], [z], [0])
    assert np.allclose(found.weights, A / (A**2).sum(), rtol=1e-12)
    assert found.norm == pytest.approx(1 / np.linalg.norm(A)) and found.residual < 1e-14


def test_the_prompt_example_has_the_direction_of_the_best_token():
    found = svm.frobenius_svm([[[-0.1, 1.0], [1.0, 0.0], [0.0, 0.0]]], [[1.0]], [0])
    assert np.allclose(found.weights.ravel(), np.array([-0.1, 1.0]) / 1.01, atol=1e-14)


@pytest.mark.parametrize("shape", [(2, 3, 3), (3, 4, 5), (6, 8, 10)])
def test_solutions_carry_a_certificate_and_a_general_solver_agrees(shape):
    keys, queries, selected = instance(*shape)
    found = svm.frobenius_svm(keys, queries, selected)
    assert found.residual < 1e-12  # roundings of a well-conditioned active set
    A = svm.margin_matrices(keys, queries, selected)
    assert np.allclose(np.tensordot(found.multipliers, A, 2), found.weights, atol=1e-12)
    rows = np.delete(A.reshape(-1, A[0, 0].size), np.arange(shape[0]) * shape[1] + selected, axis=0)
    dual = minimize(
        lambda u: (0.5 * (u @ rows) @ (u @ rows) - u.sum(), rows @ (u @ rows) - 1),
        np.ones(len(rows)),
        jac=True,
        bounds=[(0, None)] * len(rows),
        method="L-BFGS-B",
        options={"maxiter": 20_000, "ftol": 1e-15, "gtol": 1e-9},
    )
    assert -2 * dual.fun == pytest.approx(found.norm**2, rel=1e-6)  # strong duality, by another algorithm


def test_a_wrong_certificate_is_seen():
    keys, queries, selected = instance(3, 4, 5)
    found = svm.frobenius_svm(keys, queries, selected)
    A = svm.margin_matrices(keys, queries, selected).reshape(-1, 25)
    used = np.linalg.norm(A, axis=1) > 0
    right = found.multipliers.ravel()[used]
    assert svm.kkt_residual(A[used], np.ones(used.sum()), found.weights.ravel(), right) < 1e-12
    for wrong in (1.01 * right, right[::-1]):
        assert svm.kkt_residual(A[used], np.ones(used.sum()), found.weights.ravel(), wrong) > 1e-3
    assert svm.kkt_residual(A[used], np.ones(used.sum()), 0.99 * found.weights.ravel(), right) > 1e-3


def test_infeasible_selections_come_with_a_combination_of_constraints_that_vanishes():
    keys, queries = np.array([[[1.0], [0.0], [-1.0]]]), np.array([[1.0]])
    assert (
        svm.feasible(keys, queries, [0]) and svm.feasible(keys, queries, [2]) and not svm.feasible(keys, queries, [1])
    )
    with pytest.raises(svm.Infeasible, match="select other tokens") as error:
        svm.frobenius_svm(keys, queries, [1])
    u = error.value.multipliers
    assert u.min() >= 0 and u.sum() == pytest.approx(1) and abs(u @ [-1.0, 1.0]) < 1e-12


def test_feasibility_agrees_with_brute_force_over_directions_of_the_plane():
    angles = np.linspace(0, 2 * np.pi, 20_001)
    directions = np.stack([np.cos(angles), np.sin(angles)])
    for _ in range(20):
        keys = RNG.normal(size=(2, 4, 2))
        for chosen in itertools.product(range(4), repeat=2):
            gaps = (keys[np.arange(2), list(chosen)][:, None] - keys).reshape(-1, 2)
            best = np.where(np.linalg.norm(gaps, axis=1)[:, None] > 0, gaps @ directions, np.inf).min(0).max()
            if abs(best) > 1e-3:  # the grid resolves margins above its spacing of 3e-4
                assert svm.feasible(keys, np.ones((2, 1)), np.array(chosen)) == (best > 0)


def test_global_optimality_implies_local_optimality_and_a_better_neighbour_breaks_it():
    for _ in range(20):
        keys, queries, _ = instance(3, 4, 5)
        scores = RNG.normal(size=(3, 4))
        best = scores.argmax(1)
        if not svm.feasible(keys, queries, best):
            continue
        assert svm.locally_optimal(keys, queries, scores, best)
        near = svm.active_tokens(keys, queries, best, svm.frobenius_svm(keys, queries, best).weights)
        i, t = np.argwhere(near)[0]
        scores[i, t] = scores[i].max() + 1
        assert not svm.locally_optimal(keys, queries, scores, best)


def test_with_one_kept_token_the_generalised_machine_is_the_ordinary_one():
    keys, queries, selected = instance(3, 4, 5)
    kept = np.eye(4, dtype=bool)[selected]
    assert np.allclose(
        svm.several_token_svm(keys, queries, kept), svm.frobenius_svm(keys, queries, selected).weights, atol=1e-10
    )
    assert not svm.log_ratio_weights(keys, queries, kept.astype(float), kept).any()


def test_the_generalised_machine_ties_kept_tokens_masks_the_others_and_relaxing_shortens_it():
    keys, queries, _ = instance(3, 4, 5)
    kept = np.array([[True, True, False, False], [True, False, False, False], [True, True, True, True]])
    W = svm.several_token_svm(keys, queries, kept)
    logits = np.einsum("itd,de,ie->it", keys, W, queries)
    for row, keep in zip(logits, kept, strict=True):
        assert np.ptp(row[keep]) < 1e-10 and (keep.all() or row[keep].min() - row[~keep].max() >= 1 - 1e-9)
    relaxed = svm.several_token_svm(keys, queries, kept, [True, False, False])
    assert np.linalg.norm(relaxed) < np.linalg.norm(W)
    logits = np.einsum("itd,de,ie->it", keys, relaxed, queries)
    assert logits[0, :2].min() - logits[0, 2:].max() >= -1e-9 and logits[1, 0] - logits[1, 1:].max() >= 1 - 1e-9
    assert not svm.several_token_svm(keys, queries, kept, [True, True, True]).any()


def test_log_ratios_are_reproduced():
    keys, queries, _ = instance(2, 3, 6)
    s = RNG.dirichlet([1, 1, 1], size=2)
    W = svm.log_ratio_weights(keys, queries, s, np.ones((2, 3), bool))
    logits = np.einsum("itd,de,ie->it", keys, W, queries)
    assert np.allclose(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), s, rtol=1e-10)


def test_small_angles_keep_their_digits():
    A, E = np.eye(3), np.zeros((3, 3))
    E[0, 1] = 1e-9
    assert svm.angle(A, A + E) == pytest.approx(1e-9 / np.sqrt(3), rel=1e-6)
    assert svm.misalignment(A, A + E) == pytest.approx(1e-18 / 6, rel=1e-5)
    assert svm.correlation(A, -A) == pytest.approx(-1) and svm.angle(A, -A) == pytest.approx(np.pi)


@pytest.mark.parametrize(
    "keys, queries, selected, message",
    [
        (np.ones((2, 3)), np.ones((2, 2)), [0, 0], "keys must be"),
        (np.ones((2, 3, 2)), np.ones((2, 2)), [0, 3], "token indices"),
        (np.ones((2, 3, 2)), np.ones((2, 2)), [0.0, 1.0], "token indices"),
    ],
)
def test_wrong_instances_are_named(keys, queries, selected, message):
    with pytest.raises(ValueError, match=message):
        svm.frobenius_svm(keys, queries, selected)


def test_kept_tokens_must_be_boolean_and_not_empty():
    with pytest.raises(ValueError, match="kept must be boolean"):
        svm.several_token_svm(np.ones((2, 3, 2)), np.ones((2, 2)), np.zeros((2, 3), bool))
