"""Sampled row sums: their exact variance, the laws for Gaussian tokens, and the operator against its formula."""

import math

import numpy as np
import pytest
import torch

from attnlab.kernels.operators.hashing.hyper_attention import HyperAttention
from attnlab.kernels.operators.operator import QKV, Sizes
from attnlab.theory.hashing import hyper_attention as theory


def tokens(n, d, std=1.0, seed=0):
    return std * np.random.default_rng(seed).normal(size=(n, d))


def test_the_variance_of_a_sampled_row_sum_is_that_of_all_samples():
    """Exact over all n^m draws. Twin: one variance for all rows, that of the mean row."""
    n, m = 5, 3
    A = np.exp(tokens(4, n, seed=1))
    P = A / A.sum(1, keepdims=True)
    draws = np.stack(np.meshgrid(*[range(n)] * m)).reshape(m, -1)
    estimates = n / m * A[:, draws].sum(1)  # (row, draw)
    relative = estimates.var(1) / A.sum(1) ** 2
    law = theory.row_sum_variance_exact(P, m)
    assert np.abs(relative - law).max() < 1e-13
    assert np.abs(relative - law.mean()).max() > 0.1 * law.mean()


def test_the_laws_for_gaussian_tokens_are_the_limits_of_the_exact_ones():
    """n = 2500 keys; errors of means of log-normals are below 5 / sqrt(n) here. Twin: the variance of the mean query."""
    n, d, m, std = 2500, 16, 64, 0.3
    q, k = tokens(n, d, std, 2), tokens(n, d, std, 3)
    P = np.exp(q @ k.T)
    sums = P.sum(1)
    P /= sums[:, None]
    norms = np.linalg.norm(q, axis=1)
    exact = theory.row_sum_variance_exact(P, m)
    longest = norms.argmax()
    for i in (longest, norms.argmin()):
        assert exact[i] == pytest.approx(theory.row_sum_variance_limit(norms[i], std, m), rel=5 / math.sqrt(n))
    mean = theory.row_sum_variance_limit(float(norms.mean()), std, m)
    assert abs(exact[longest] / mean - 1) > 5 / math.sqrt(n)
    found = n * (P**2).sum(0)
    law = np.array([theory.column_weight_limit(x, std, std, d) for x in np.linalg.norm(k, axis=1)])
    assert np.corrcoef(found, law)[0, 1] > 0.9
    assert found.mean() == pytest.approx((1 - 2 * std**4) ** (-d / 2), rel=5 / math.sqrt(n))
    assert law.mean() == pytest.approx((1 - 2 * std**4) ** (-d / 2), rel=5 / math.sqrt(n))
    kappa = theory.kappa_limit(norms.max(), norms.min(), std)
    assert sums.max() / sums.min() == pytest.approx(kappa, rel=10 / math.sqrt(n))  # both extremes err
    assert kappa > 1.05


def test_blocks_and_samples_are_those_of_the_formula():
    """Row by row from sorted codes, with more keys than queries; the samples are unbiased over all draws."""
    n_q, n, d = 5, 7, 3
    operator = HyperAttention(block=3, samples=1, bits=2)
    g = torch.Generator().manual_seed(4)
    q, k, v = (torch.randn(1, 1, 1, m, d, generator=g, dtype=torch.float64) for m in (n_q, n, n))
    planes = operator.initialise(Sizes(n=n, d=d, d_v=d), [g], torch.float64)
    inputs = QKV(q, k, v)
    mass = 0
    s = (q @ k.mT / d**0.5)[0, 0, 0].exp().numpy()
    for sample in range(n):
        draw = torch.tensor([[(sample + 0.5) / n]]).double()
        W = operator.matrix(inputs, planes, draw=draw)
        assert (W @ v - operator.apply(inputs, planes, draw=draw)).abs().max() < 1e-14
        W = W[0, 0, 0].numpy()
        own = {i: set() for i in range(n_q)}
        for i, j in zip(*np.nonzero(W), strict=True):
            own[i].add(j)
        mass = mass + (W > 0)
    always = (mass == n).sum(1)  # keys of the own block
    assert set(always) <= {3, 1} and ((mass == n) | (mass == 1)).all()
    expected = np.where(mass == n, 1, n * 1 / n)  # weight 1, or n/m with probability m/n
    assert np.allclose((s * expected).sum(1), s.sum(1))
    with pytest.raises(ValueError, match="uniform numbers"):
        operator.apply(inputs, planes, draw=draw[:, :0])
    with pytest.raises(ValueError, match="samples=0"):
        HyperAttention(samples=0)


def test_row_sums_of_many_keys_spread_as_the_mean_of_an_exponential():
    """E e^{q . k} over keys by quadrature in the direction of the query; equal queries give 1. Twin: 5 % in an exponent."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    for largest, smallest, std in ((1.5, 0.5, 0.8), (2.0, 1.0, 1.1), (1.0, 0.0, 0.3)):
        row = [float(weights @ np.exp(norm * std * nodes)) for norm in (largest, smallest)]
        assert theory.kappa_limit(largest, smallest, std) == pytest.approx(row[0] / row[1], rel=1e-12)
        if largest != 1 or smallest:
            twin = math.exp(std ** (2 * 1.05) * (largest**2 - smallest**2) / 2)
            assert twin != pytest.approx(row[0] / row[1], rel=1e-3)
    assert theory.kappa_limit(1.3, 1.3, 0.7) == 1
