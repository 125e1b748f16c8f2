"""Laws of positions where another formula gives the same number."""

import math

import numpy as np
import pytest

from attnlab.theory.positional_attention import alternating_positions, disentangled, fourier_positions


def test_frequencies_that_make_less_than_one_turn_are_counted_one_by_one():
    for dim, length in ((64, 512), (32, 100), (8, 3)):
        w = 10_000.0 ** (-2 * np.arange(dim // 2) / dim)
        turns = w * length / (2 * math.pi)
        assert fourier_positions.undertrained_frequencies(dim, length) == int((turns < 1).sum())


def test_noise_of_one_slow_wave_is_that_of_a_straight_line():
    """Frequency w with w L << 1 and no ridge: a fit of 1 and t, whose noise at t is (1/n)(1 + (t - m)^2/var)."""
    L, T = 20, 60
    inside, outside = np.arange(L), np.arange(L, T)
    line = (1 + (outside - inside.mean()) ** 2 / inside.var()) / L
    found = fourier_positions.noise_beyond_exact(np.array([1e-4]), L, T, 1e-18)
    assert found == pytest.approx(math.sqrt(line.mean()), rel=1e-3)


def test_the_half_length_is_where_a_needle_weighs_one_half():
    for gap in (0.5, 2.0, 5.0):
        n = alternating_positions.half_length(gap)
        assert 1 / (1 + (n - 1) * math.exp(-gap)) == pytest.approx(0.5)
    assert alternating_positions.needle_mass(math.log(3), 4) == pytest.approx(0.5)
    assert alternating_positions.half_length_bound(1.5) == pytest.approx(1 + math.exp(3.0))


def test_keys_kept_are_counted_layer_by_layer():
    n, window, period = 60, 12, 5
    kept = [n if layer % period == 0 else min(window, n) for layer in range(10)]
    assert alternating_positions.cache_share(n, window, period) == pytest.approx(np.mean(kept) / n)
    assert alternating_positions.cache_share(5, 12, 3) == 1


def test_scores_of_three_terms_have_variance_one():
    assert disentangled.score_variance(64) == 1 and disentangled.score_variance(64, 1) == pytest.approx(1 / 3)
    assert disentangled.scale_without_positions(48) == pytest.approx(1 / 12)
