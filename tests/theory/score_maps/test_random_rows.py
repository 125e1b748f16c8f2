"""Laws of random rows: limits that are known, brute-force samples, and the idle head's flow integrated."""

import math

import numpy as np
import pytest
from scipy import integrate

from attnlab.theory.score_maps import clipped, gradients, idle, length_scaled_softplus, signed, softpick
from attnlab.theory.score_maps import random_rows as theory


def test_limits_are_the_closed_forms_of_the_single_maps():
    for s in (0.25, 1.0, 2.0):
        scores = theory.gaussian_scores(s)
        assert theory.participation_law("softmax", scores, 9).limit == pytest.approx(math.exp(s * s), rel=1e-9)
        assert theory.participation_law("signed", scores, 9).limit == pytest.approx(signed.participation(s), rel=1e-9)
        law = theory.participation_law("softplus", scores, 9).limit
        assert law == pytest.approx(length_scaled_softplus.participation(s), rel=1e-8)
        assert theory.entropy_deficit_law("softmax", scores, 9).limit == pytest.approx(s * s / 2, rel=1e-9)
        assert theory.softpick_row_sum_law(s, 9).limit == softpick.row_sum(s)


def test_relu_loses_the_stated_entropy_and_softplus_never_more():
    bound = (math.log(2) - np.euler_gamma) / 2 + math.log(2 * math.pi) / 2
    lost = [theory.entropy_deficit_law("softplus", theory.gaussian_scores(s), 9).limit for s in (0.5, 2.0, 8.0, 50.0)]
    assert theory.entropy_deficit_law("relu", theory.gaussian_scores(1.0), 9).limit == pytest.approx(bound, rel=1e-6)
    assert lost == sorted(lost) and bound - 0.01 < lost[-1] < bound


def test_cosines_of_random_directions_have_variance_one_over_d():
    for d in (3, 16, 64):
        assert theory.cosine_scores(d, 2.0).of(lambda s: s**2) == pytest.approx(4 / d, rel=1e-10)
    with pytest.raises(ValueError, match="dim"):
        theory.cosine_scores(2, 1.0)


@pytest.mark.parametrize("which", ["softpick", "zeros", "kept", "participation", "entropy"])
def test_spread_and_first_dropped_term_are_those_of_samples(which):
    """n = 200, 20,000 rows: the spread to 3 % (2 / sqrt(rows) and O(1/n)); the mean to 4 standard errors and (10 / n) of the
    first term.

    Twin: 20 % more spread.
    """
    n, s, rows = 200, 0.5, 20_000
    z = s * np.random.default_rng(3).standard_normal((rows, n))
    e, gamma = np.exp(z), -1.5 / n
    p = e / e.sum(1, keepdims=True)
    W = np.clip((1 - gamma) * p + gamma, 0, 1)
    scores = theory.gaussian_scores(s)
    measured, law = {
        "softpick": lambda: (np.maximum(e - 1, 0).sum(1) / np.abs(e - 1).sum(1), theory.softpick_row_sum_law(s, n)),
        "zeros": lambda: ((W == 0).mean(1), theory.clipped_zero_share_law(s, n, gamma)),
        "kept": lambda: (W.sum(1), theory.clipped_kept_mass_law(s, n, gamma)),
        "participation": lambda: (n * (p**2).sum(1), theory.participation_law("softmax", scores, n)),
        "entropy": lambda: (math.log(n) + (p * np.log(p)).sum(1), theory.entropy_deficit_law("softmax", scores, n)),
    }[which]()
    ratio = measured.std() / law.std
    assert abs(ratio - 1) < 0.03 < abs(ratio / 1.2 - 1)
    error = 4 * measured.std() / math.sqrt(rows)
    gap = measured.mean() - law.limit
    if which == "kept":  # a bound
        assert abs(gap) < law.dropped + error
    else:
        assert abs(gap - law.dropped) < 0.1 * abs(law.dropped) + error


def test_clipped_softmax_that_cuts_nothing_is_softmax():
    assert clipped.kept_mass(0.5, 1000, -1e-12) == pytest.approx(1.0, abs=1e-8)
    assert theory.clipped_zero_share_law(0.5, 1000, -1e-12).limit == 0


def test_the_chance_to_leave_the_hull_is_that_of_samples():
    """Five values, 100,000 rows, binomial error 4 sigma = 0.0064. Twin: a Gaussian in place of the coordinate of a direction."""
    v = np.array([1.0, -0.5, 0.2, 0.3, -1.4])
    s = np.random.default_rng(0).standard_normal((100_000, 5))
    c = s - s.mean(1, keepdims=True)
    out = (c / c.std(1, keepdims=True)) @ v
    share = ((out > v.max()) | (out < v.min())).mean()
    law = float(theory.outside_hull_given_values_exact(v.max(), v.min(), v.var(), 5))
    size = math.sqrt(5) * v.std()
    gaussian = 0.5 * (math.erfc(v.max() / size / math.sqrt(2)) + math.erfc(-v.min() / size / math.sqrt(2)))
    assert abs(share - law) < 0.0064 < abs(share - gaussian)


def test_the_largest_weight_is_that_of_samples():
    """Median of 2,000 rows of 1000: 4 sigma of a median, 2 %, and the normaliser's 1/n. Twin for signed: n in place of 2 n
    scores."""
    z = np.random.default_rng(1).standard_normal((2000, 1000))
    sizes = {"softmax": np.exp(z), "signed": np.exp(np.abs(z))}
    for name, e in sizes.items():
        top = np.median((e / e.sum(1, keepdims=True)).max(1))
        law = theory.largest_weight_median_limit(name, theory.gaussian_scores(1.0), 1000, 1.0)
        assert top == pytest.approx(law, rel=0.03)
    assert abs(top / theory.largest_weight_median_limit(name, theory.gaussian_scores(1.0), 500, 1.0) / 2 - 1) > 0.03


def test_reweighting_with_power_one_and_no_offset_changes_nothing():
    scores = theory.cosine_scores(16, 5.0)
    law = theory.participation_law("softplus", scores, 9).limit
    assert theory.reweighted_participation_limit(scores, 1, 0.0) == pytest.approx(law, rel=1e-12)
    assert theory.reweighted_participation_limit(scores, 2, 0.0) > law


def test_the_idle_flow_is_that_of_an_integrator_and_ends_like_a_root():
    for n in (2, 4, 100):

        def slope(t, u, n=n):
            r = 1 / (1 + math.exp(u[0]))
            return [n / (n - 1) * r**2 * (1 - r)]

        found = integrate.solve_ivp(slope, (0, 50), [-math.log(n - 1)], rtol=1e-11, atol=1e-12).y[0, -1]
        assert idle.softmax_gap_exact(50.0, n)[0] == pytest.approx(found + math.log(n - 1), abs=1e-8)
    late = 1e8
    assert idle.softmax_rest_exact(late, 4)[0] == pytest.approx((2 * late * 4 / 3) ** -0.5, rel=1e-3)
    assert idle.softmax_gap_exact(0.0, 4)[0] == 0


def test_the_clipped_gap_is_where_nothing_is_left():
    gap = idle.clipped_gap_limit(4, -0.05)
    p = 1 / (math.exp(gap) + 3)
    assert 1.05 * p - 0.05 == pytest.approx(0, abs=1e-15)
    with pytest.raises(ValueError, match="gamma=-0"):
        idle.clipped_gap_limit(4, -0.9)


@pytest.mark.parametrize("name", ["softmax", "softplus", "softpick", "signed", "clipped", "standardised"])
def test_gradients_are_finite_differences(name):
    """Central differences with h = 1e-6: 1e-9 of truncation and rounding."""
    rng = np.random.default_rng(7)
    s, P, n = rng.standard_normal(8), rng.standard_normal(8), 8

    def weights(x):
        e = np.exp(x)
        return {
            "softmax": lambda: e / e.sum(),
            "softplus": lambda: np.log1p(e) / np.log1p(e).sum(),
            "softpick": lambda: np.maximum(e - 1, 0) / np.abs(e - 1).sum(),
            "signed": lambda: np.sign(x) * np.exp(np.abs(x)) / np.exp(np.abs(x)).sum(),
            "clipped": lambda: np.clip(1.1 * e / e.sum() - 0.1, 0, 1),
            "standardised": lambda: (x - x.mean()) / (x.std() + 1e-3),
        }[name]()

    more = (-0.1,) if name == "clipped" else ()
    law = getattr(gradients, f"{name}_gradient")(s, P, *more)
    h = 1e-6
    brute = [(weights(s + h * d) - weights(s - h * d)) @ P / (2 * h) for d in np.eye(n)]
    assert np.abs(law - brute).max() < 1e-8
    with pytest.raises(ValueError, match="equal shapes"):
        gradients.softmax_gradient(s, P[:3])


def test_distance_of_two_maps_with_its_first_correction():
    """1000 rows of 400 normal scores, series of order 2 against softmax: mean and spread within four standard errors.

    The spread errs by 1/sqrt(2 * 1000) and by what its own next order leaves, a tenth at 400 keys. Twin: without the correction
    of short rows of a wide spread.
    """
    n, rows_drawn = 400, 1000
    s = 1.5 * np.random.default_rng(3).standard_normal((rows_drawn, n))
    cut, full = (f / f.sum(1, keepdims=True) for f in (1 + s + s**2 / 2, np.exp(s)))
    found = np.abs(cut - full).sum(1)
    law = theory.distance_law("series 2", "softmax", theory.gaussian_scores(1.5), n)
    error = found.std() / math.sqrt(rows_drawn)
    assert abs(found.mean() - law.limit - law.dropped) < 4 * error < abs(found.mean() - law.limit)
    assert abs(found.std() / law.std - 1) < 4 / math.sqrt(2 * rows_drawn) + 0.1


def test_series_are_softmax_in_the_limit_and_cut_at_zero():
    scores = theory.gaussian_scores(0.5)
    dropped = scores.of(lambda s: np.abs(s) ** 9) / math.factorial(9)  # 1.6e-6
    assert theory.distance_law("series 8", "softmax", scores, 100).limit == pytest.approx(dropped, rel=0.1)
    assert theory.participation_law("series 2", scores, 100).limit == pytest.approx(11 / 9, rel=1e-9)
    assert theory.size("series 1")(np.array([-2.0, 0.0])).tolist() == [0.0, 1.0]
