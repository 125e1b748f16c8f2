"""Weights by the exponential series: limits, quadratures, searches over small rows, and rivals that must fail."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from attnlab.theory.polynomial_attention import fast
from attnlab.theory.polynomial_attention import series_weights as theory


def series(s, order):
    return sum(s**k / math.factorial(k) for k in range(order + 1))


@pytest.mark.parametrize("order", [2, 4, 6])
def test_least_weight_is_the_minimum_on_a_fine_grid(order):
    """A grid of step h misses the minimum by at most f'' h^2 / 8 <= h^2 here."""
    s = np.linspace(-8, 2, 100_001)
    least = fast.smallest_weight(order)
    assert least <= series(s, order).min() <= least + 1e-8 < 1.02 * least
    with pytest.raises(ValueError, match="even"):
        fast.smallest_weight(3)


@pytest.mark.parametrize(("dim", "order"), [(4, 2), (4, 4), (16, 2), (5, 3)])
def test_rank_is_the_dimension_of_polynomials_on_a_sphere(dim, order):
    """Harmonic polynomials of degrees 0 to p in D = d - 1 variables, counted one degree at a time."""
    D = dim - 1
    harmonic = [math.comb(D + k - 1, k) - (math.comb(D + k - 3, k - 2) if k > 1 else 0) for k in range(order + 1)]
    assert fast.rank(dim, 10**6, order=order) == sum(harmonic) < fast.n_features(dim, order)
    assert fast.rank(16, 400) == 135


@pytest.mark.parametrize("dim", [4, 8, 16])
def test_scores_of_tokens_have_the_law_of_a_coordinate(dim):
    """Density (1 - t^2)^((d - 4)/2) on [-1, 1] in d - 1 dimensions, by quadrature."""

    def over(low, high, h):
        def at(x):
            return math.sin(x) ** (dim - 3) * h(math.sqrt(dim) * math.cos(x))

        return integrate.quad(at, math.acos(high), math.acos(low))[0]

    whole = over(-1, 1, lambda s: 1.0)
    share = over(-1, -(dim**-0.5), lambda s: 1.0) / whole
    assert theory.negative_share_of_tokens_exact(dim) == pytest.approx(share, rel=1e-8)
    assert theory.score_variance_exact(dim) == pytest.approx(over(-1, 1, lambda s: s**2) / whole, rel=1e-8)
    assert share > 1.03 * theory.negative_share_exact(1.0)  # twin: normal scores


def test_wide_heads_have_normal_scores():
    """Edgeworth's first term of a coordinate in d dimensions is of order 1/d."""
    assert theory.negative_share_of_tokens_exact(100_000) == pytest.approx(theory.negative_share_exact(1.0), rel=1e-4)
    assert theory.negative_share_of_tokens_exact(16) == pytest.approx(0.1752, abs=1e-4)


@pytest.mark.parametrize("score_std", [0.7, 1.0, 2.0])
def test_misordered_pairs_counted_between_quantiles(score_std):
    """Pairs of 2000 quantiles; a line through the square cuts at most 2 * 2000 of the 2000^2 cells."""
    s = stats.norm(0, score_std).ppf((np.arange(2000) + 0.5) / 2000)
    w = series(s, 2)
    share = ((s[:, None] < s) & (w[:, None] > w)).mean() * 2
    found = theory.misordered_share_exact(score_std)
    assert abs(found - share) < 2 / 2000
    assert abs(stats.norm.cdf(-1 / score_std) ** 2 - share) > 0.01  # twin: both below the turning point


@pytest.mark.parametrize(("order", "bound"), [(2, 1.0), (4, 1.96), (3, 0.5)])
def test_the_row_bound_is_the_largest_over_rows_of_two_kinds(order, bound):
    """All splits and end points on a grid: at most the bound, and within 1e-4 of it."""
    odds = np.exp(np.linspace(-8, 8, 4001))  # how often the second key occurs
    worst = 0.0
    for first, second in ((-bound, bound), (bound, -bound), (0.0, -bound), (-bound, 0.0), (0.0, bound)):
        exact, cut = (1 / (1 + odds * g(second) / g(first)) for g in (math.exp, lambda s: series(s, order)))
        worst = max(worst, 2 * np.abs(exact - cut).max())
    law = theory.row_error_bound(order, bound)
    assert law * (1 - 1e-4) < worst <= law * (1 + 1e-12)
    eps = bound ** (order + 1) * math.exp(bound) / math.factorial(order + 1)
    steps = (1 + eps) / (1 - eps) - 1 if eps < 1 else math.inf
    assert theory.published_row_error_bound(order, bound) == pytest.approx(steps)
    assert theory.published_row_error_bound(order, bound) > law


def test_bounds_where_a_weight_can_vanish_are_infinite():
    assert theory.row_error_bound(1, 1.0) == theory.published_row_error_bound(2, 1.96) == math.inf
    assert theory.row_error_bound(6, 0.1) < 1e-8


def test_slopes_reach_one_half():
    def jacobian(s):
        f1, f2 = 1 + s, ((1 + s) ** 2 + 1) / 2
        P = f2 / f2.sum()
        return (np.diag(P) - np.outer(P, P)) * (f1 / f2)

    assert np.linalg.norm(jacobian(np.zeros(2)), 2) == pytest.approx(theory.slope_bound(), rel=1e-12)
    drawn = np.random.default_rng(0).normal(size=(300, 2))
    assert 0.45 < max(np.linalg.norm(jacobian(s), 2) for s in drawn) <= theory.slope_bound()


def test_the_largest_weight_is_that_of_the_best_row():
    s = np.array([2.0, -1.0, -1.0])
    w = series(s, 2)
    assert theory.largest_weight_bound(4, 3) == pytest.approx(w[0] / w.sum())
    assert theory.crossover_length(16, 16, 2) == pytest.approx(2 * 153 * 17 / 32)
