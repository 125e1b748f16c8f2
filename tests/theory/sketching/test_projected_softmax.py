"""The published width and what it keeps, small logits, stable ranks: brute force, limits, twins."""

import math

import numpy as np
import pytest

from attnlab.theory.sketching import projected_softmax as theory


def test_the_published_width_and_the_error_it_leaves():
    assert theory.published_width(1024, 0.5) == math.ceil(5 * math.log(1024) / 0.125) == 278
    grown = [theory.relative_error_at_published_width_limit(n, 0.5) for n in (10**3, 10**4, 10**5)]
    assert grown[0] > 1.9 and grown[2] > 2 * grown[1] > 4 * grown[0]
    with pytest.raises(ValueError, match="between 0 and 1"):
        theory.published_width(1024, 1.0)


def test_inner_products_are_kept_additively():
    """Unit vectors p and w at four widths: the share of violations of 20 000 sketches is below the bound for one row."""
    rng, eps = np.random.default_rng(0), 0.5
    for k in (64, 128):
        a, b = rng.standard_normal((2, 20_000, k)) / math.sqrt(k)  # R p and R w of orthogonal unit vectors
        violated = (np.abs((a * b).sum(1)) > eps).mean()
        assert violated <= theory.additive_violation_bound(1, eps, k)
    assert theory.additive_violation_bound(512, eps, theory.published_width(512, eps)) == pytest.approx(
        2 * 512**-0.25, rel=0.05
    )
    assert theory.additive_violation_bound(512, eps, 10) == 1


@pytest.mark.parametrize("step", [0.05, 0.3])
def test_small_steps_have_the_stated_mean_and_variance(step):
    """400 000 draws of the two Gaussian numbers that count, x . r and y . r: four standard errors. Twin: no step in the variance."""
    x, y, k, n = np.array([1.0, -2.0, 0.5]), np.array([2.0, 1.0, 1.0]), 4, 400_000
    R = np.random.default_rng(1).standard_normal((n, k, 3)) / math.sqrt(k)
    out = math.exp(-step) * (np.exp(step * (R @ x)) * (R @ y)).sum(1)
    mean, variance = (f(x, y, k, step) for f in (theory.small_step_mean_exact, theory.small_step_variance_exact))
    assert abs(out.mean() - mean) < 4 * math.sqrt(variance / n)
    square = (out - out.mean()) ** 2
    error = 4 * square.std() / math.sqrt(n)
    assert abs(square.mean() - variance) < error < abs(y @ y - variance)


def test_without_a_step_only_values_are_left():
    x, y = np.array([3.0, 1.0]), np.array([2.0, -1.0])
    assert theory.small_step_mean_exact(x, y, 5, 0.0) == 0
    assert theory.small_step_variance_exact(x, y, 5, 0.0) == pytest.approx(y @ y)


def test_stable_rank_of_equal_and_of_sharp_rows():
    assert theory.stable_rank_of_participation(64, 1 / 64) == pytest.approx(1)
    z = np.random.default_rng(2).standard_normal((600, 600))
    P = np.exp(0.7 * z)
    P /= P.sum(1, keepdims=True)
    found = (P**2).sum() / np.linalg.svd(P, compute_uv=False)[0] ** 2
    law = theory.stable_rank_of_participation(600, (P**2).sum(1).mean())
    assert found == pytest.approx(law, rel=2e-3) and found != pytest.approx((P**2).sum(), rel=5e-4)
    assert theory.crossover_length(8) == 16
