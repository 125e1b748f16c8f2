"""Laws of known maps, against brute force, draws and limits."""

import math

import numpy as np
import pytest

from attnlab.theory.instruments import maps as theory


def test_entropies_in_limits_and_of_draws():
    assert theory.entropy_of_causal_uniform(3) == pytest.approx((0 + math.log(2) + math.log(3)) / 3)
    assert theory.entropy_of_mixture(0.8, 4, 128) == pytest.approx(2.573494, abs=1e-6)  # the sheet's number
    assert theory.entropy_of_mixture(4 / 128, 4, 128) == pytest.approx(math.log(128))
    assert theory.mean_entropy_exact(20, 0.0) == pytest.approx(math.log(20), abs=1e-7)
    x = np.random.default_rng(0).standard_normal((40_000, 16))
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    h = -(p * np.log(p)).sum(1)
    assert abs(h.mean() - theory.mean_entropy_exact(16, 1.0)) < 5 * h.std() / 200
    assert abs(h.mean() - theory.mean_entropy_approx(16, 1.0)) > 20 * h.std() / 200
    assert theory.mean_entropy_exact(4096, 0.5) == pytest.approx(theory.mean_entropy_approx(4096, 0.5), abs=1e-4)


@pytest.mark.parametrize("n", [1, 5, 12])
def test_distances_are_the_double_sums(n):
    i = np.arange(n)
    d = np.abs(i[:, None] - i)
    assert theory.distance_of_uniform(n) == pytest.approx(d.mean())
    rows = [d[k, : k + 1].mean() for k in range(n)]
    assert theory.distance_of_uniform(n, causal=True) == pytest.approx(np.mean(rows))
    for lam in (0.5, 3.0):
        w = np.exp(-d / lam)
        assert theory.distance_of_kernel_exact(n, lam) == pytest.approx(((w * d).sum(1) / w.sum(1)).mean(), abs=1e-12)
    x, y = np.divmod(np.arange(n * n), n)
    assert theory.distance_on_grid(n) == pytest.approx(np.hypot(x[:, None] - x, y[:, None] - y).mean())


def test_a_long_line_has_the_kernels_limit():
    assert theory.distance_of_kernel_exact(40_000, 4.0) == pytest.approx(theory.distance_of_kernel_limit(4.0), rel=1e-3)
    assert theory.distance_of_kernel_limit(4.0) == pytest.approx(3.9586, abs=1e-4)


def test_templates_and_masses():
    n, w = 9, 0.3
    a = w * np.eye(n) + (1 - w) / n
    gap = np.linalg.norm(a - np.eye(n)) / math.sqrt((a**2).sum() + n)
    assert theory.template_distance_exact(w, n) == pytest.approx(gap)
    assert theory.previous_mass_null(32) * 31 / 32 == pytest.approx(0.0956, abs=5e-5)  # ERRATA 11, over all rows
    rng, s = np.random.default_rng(1), 0.1
    p, q = (np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in s * rng.standard_normal((2, 20_000, 6)))
    m = (p + q) / 2
    js = ((p * np.log(p / m)).sum(1) + (q * np.log(q / m)).sum(1)) / 2
    law = theory.divergence_of_random_heads(6, s)
    assert abs(js.mean() - law) < 5 * js.std() / 20_000**0.5 + s**2 * law


def test_bars_of_blocks_at_their_ends():
    assert theory.bars_of_blocks(1, 32) == pytest.approx(30.03125)
    assert theory.bars_of_blocks(32, 1) == 31
    assert theory.bars_of_blocks(4, 8) == pytest.approx(3 + 28 * 7 / 8)


def test_areas_and_majorities():
    assert theory.area_of_contrast(4.0, 1.0) == pytest.approx(theory.area_of_raw_map(4.0, 1.0))  # break-even
    assert theory.area_of_raw_map(4.0, 0.0) == pytest.approx(0.837, abs=5e-4)
    assert theory.majority_exact(0.5, 7) == pytest.approx(0.5) and theory.majority_exact(1.0, 7) == 1
    assert theory.majority_exact(0.6, 3) == pytest.approx(0.6**3 + 3 * 0.6**2 * 0.4)
    for chance in (0.495, 0.503, 0.51):  # neither 0 nor 1, where any limit would do
        exact = theory.majority_exact(chance, 10_001)
        assert 0.1 < exact < 0.99 and theory.majority_limit(chance, 10_001) == pytest.approx(exact, abs=1e-3)
    with pytest.raises(ValueError, match="must be odd"):
        theory.majority_exact(0.5, 4)
