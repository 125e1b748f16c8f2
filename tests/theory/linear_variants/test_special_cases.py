"""Laws of linear variants where another formula gives the same number."""

import math

import numpy as np
import pytest

from attnlab.theory.linear_variants import (
    additive_global_query,
    latent_mixture,
    mediator_tokens,
    orthogonal_memory,
    relu_linear,
)


def test_a_projection_is_as_near_the_identity_as_its_rank_allows():
    P = np.diag([1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    assert np.square(np.eye(7) - P).sum() == mediator_tokens.distance_from_identity_bound(7, 3)
    assert mediator_tokens.distance_from_identity_bound(3, 7) == 0


def test_total_variation_of_known_rows():
    assert mediator_tokens.dobrushin([[0.5, 0.5], [0.2, 0.8]]) == pytest.approx(0.3)
    assert mediator_tokens.dobrushin(np.eye(3)) == 1 and mediator_tokens.dobrushin(np.full((3, 3), 1 / 3)) == 0


def test_rectified_laws_are_moments_of_half_a_normal_law():
    """Weights sum_c q_c^+ k_c^+ with means m = 1/sqrt(2 pi) and second moments 1/2 of each factor."""
    m, second, d = 1 / math.sqrt(2 * math.pi), 0.5, 24
    square = second / m**2 / d  # of sum of squares over squared sum of a query
    assert relu_linear.excess_participation(d) == pytest.approx((second / m**2 - 1) * square)
    assert relu_linear.clamped_row_sum(7, d) == pytest.approx(7 * d * m * m / 100)
    assert relu_linear.clamp_acts_below(d) * d * m * m == pytest.approx(100)
    assert relu_linear.receptive_field(3) == 25


def test_counts_and_roots():
    assert latent_mixture.newest_weight(4) == 0.25 and latent_mixture.block_rank(9, 5, 7) == 5
    assert additive_global_query.isotropic_size_limit(400, 4) == pytest.approx(10)
    grid = np.concatenate([np.eye(3), np.eye(3), np.eye(3)])  # unit queries in all directions, exactly
    size = np.linalg.norm(additive_global_query.global_query(grid, [0.3, -1.0, 2.0]))
    assert size == pytest.approx(additive_global_query.isotropic_size_limit(9, 3))
    assert orthogonal_memory.detectable_until(3.0, 0.5) == pytest.approx(36)
    assert orthogonal_memory.lost_energy(6, 16) == pytest.approx(0.625) and orthogonal_memory.lost_energy(20, 16) == 0
