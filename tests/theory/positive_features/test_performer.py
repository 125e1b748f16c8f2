"""Random features of softmax's kernel: errors by quadrature and draws, orthogonal against independent rows."""

import math

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.operator import QKV, Sizes
from attnlab.kernels.operators.positive_features.performer import Performer
from attnlab.theory.positive_features import performer as theory


def pair(dim, seed=0):
    """Small x and y with their kernel and lengths."""
    x, y = 0.4 * np.random.default_rng(seed).normal(size=(2, dim))
    return x, y, math.exp(x @ y), np.linalg.norm(x + y), np.linalg.norm(x - y)


def test_errors_of_one_feature_by_quadrature():
    """w . (x + y) is Gaussian of variance z^2, w . (x - y) of delta^2: two integrals, exact to 1e-10."""
    x, y, kernel, z, gap = pair(6)
    nodes, weight = np.polynomial.hermite_e.hermegauss(60)
    weight = weight / weight.sum()
    sizes = (x @ x + y @ y) / 2
    positive = np.exp(z * nodes - sizes)
    assert weight @ positive == pytest.approx(kernel, rel=1e-10)
    assert weight @ (positive - kernel) ** 2 == pytest.approx(theory.positive_error(kernel, z, 1), rel=1e-10)
    waves = math.exp(sizes) * np.cos(gap * nodes)
    assert weight @ waves == pytest.approx(kernel, rel=1e-10)
    found = weight @ (waves - kernel) ** 2
    assert found == pytest.approx(theory.trigonometric_error(kernel, z, gap, 1), rel=1e-10)
    assert found != pytest.approx(theory.positive_error(kernel, z, 1), rel=0.05)


@pytest.mark.parametrize("dim", [3, 8])
def test_orthogonal_rows_err_less_by_the_stated_amount(dim):
    """60 000 blocks of m = d rows of the operator at |x + y|^2 = 1/2: four standard errors. Twin: independent rows."""
    n, x = 60_000, np.full(dim, 0.5**0.5 / 2 / dim**0.5)  # x = y
    kernel, z = math.exp(x @ x), 2 * np.linalg.norm(x)
    made = Performer(n_features=n * dim).initialise(
        Sizes(n=1, d=dim, d_v=1), [torch.Generator().manual_seed(0)], torch.float64
    )
    draws = made["projection"].numpy().reshape(n, dim, dim)
    gram = draws[:50] @ draws[:50].transpose(0, 2, 1)
    assert np.abs(gram - np.einsum("rii->ri", gram)[:, :, None] * np.eye(dim)).max() < 1e-10
    estimates = np.exp(draws @ (2 * x) - x @ x).mean(1)
    assert abs(estimates.mean() - kernel) < 4 * estimates.std() / math.sqrt(n)  # unbiased
    square = (estimates - kernel) ** 2
    error = 4 * square.std() / math.sqrt(n)
    predicted = theory.orthogonal_error(kernel, z, dim, dim)
    assert abs(square.mean() - predicted) < error < theory.positive_error(kernel, z, dim) - predicted


def test_many_features_are_softmax():
    """m = 20 000 features, relative error of a weight sqrt((e^{z^2} - 1) / m); four of them."""
    q, k, v = (
        0.5 * torch.randn(1, 1, 1, 6, 4, generator=torch.Generator().manual_seed(s), dtype=torch.float64)
        for s in range(3)
    )
    operator = Performer(n_features=20_000)
    parameters = operator.initialise(Sizes(n=6, d=4, d_v=4), [torch.Generator().manual_seed(9)], torch.float64)
    found = operator.matrix(QKV(q, k, v), parameters)
    softmax = (q @ k.mT / 2).softmax(-1)
    z2 = ((q[..., :, None, :] + k[..., None, :, :]).square().sum(-1) / 2).max().item()
    assert (found / softmax - 1).abs().max() < 2 * 4 * math.sqrt(math.expm1(z2) / 20_000)
    assert theory.state_numbers(Sizes(n=6, d=4, d_v=4), n_features=8) == 48


def test_arguments_out_of_range_are_named():
    for call in (lambda: theory.orthogonal_error(1.0, 1.0, 5, 4), lambda: theory.positive_error(0.0, 1.0, 2)):
        with pytest.raises(ValueError, match="must be"):
            call()
