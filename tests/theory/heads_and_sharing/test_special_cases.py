"""Laws of shared maps and routed heads where another formula gives the same number."""

import math
from itertools import combinations

import numpy as np
import pytest

from attnlab.theory.heads_and_sharing import head_mixture, shared_maps


def test_the_longest_span_is_the_last_whose_error_is_small_enough():
    r, s, error = 0.9, 1.2, 0.7
    span = shared_maps.longest_span(r, s, error)
    assert shared_maps.output_error(r, s, span - 1) <= error < shared_maps.output_error(r, s, span)
    short = [k for k in range(1, 200) if shared_maps.output_error(0.97, 0.8, k) <= 0.3]
    assert shared_maps.longest_span(0.97, 0.8, 0.3) == 1 + len(short)


def test_a_span_saves_all_keys_but_its_first():
    layers, span = 24, 4
    numbers = 2 * layers  # keys and values
    assert shared_maps.cache_saved(layers, span) == pytest.approx((span - 1) / numbers)


def test_cosines_of_log_normal_weights_are_moments():
    """E w w' over E w^2, scores of spread s and correlation r: variances 2 s^2 (1 + r) and 4 s^2 of the exponents."""
    r, s = 0.6, 0.9
    assert shared_maps.map_cosine(r, s) == pytest.approx(math.exp(s * s * (1 + r)) / math.exp(2 * s * s))
    assert shared_maps.output_error(r, s) == pytest.approx(2 - 2 * math.exp(-0.4 * 0.81))


@pytest.mark.parametrize(("H", "K", "m"), [(6, 2, 3), (8, 3, 2)])
def test_caches_that_are_needed_are_counted_over_all_choices(H, K, m):
    hit = [any(h < m for h in chosen) for chosen in combinations(range(H), K)]
    assert head_mixture.cache_needed_exact(K, H, m) == pytest.approx(np.mean(hit))
    independent = [1 - (1 - K / H) ** m, head_mixture.cache_needed(K / H, m)]
    assert independent[0] == pytest.approx(independent[1])


def test_a_balanced_router_has_loss_of_its_active_heads():
    """Even shares 1/H and use K/H in every token: H^2 mean(1/H K/H) = K."""
    H, K, tokens = 8, 3, 5
    shares, used = np.full((tokens, H), 1 / H), np.full((tokens, H), K / H)
    assert head_mixture.balance_loss(shares, used) == pytest.approx(K)
