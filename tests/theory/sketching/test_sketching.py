"""Sketches and landmarks: exact moments against draws, Newton's residual against the iteration, and where it fails."""

import math

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.operator import QKV, Sizes, Tokens
from attnlab.kernels.operators.sketching.linformer import Linformer
from attnlab.kernels.operators.sketching.nystrom import Nystrom, gaussian_kernel
from attnlab.theory.sketching import linformer, nystrom


def test_a_sketched_output_has_the_stated_variance():
    """4000 sketches: a sample variance errs by about sqrt(2 / 4000) times a kurtosis of at most 3. Twin: without (p . v)^2."""
    rng, n, k = np.random.default_rng(0), 24, 6
    p, v = rng.uniform(size=n), 1 + 0.5 * rng.normal(size=n)
    R = rng.normal(size=(4000, k, n)) / math.sqrt(k)
    found = np.einsum("rkn,n,rkm,m->r", R, p, R, v)
    predicted = linformer.sketch_variance(p, v, k)
    assert abs(found.mean() - p @ v) < 4 * math.sqrt(predicted / 4000)
    error = 4 * 3 * math.sqrt(2 / 4000)
    assert abs(found.var() / predicted - 1) < error < abs(found.var() / ((p @ p) * (v @ v) / k) - 1)


def test_values_of_mean_zero_are_lost_at_any_width_below_the_length():
    """Relative error sqrt(n / k) in the mean over values. Twin: an error that ln n numbers keep small."""
    rng, n = np.random.default_rng(1), 256
    P = np.exp(rng.normal(size=(n, n)))
    P /= P.sum(1, keepdims=True)
    V = rng.normal(size=(n, 400))
    for k in (16, 64):
        assert linformer.relative_error(P, V, k) == pytest.approx(math.sqrt(n / k), rel=0.05)
    assert linformer.relative_error(P, V, int(5 * math.log(n))) > 2
    assert linformer.relative_error(P, V + 3, 64) < 0.3  # a mean that all share is kept


def test_projections_fix_the_length():
    operator = Linformer(n_projected=2)
    parameters = operator.initialise(Sizes(n=5, d=3, d_v=2), [torch.Generator().manual_seed(0)], torch.float64)
    x = torch.zeros(1, 1, 1, 6, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="initialise with n=6"):
        operator.apply(QKV(x, x, x), parameters)


@pytest.mark.parametrize("n", [1, 3])
def test_with_fewer_tokens_than_landmarks_every_token_is_one(n):
    """C A^{-1} C^T is then S itself; the work is that of n landmarks."""
    operator, sizes = Nystrom(n_landmarks=4, n_iterations=40), Sizes(n=n, d=3, d_v=3)
    parameters = operator.initialise(sizes, [torch.Generator().manual_seed(0)], torch.float64)
    x = torch.randn(1, 1, n, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    q = (x[:, :, None] @ parameters["query"][:, None])[0, 0, 0]
    assert (operator.matrix(Tokens(x), parameters)[0, 0, 0] - gaussian_kernel(q, q)).abs().max() < 1e-9
    assert operator.apply(Tokens(x), parameters).isfinite().all()
    assert nystrom.multiply_adds(sizes, n_landmarks=4) == nystrom.multiply_adds(sizes, n_landmarks=n)


@pytest.mark.parametrize("factor", [0.9, 1.8])
def test_newton_squares_its_residual(factor):
    x = torch.randn(12, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    A = gaussian_kernel(x, x)
    for t in (0, 2, 4):
        X = Nystrom(n_iterations=t, factor=factor).newton(A)
        found = torch.linalg.matrix_norm(torch.eye(12, dtype=torch.float64) - A @ X, 2).item()
        assert found == pytest.approx(nystrom.residual(A.numpy(), factor, t), rel=1e-8)
    condition = (A.abs().sum(0).max() / torch.linalg.eigvalsh(A).min()).item()
    needed = math.ceil(nystrom.iterations_needed(condition, 1e-6))
    assert nystrom.residual(A.numpy(), 1.8, needed) < 1e-6 < nystrom.residual(A.numpy(), 1.8, needed - 3)


def test_the_largest_factor_fails_where_all_landmarks_have_one_sum():
    """Landmarks on a circle: lambda_max = |A|_1, so 1 - 2 = -1 is squared for ever. Twin: "2 always converges"."""
    angle = 2 * math.pi * torch.arange(8, dtype=torch.float64) / 8
    A = gaussian_kernel(*(torch.stack([angle.cos(), angle.sin()], 1),) * 2)
    assert nystrom.residual(A.numpy(), 2.0, 30) == pytest.approx(1, abs=1e-3)
    assert nystrom.residual(A.numpy(), 1.8, 30) < 1e-6
    with pytest.raises(ValueError, match="need condition"):
        nystrom.iterations_needed(1.0, 0.1)
