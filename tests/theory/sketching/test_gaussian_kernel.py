"""Bias, norms, gradients and bounds of the Gaussian kernel: brute force, limits, quadrature, twins."""

import math

import numpy as np
import pytest

from attnlab.theory.sketching import gaussian_kernel as theory


def kernel(q, k):
    square = ((q[:, None] - k) ** 2).sum(-1)
    return np.exp(-square / (2 * math.sqrt(q.shape[1])))


def test_rows_of_the_kernel_are_softmax_with_a_bias():
    q, k = np.random.default_rng(0).standard_normal((2, 5, 4))
    S = kernel(q, k)
    scores = theory.equivalent_scores(q, k)
    law = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert S / S.sum(1, keepdims=True) == pytest.approx(law, rel=1e-12)
    plain = np.exp(q @ k.T / 2)
    assert np.abs(plain / plain.sum(1, keepdims=True) - law).max() > 0.05


@pytest.mark.parametrize("std", [0.3, 1.0])
def test_the_share_of_the_norm_is_the_top_eigenvalue_of_an_integral_operator(std):
    """One coordinate by Gauss and Hermite's rule (with the width of d = 1), and two by the product with that of d = 2."""
    nodes, weight = np.polynomial.hermite_e.hermegauss(60)
    root = np.sqrt(weight / weight.sum())
    for d in (1, 2):
        line = np.exp(-((std * (nodes[:, None] - nodes)) ** 2) / (2 * math.sqrt(d)))
        top = np.linalg.eigvalsh(root[:, None] * line * root)[-1]
        assert theory.norm_share_limit(d, std) == pytest.approx(top**d, rel=1e-10)
    assert theory.norm_share_limit(4, 1e-6) == pytest.approx(1)
    assert theory.norm_share_limit(4, 2 * std) < theory.norm_share_limit(4, std)


def test_the_gradient_of_an_inverse_by_finite_differences():
    rng, h = np.random.default_rng(1), 1e-6
    A, G = np.eye(3) * 2 + 0.3 * rng.standard_normal((3, 3)), rng.standard_normal((3, 3))
    law = theory.inverse_gradient_exact(np.linalg.inv(A), G)
    for place in np.ndindex(3, 3):
        shift = np.zeros((3, 3))
        shift[place] = h
        found = ((np.linalg.inv(A + shift) - np.linalg.inv(A - shift)) * G).sum() / (2 * h)
        assert law[place] == pytest.approx(found, rel=1e-6, abs=1e-8)
    assert not np.allclose(law, theory.inverse_gradient_exact(np.linalg.inv(A), G.T))


def test_the_trace_bound_is_reached_by_the_best_rank_and_by_no_landmarks():
    q = np.random.default_rng(2).standard_normal((12, 3))
    S = kernel(q, q)
    values, vectors = np.linalg.eigh(S)
    best = vectors[:, -4:] * values[-4:] @ vectors[:, -4:].T
    assert theory.nystrom_trace_bound(S, 4) == pytest.approx(np.trace(S - best))
    C = kernel(q, q[:4])
    assert np.trace(S - C @ np.linalg.solve(C[:4], C.T)) > theory.nystrom_trace_bound(S, 4)
    with pytest.raises(ValueError, match="must be"):
        theory.norm_share_limit(4, 0.0)
