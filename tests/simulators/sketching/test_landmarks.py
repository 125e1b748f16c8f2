"""The kernel, landmarks and Newton's iteration where their outcome is known."""

import numpy as np
import pytest

from attnlab.simulators.sketching.landmarks import KernelSetting, NewtonSetting, kernels, left_over, newton, rows

SEEDS = np.random.SeedSequence(4).spawn(2)


def test_newton_ends_at_the_inverse_and_its_gradient_is_that_of_the_inverse():
    runs = newton(NewtonSetting(n_landmarks=5, dim=3), SEEDS, "cpu")
    assert runs["residual"].shape == (2, 21) and runs["residual"][:, -1].max() < 1e-10
    assert runs["inverse"] == pytest.approx(np.linalg.inv(runs["matrix"]), rel=1e-6)
    Y, G = runs["inverse"][0], runs["pull"][0]
    assert runs["gradient"][0] == pytest.approx(-Y @ G @ Y, rel=1e-6, abs=1e-6)


def test_a_ring_is_circulant_and_stays_from_the_largest_start():
    runs = newton(NewtonSetting(n_landmarks=6, token_std=2.0, factor=2.0, ring=True), SEEDS[:1], "cpu")
    A = runs["matrix"][0]
    assert A.sum(0) == pytest.approx(np.full(6, A[0].sum())) and A[0, 1] == pytest.approx(A[3, 4])
    assert runs["residual"][0] == pytest.approx(np.ones(21), abs=1e-6)


def test_tokens_in_one_place_have_a_kernel_of_ones():
    runs = kernels(KernelSetting(n_tokens=6, token_std=1e-9, n_landmarks=2), SEEDS, "cpu")
    assert runs["norm"] == pytest.approx(np.ones(2)) and runs["normalised"] == pytest.approx(np.ones(2))
    assert runs["diagonal"].max() == 0 and runs["skew"].max() < 1e-12
    shares = rows(KernelSetting(n_tokens=6, token_std=1e-9, n_landmarks=2), SEEDS, "cpu")
    assert shares["rows"] == pytest.approx(np.full((2, 6, 6), 1 / 6)) and shares["tokens"].shape == (2, 6, 8)


def test_as_many_landmarks_as_tokens_leave_nothing():
    runs = left_over(KernelSetting(n_tokens=6, dim=3, token_std=1.0, n_landmarks=6), SEEDS, "cpu")
    for kind in ("token", "pooled"):
        assert runs[f"trace_{kind}"] == pytest.approx(np.zeros(2), abs=1e-9)
    fewer = left_over(KernelSetting(n_tokens=6, dim=3, token_std=1.0, n_landmarks=2), SEEDS, "cpu")
    assert (fewer["trace_token"] > 0.1).all() and (fewer["least_pooled"] > -1e-12).all()
