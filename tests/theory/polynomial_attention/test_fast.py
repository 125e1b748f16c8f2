"""Polynomial attention: sharpness on sampled scores, rank after standardising, features against the polynomial."""

import math

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.operator import QKV, Sizes
from attnlab.kernels.operators.polynomial_attention.fast import Fast, monomials
from attnlab.theory.polynomial_attention import fast as theory


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("order", [2, 4])
def test_monomials_factorise_the_polynomial(order):
    x, y = normal(6, 3, seed=1), normal(5, 3, seed=2)
    s = x @ y.T
    wanted = sum(s**degree / math.factorial(degree) for degree in range(order + 1))
    assert torch.allclose(monomials(x, order) @ monomials(y, order).T, wanted, rtol=1e-12)
    assert monomials(x, order).shape[-1] == theory.n_features(3, order)


@pytest.mark.parametrize("score_std", [0.5, 1.0, 2.0, 8.0])
def test_a_polynomial_is_never_sharper_than_three(score_std):
    """200 rows of 20 000 scores; a fourth moment errs by sqrt(96 / n) relative. Twin: softmax's e^{s^2}."""
    s = score_std * np.random.default_rng(0).normal(size=(200, 20_000))
    w = 1 + s + s**2 / 2
    found = (20_000 * (w**2).sum(1) / w.sum(1) ** 2).mean()
    predicted = theory.participation(score_std)
    error = 4 * math.sqrt(96 / (200 * 20_000)) + 40 / 20_000
    assert abs(found / predicted - 1) < error < abs(found / math.exp(score_std**2) - 1)
    assert predicted < theory.participation_bound() and w.min() >= theory.smallest_weight()
    assert theory.participation(1e4) == pytest.approx(3, rel=1e-6)


@pytest.mark.parametrize("dim", [3, 5])
def test_standardising_costs_ranks(dim):
    q, k = normal(1, 1, 1, 40, dim, seed=1), normal(1, 1, 1, 40, dim, seed=2)
    M = Fast().matrix(QKV(q, k, k), {})
    assert torch.linalg.matrix_rank(M, rtol=1e-9).item() == theory.rank(dim, 40) == dim * (dim + 1) // 2 - 1
    s = q @ k.mT
    free = torch.linalg.matrix_rank(1 + s + s**2 / 2, rtol=1e-9).item()
    assert free == theory.rank(dim, 40, standardised=False) > theory.rank(dim, 40)
    assert theory.state_numbers(Sizes(n=9, d=dim, d_v=2)) == math.comb(dim + 2, 2) * 3


def test_odd_orders_are_refused():
    with pytest.raises(ValueError, match="must be even"):
        Fast(order=3)
    with pytest.raises(ValueError, match="must be positive"):
        theory.participation(0.0)
