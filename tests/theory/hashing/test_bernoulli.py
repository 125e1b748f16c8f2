"""Covariances of hashed outputs, slopes and their surrogate: limits, brute force, finite differences, twins."""

import math

import numpy as np
import pytest

from attnlab.theory.hashing import bernoulli as theory
from attnlab.theory.hashing import yoso


def circle(n=200_000):
    """Every hyperplane of the plane, by its direction: a rule for one bit in two dimensions, exact to 1/n."""
    turn = 2 * np.pi * (np.arange(n) + 0.5) / n
    return np.stack([np.cos(turn), np.sin(turn)], 1)


def at(*angles):
    return np.array([[math.cos(a), math.sin(a)] for a in angles])


def test_one_bit_in_the_plane_by_all_hyperplanes():
    """Collisions of two and three vectors, covariance of an output and between queries. Twin: independent entries."""
    q, k, v = at(0.2, 0.7), at(1.0, 2.9, -1.3), np.array([[1.0, 0.5], [-2.0, 1.0], [0.3, 0.2]])
    side_q, side_k = (circle() @ x.T > 0 for x in (q, k))
    B = (side_q[:, :, None] == side_k[:, None]).astype(float)
    assert yoso.collision(theory.angles(q, k), 1) == pytest.approx(B.mean(0), abs=1e-4)
    y = B[:, 0] @ v
    found = (y - y.mean(0)).T @ (y - y.mean(0)) / len(y)
    law = theory.output_covariance_exact(q[0], k, v, 1, 1)
    assert law == pytest.approx(found, abs=1e-3)
    W = B.mean(0)[0]
    assert np.abs(v.T @ np.diag(W * (1 - W)) @ v - law).max() > 0.05
    shared = np.cov(B[:, 0, 0], B[:, 1, 0])[0, 1]
    assert theory.shared_hash_covariance_exact(0.8, 0.3, 0.5, 1) == pytest.approx(shared, abs=1e-4)


def test_covariances_are_those_of_single_coordinates_and_fall_like_1_over_m():
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal(4), rng.standard_normal((6, 4)), rng.standard_normal((6, 2))
    C = theory.output_covariance_exact(q, k, v, 3, 5)
    assert C[1, 1] == pytest.approx(yoso.output_variance(q, k, v[:, 1], 3, 5))
    assert theory.relative_error_exact(q, k, v, 3, 20) == pytest.approx(theory.relative_error_exact(q, k, v, 3, 5) / 2)
    assert np.linalg.eigvalsh(C).min() > -1e-12
    alone = theory.output_covariance_exact(q, k[:1], v[:1], 3, 1)
    w = yoso.collision(theory.angles(q[None], k[:1])[0, 0], 3)
    assert alone == pytest.approx(w * (1 - w) * np.outer(v[0], v[0]))
    assert theory.angle_loss_approx(q, k[:1], v[:1], 3, 1) == pytest.approx(0, abs=1e-12)  # noise along the output only


def test_the_loss_of_the_norm_is_its_expansion():
    """A Gaussian output of the exact covariance at 4000 hashes: 300 000 draws, four standard errors. Twin: noise along, too."""
    rng = np.random.default_rng(1)
    q, k = rng.standard_normal(4), rng.standard_normal((6, 4))
    v = 1 + rng.standard_normal((6, 3))
    C = theory.output_covariance_exact(q, k, v, 2, 4000)
    mean = yoso.collision(theory.angles(q[None], k)[0], 2) @ v
    y = mean + rng.standard_normal((300_000, 3)) @ np.linalg.cholesky(C + 1e-15 * np.eye(3)).T
    lost = 1 - y @ mean / np.linalg.norm(y, axis=1) / np.linalg.norm(mean)
    law = theory.angle_loss_approx(q, k, v, 2, 4000)
    margin = 4 * lost.std() / math.sqrt(len(y)) + 3 * theory.relative_error_exact(q, k, v, 2, 4000) ** 2 * law
    assert abs(lost.mean() - law) < margin < np.trace(C) / (2 * mean @ mean) - law


def test_queries_that_are_the_same_share_all_of_an_error_and_opposite_ones_none_of_a_collision():
    w = yoso.collision(0.4, 4)
    assert theory.shared_hash_covariance_exact(0.4, 0.4, 0.0, 4) == pytest.approx(w * (1 - w))
    assert theory.shared_hash_covariance_exact(0.4, math.pi - 0.4, math.pi, 1) < 0


def test_weights_and_exponentials_cross_where_stated_for_every_number_of_bits():
    for bits in (1, 5, 16):
        for x in theory.exponential_crossings():
            ratio = [
                float(yoso.collision(math.acos(y), bits)) / math.exp(bits * (y - 1)) for y in (x - 1e-4, x, x + 1e-4)
            ]
            assert ratio[1] == pytest.approx(1, rel=1e-12) and (ratio[0] - 1) * (ratio[2] - 1) < 0


def test_slopes_by_finite_differences_and_the_surrogate_below_them():
    x, h = np.linspace(-0.95, 0.99, 40), 1e-6
    for bits in (1, 4):
        difference = (yoso.collision(np.arccos(x + h), bits) - yoso.collision(np.arccos(x - h), bits)) / (2 * h)
        slope = theory.weight_slope_exact(x, bits)
        assert slope == pytest.approx(difference, rel=1e-4)
        best, where = theory.largest_surrogate_constant()
        ratio = slope / (bits * yoso.collision(np.arccos(x), bits))
        assert (theory.surrogate_slope(x, bits) < slope).all() and ratio.min() >= best
        touch = theory.weight_slope_exact(where, bits) / (bits * yoso.collision(math.acos(where), bits))
        assert touch == pytest.approx(best, rel=1e-12) and best < 0.55
    assert (best, where) == pytest.approx((0.549539, 0.4421), abs=1e-4)


def test_gradients_of_one_pair():
    q, k, v, dY = at(0.3), at(1.0), np.array([[2.0]]), np.array([[0.5]])
    x = math.cos(0.7)
    assert theory.exact_gradients(q, k, v, dY, 3) == pytest.approx(theory.weight_slope_exact(x, 3) * k)
    assert theory.surrogate_gradients(q, k, v, dY, 3) == pytest.approx(theory.surrogate_slope(x, 3) * k)


def test_small_angles_keep_their_digits():
    assert theory.angles(at(0.0), at(1e-9))[0, 0] == pytest.approx(1e-9, rel=1e-6)
    with pytest.raises(ValueError, match="must be a whole number"):
        theory.weight_slope_exact(0.5, 0)
