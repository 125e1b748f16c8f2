"""Weights of Gaussian heads: closed forms against sums over cells, 30-digit theta functions and Poisson summation."""

import math

import mpmath
import numpy as np
import pytest

from attnlab.theory.positional_attention import locality
from attnlab.theory.positional_attention.gated_positions import centre_weight_exact, theta


def cells(alpha, offset=0.0, reach=40):
    t = np.arange(-reach, reach + 1)
    w = np.exp(-alpha * ((t[:, None] + offset) ** 2 + (t + offset) ** 2))
    return w / w.sum(), np.hypot(t[:, None], t)


@pytest.mark.parametrize("alpha", [0.25, 1.0, 3.0])
def test_closed_forms_are_the_sums_over_cells(alpha):
    p, distance = cells(alpha)
    assert locality.nearest_weight_exact(alpha) == pytest.approx(p[40, 41], rel=1e-13)
    assert locality.sum_of_squares_exact(alpha) == pytest.approx((p**2).sum(), rel=1e-13)
    assert locality.mean_distance_exact(alpha) == pytest.approx((p * distance).sum(), rel=1e-13)
    assert locality.entropy_exact(alpha) == pytest.approx(-(p[p > 0] * np.log(p[p > 0])).sum(), rel=1e-12)
    assert locality.shared_centre_weight_exact(alpha) == pytest.approx(cells(alpha, 0.5)[0].max(), rel=1e-13)
    shift = np.zeros_like(p)
    shift[40, 40] = 1
    assert locality.convolution_error_exact(alpha) == pytest.approx(np.linalg.norm(p - shift), rel=1e-12)
    assert abs((1 - centre_weight_exact(alpha)) / np.linalg.norm(p - shift) - 1) > 0.015  # the twin 1 - w0


def test_theta_against_jacobi_and_poisson():
    for alpha in (0.25, 1.0, 2.0):
        q = mpmath.exp(-alpha)
        assert theta(alpha) == pytest.approx(float(mpmath.jtheta(3, 0, q)), rel=1e-14)
        assert theta(alpha, 0.5) == pytest.approx(float(mpmath.jtheta(2, 0, q)), rel=1e-14)
        dual = math.sqrt(math.pi / alpha) * theta(math.pi**2 / alpha)
        assert theta(alpha) == pytest.approx(dual, rel=1e-14)


def test_error_tends_to_root_twenty_and_not_to_four():
    for alpha in (8.0, 12.0):
        ratio = locality.convolution_error_exact(alpha) / math.exp(-alpha)
        next_term = math.sqrt(20) * (1 - 3.2 * math.exp(-alpha))
        assert ratio == pytest.approx(
            next_term, abs=150 * math.exp(-2 * alpha) + 1e-9 * math.exp(alpha)
        )  # 1 - 1, rounded
        assert abs(ratio - 4) > 0.4


def test_published_numbers():
    """Centre weights and distances of the fact sheet, to its last digit."""
    for alpha, w0 in ((0.5, 0.1592), (1, 0.3182), (2, 0.6187), (4, 0.9306), (8, 0.99866)):
        assert centre_weight_exact(alpha) == pytest.approx(w0, abs=6e-5)
    assert [round(locality.mean_distance_exact(a), 3) for a in (1, 2, 4)] == [0.799, 0.401, 0.070]
    assert locality.uniform_distance_exact(11) == pytest.approx(5.711, abs=5e-4)
    assert locality.uniform_distance_limit(1) == pytest.approx(0.5214, abs=5e-5)


def test_uniform_distance_is_the_mean_over_pairs_and_tends_to_its_limit():
    at = np.arange(16)
    apart = np.hypot((at // 4)[:, None] - at // 4, (at % 4)[:, None] - at % 4)
    assert locality.uniform_distance_exact(4) == pytest.approx(apart.mean(), rel=1e-13)
    gaps = [1 - locality.uniform_distance_exact(n) / locality.uniform_distance_limit(n) for n in (20, 40)]
    assert 3 < gaps[0] / gaps[1] < 5  # of second order in 1/H


def test_weights_at_a_border_sum_to_one_and_errors_there_stay():
    p = locality.weights_on_grid_exact((5, 7), (0, 6), (-1.0, 1.0), 2.0)
    assert p.sum() == pytest.approx(1) and p.argmax() == 6
    kernel = [(float(a), float(b)) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    inside = locality.border_error_exact((31, 31), (15, 15), kernel, 1.0)
    assert inside == pytest.approx(locality.convolution_error_exact(1.0), rel=1e-12)
    for query, share in (((0, 0), 5 / 9), ((0, 15), 3 / 9)):
        assert locality.border_error_exact((31, 31), query, kernel, 30.0) == pytest.approx(math.sqrt(share), rel=1e-9)
    with pytest.raises(ValueError, match="locality"):
        locality.weights_on_grid_exact((3, 3), (0, 0), (0.0, 0.0), -1.0)
