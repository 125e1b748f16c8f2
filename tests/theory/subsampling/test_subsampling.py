"""Moments of subsets against all subsets listed, ensembles and unequal chances against sums, blocks against permutations."""

import itertools
import math

import numpy as np
import pytest

from attnlab.theory.sparse_selection import random_keys
from attnlab.theory.subsampling import paths, ratios


def given(n=9, spread=0.3, seed=0):
    rng = np.random.default_rng(seed)
    e = np.exp(spread * rng.standard_normal(n))
    return e / e.sum(), rng.standard_normal((n, 2))


def test_moments_of_means_of_subsets_are_those_of_all_subsets():
    """Second, third and fourth moments of centred numbers, exact to rounding. Twin: m - 1 keys."""
    rng, n, m = np.random.default_rng(1), 8, 5
    a, b = (x - x.mean() for x in rng.standard_normal((2, n)))
    every = [list(J) for J in itertools.combinations(range(n), m)]
    A, B = (np.array([x[J].mean() for J in every]) for x in (a, b))

    def laws(kept):
        second, third = ratios.subset_factors(n, kept)
        g, h = ratios.fourth_factors(n, kept)
        fourth = g * (a * b**3).sum() + 3 * h * (a * b).sum() * (b * b).sum()
        return np.array([second * (a * b).mean(), third * (a * b * b).mean(), fourth])

    found = np.array([(A * B).mean(), (A * B * B).mean(), (A * B**3).mean()])
    assert np.abs(laws(m) - found).max() < 1e-14
    assert (np.abs(laws(m - 1) - found) > 0.1 * np.abs(found)).all()


def test_first_order_is_that_of_the_operator_and_all_keys_leave_nothing():
    p, v = given()
    bias, variance = ratios.output_moments_approx(p, v, 4, order=1)
    assert np.allclose(bias, random_keys.output_bias_approx(p, v, 4))
    assert np.allclose(variance, random_keys.output_variance_approx(p, v, 4))
    for order in (1, 2):
        assert np.abs(ratios.output_moments_approx(p, v, 9, order)).max() < 1e-14
    assert ratios.log_normaliser_shift_approx(p, 9) == pytest.approx(0, abs=1e-14)


def test_second_order_is_nearer_to_all_subsets_than_first():
    """n = 12, m = 4, spread 0.3: what is left is within its bound, which is below half of what second order adds."""
    p, v = given(12)
    every = np.array([list(J) for J in itertools.combinations(range(12), 4)])
    out = (p[every][..., None] * v[every]).sum(1) / p[every].sum(1)[:, None]
    true = out.mean(0) - p @ v, out.var(0)
    first, second = (ratios.output_moments_approx(p, v, 4, order) for order in (1, 2))
    for k, bound in enumerate(ratios.third_order_bound(p, v, 4)):
        size = np.linalg.norm(first[k]) if k == 0 else first[k].sum()
        gap = [np.linalg.norm(x[k] - true[k]) if k == 0 else abs((x[k] - true[k]).sum()) for x in (second, first)]
        assert gap[0] < bound * size and gap[0] < gap[1] / 2
    logs = np.log(p[every].sum(1))
    V = ratios.normaliser_variance_exact(p, 4)
    assert V == pytest.approx((p[every].sum(1) * 3).var(), rel=1e-12)
    shift = ratios.log_normaliser_shift_approx(p, 4)
    assert -logs.mean() == pytest.approx(shift, abs=V**2) and abs(-logs.mean() - math.log(3)) > V / 3


def test_the_log_normaliser_sees_the_skewness_of_one_heavy_key():
    """One key of weight 0.2 among 12, m = 4: the third moment is 0.0041, a fourth of the fourth one 0.0004, the margin 0.001."""
    p = np.r_[0.2, np.full(11, 0.8 / 11)]
    kept = np.array([p[list(J)].sum() for J in itertools.combinations(range(12), 4)])
    assert -np.log(kept).mean() == pytest.approx(ratios.log_normaliser_shift_approx(p, 4), abs=0.001)
    assert ((3 * kept - 1) ** 3).mean() > 0.004


def test_an_ensemble_of_one_has_both_parts_and_a_large_one_the_bias():
    p, v = given()
    bias, variance = ratios.output_moments_approx(p, v, 3)
    assert ratios.ensemble_error_approx(p, v, 3, 1) == pytest.approx(bias @ bias + variance.sum())
    assert ratios.ensemble_error_approx(p, v, 3, 10**9) == pytest.approx(bias @ bias, rel=1e-5)


def test_unequal_chances_by_all_outcomes():
    """Fourteen keys kept independently, all outcomes with a key. A key that is lost moves the output by 1/(1 - p) of first
    order: 3 max p covers that and second order. Twin: without 1 - pi."""
    p, v = given(14, seed=3)
    pi = np.linspace(0.97, 0.6, 14)
    kept = np.array(list(itertools.product((0.0, 1.0), repeat=14)))[1:]
    chance = np.where(kept > 0, pi, 1 - pi).prod(1)
    chance /= chance.sum()
    for corrected in (False, True):
        a = p / pi if corrected else p
        out = (kept * a) @ v / (kept @ a)[:, None]
        target = ratios.unequal_target_exact(p, v, pi, corrected)
        bias, variance = ratios.unequal_moments_approx(p, v, pi, corrected)
        assert np.linalg.norm(chance @ out - target - bias) < 3 * p.max() * np.linalg.norm(bias)
        true = (chance @ (out - target) ** 2).sum()
        whole = (pi * a**2 / (pi @ a) ** 2 @ (v - target) ** 2).sum()
        assert abs(true - variance.sum()) < 3 * p.max() * variance.sum() < abs(true - whole)
    assert np.allclose(ratios.unequal_target_exact(p, v, pi, True), p @ v)
    assert np.abs(ratios.unequal_target_exact(p, v, pi, False) - p @ v).max() > 1e-3


def test_reach_of_two_layers_is_that_of_all_pairs_of_blocks():
    """Six tokens in blocks of two: a block of the second layer, 15 pairs, meets {0, 1} in 9.

    Twin: independent tokens, 5/9 < 9/15.
    """
    assert paths.two_layer_reach_exact(6, 3) == pytest.approx(9 / 15)
    assert paths.two_layer_reach_approx(6, 3) == pytest.approx(5 / 9)
    assert paths.two_layer_reach_exact(8, 1) == 1 and paths.shared_block_exact(8, 8) == 0


def test_paths_are_those_of_all_permutations():
    blocks = np.array([[i // 2 for i in order] for order in itertools.permutations(range(4))])
    maps = (blocks[:, :, None] == blocks[:, None]).astype(float).mean(0)
    two = maps @ maps  # independent layers
    assert two.mean() == pytest.approx(paths.paths_exact(4, 2, 2))
    assert np.trace(two) / 4 == pytest.approx(paths.paths_to_oneself_exact(4, 2, 2))
    assert paths.block_multiply_adds(8, 3, 5, 4) == 8 * 2 * 8


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: paths.paths_exact(6, 4, 2), "n_blocks=4 must divide"),
        (lambda: ratios.subset_factors(5, 6), "n_kept=6"),
        (lambda: ratios.ensemble_error_approx([0.5, 0.5], [1.0, 2.0], 1, 1), "shapes"),
    ],
)
def test_errors_name_argument_and_value(call, words):
    with pytest.raises(ValueError, match=words):
        call()
