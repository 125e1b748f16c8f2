"""The stiffness index: bounds that are reached, linear flows, orthogonal increments."""

import numpy as np
import pytest
from scipy.linalg import expm

from attnlab.theory.stiffness import index as theory

RNG = np.random.default_rng(0)
EPS = np.finfo(float).eps


def test_the_index_of_a_step_is_its_relative_length_per_time():
    assert theory.stiffness_index([3.0, 4.0], [3.0, 6.0], 0.5) == pytest.approx(2 / 5 / 0.5, rel=4 * EPS)


def test_a_zero_state_or_step_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="zero"):
        theory.stiffness_index([0.0, 0.0], [1.0, 0.0])
    with pytest.raises(ValueError, match="step"):
        theory.stiffness_index([1.0], [1.0], 0.0)


def test_gated_blocks_keep_the_bounds_and_equal_gates_reach_both():
    a, f, x = RNG.random((200, 5)), RNG.normal(size=(200, 5)), RNG.normal(size=(200, 5))
    low, high = theory.gated_index_bounds(a, f, x)
    index = theory.stiffness_index(x, x + a * f)
    # an index is rounded by at most 16 eps, but x + a f - x by eps |x| / |a f| more
    slack = 16 * EPS * (1 + 1 / index)
    assert np.all(index >= low * (1 - slack)) and np.all(index <= high * (1 + slack))
    low, high = theory.gated_index_bounds(np.full((1, 5), 0.3), f[:1], x[:1])
    assert low == high


def test_the_mean_gate_is_no_bound():
    a, f, x = np.array([0.1, 0.9]), np.array([0.0, 1.0]), np.array([1.0, 0.0])
    low, high = theory.gated_index_bounds(a, f, x)
    assert low < a.mean() < theory.stiffness_index(x, x + a * f) <= high


def test_singular_values_are_the_sharp_range_of_a_linear_flow():
    A = RNG.normal(size=(6, 6))
    low, high = theory.linear_index_range(A)
    u = RNG.normal(size=(10_000, 6))
    index = np.linalg.norm(u @ A.T, axis=1) / np.linalg.norm(u, axis=1)
    assert low <= index.min() and index.max() <= high
    right = np.linalg.svd(A)[2]
    assert np.linalg.norm(A @ right[0]) == pytest.approx(high, rel=1e-13)
    assert np.linalg.norm(A @ right[-1]) == pytest.approx(low, rel=1e-12)


def test_the_largest_eigenvalue_is_no_bound():
    A = np.array([[1.0, 5.0], [0.0, 1.0]])
    assert theory.linear_index_range(A)[1] > np.abs(np.linalg.eigvals(A)).max()


def test_the_root_mean_square_over_directions_is_that_of_the_singular_values():
    A = RNG.normal(size=(6, 6))
    assert theory.linear_index_rms(A) ** 2 == pytest.approx(np.mean(np.linalg.svd(A, compute_uv=False) ** 2), rel=1e-13)
    u = RNG.normal(size=(40_000, 6))
    squares = np.sum((u @ A.T) ** 2, axis=1) / np.sum(u**2, axis=1)
    error = 5 * squares.std() / 200  # five standard errors
    assert abs(squares.mean() - theory.linear_index_rms(A) ** 2) < error
    assert abs(np.linalg.svd(A, compute_uv=False).mean() ** 2 - theory.linear_index_rms(A) ** 2) > error


@pytest.mark.parametrize("step", [1e-6, 0.1, 2.0])
def test_the_index_on_an_eigenvector_pair_is_that_of_the_matrix_exponential(step):
    plane, u = np.array([[-0.3, -2.0], [2.0, -0.3]]), np.array([0.6, -0.8])
    measured = np.linalg.norm(expm(plane * step) @ u - u) / step
    # scaling and squaring leaves some tens of eps in the exponential, which the division by the step enlarges
    assert theory.eigenvector_index(-0.3 + 2j, step) == pytest.approx(measured, abs=100 * EPS / min(step, 1))


def test_small_steps_give_the_size_of_the_eigenvalue_and_large_ones_do_not():
    assert theory.eigenvector_index(3 - 4j, 1e-9) == pytest.approx(5, rel=1e-8)
    assert theory.eigenvector_index(3j, 1.0) == pytest.approx(2 * np.sin(1.5), rel=1e-14)


def test_orthogonal_and_aligned_increments_built_by_hand_have_their_indices():
    n, s, start = 12, 0.7, 1.9
    for make, predicted in (
        (lambda t: np.eye(n + 1)[t + 1], theory.orthogonal_increments_index),
        (lambda t: np.eye(n + 1)[0], theory.aligned_increments_index),
    ):
        x, index = start * np.eye(n + 1)[0], []
        for t in range(n):
            y = x + s * make(t)
            index.append(theory.stiffness_index(x, y))
            x = y
        np.testing.assert_allclose(index, predicted(n, s, start), rtol=1e-13)


def test_wrong_sizes_are_named():
    for call in (
        lambda: theory.orthogonal_increments_index(0),
        lambda: theory.aligned_increments_index(3, -1.0),
        lambda: theory.linear_index_rms(np.ones((2, 3))),
        lambda: theory.eigenvector_index(1j, 0.0),
    ):
        with pytest.raises(ValueError, match=r"positive|square"):
            call()


def test_the_spread_of_the_mean_square_is_that_of_sampled_directions():
    A = RNG.normal(size=(5, 5))
    u = RNG.normal(size=(200_000, 5))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    squares = ((u @ A.T) ** 2).sum(1)
    found = squares.std() / squares.mean() / 2
    assert theory.linear_index_spread(A) == pytest.approx(found, rel=0.01)  # 4 standard errors, kurtosis below 5
    assert theory.linear_index_spread(np.eye(4)) == pytest.approx(0.0, abs=1e-7)
