"""Laws of fixed patterns where another formula gives the same number."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from attnlab.theory.fixed_patterns import combiner, halo, hilo, influence, layout_attention, lsg, neighbourhood


@pytest.mark.parametrize(("factor", "s", "d"), [(4, 1.0, 2), (8, 0.7, 2)])
def test_kept_mass_of_two_channels_by_an_integral_over_the_radius(factor, s, d):
    """The weight e^{s k_1 - s^2/2} moves a coordinate by s; the length of a plane vector has a Bessel density (Rice)."""
    radius = math.sqrt(2 * math.log(factor))  # P(|k| > r) = e^{-r^2/2} = 1/f
    kept = integrate.quad(lambda r: r * math.exp(-(r * r + s * s) / 2) * float(np.i0(r * s)), radius, radius + 20)[0]
    assert lsg.kept_by_norm_limit(factor, s, d) == pytest.approx(kept, rel=1e-7)


def test_the_normal_form_of_kept_mass_is_its_limit_of_wide_keys():
    """|k|^2 is normal of mean d and variance 2 d, and moves by s^2: to the next order, 1/sqrt d."""
    for d in (10**6, 10**8):
        s = 0.8 * (2 * d) ** 0.25
        exact = stats.norm.cdf(s**2 / math.sqrt(2 * d) - stats.norm.isf(1 / 16))
        assert (
            lsg.kept_by_norm(16, s, d)
            == pytest.approx(exact)
            == pytest.approx(lsg.kept_by_norm_limit(16, s, d), rel=3 / d**0.25)
        )


def test_reach_counts_blocks_and_what_they_stand_for():
    """Each layer moves by the own block's neighbour and by f blocks of thinned keys."""
    assert lsg.reach(1, 8, 4) == 8 + 4 * 8 and lsg.reach(3, 8, 4) == 3 * lsg.reach(1, 8, 4)
    assert lsg.keys_per_query(16, 2) == 3 * 16 + 2 * 16 + 2


def test_shares_of_halos_are_counts_of_cells():
    block, h = 6, 2
    gathered = np.ones((block + 2 * h,) * 2)
    window = np.ones((2 * h + 1,) * 2)
    assert halo.useful_share(block, h) == pytest.approx(window.sum() / gathered.sum())
    assert halo.overhead(block, h) == pytest.approx(gathered.sum() / block**2)


def test_moments_of_windows_are_those_of_uniform_steps():
    sizes = (3, 5, 8)
    steps = [np.arange(w) for w in sizes]
    assert influence.mean_of_causal_windows(sizes) == pytest.approx(sum(x.mean() for x in steps))
    assert influence.spread_of_windows(sizes) == pytest.approx(math.sqrt(sum(x.var() for x in steps)))
    assert neighbourhood.influence_std(5, 3) == pytest.approx(math.sqrt(3 * np.arange(5).var()))


@pytest.mark.parametrize("causal", [False, True])
def test_pairs_of_neighbourhoods_are_counted_one_by_one(causal):
    n, k, step = 9, 3, 2

    def seen(i):
        if causal:
            return len([j for j in range(i - (k - 1) * step, i + 1, step) if j >= 0])
        return k

    assert neighbourhood.visible_cells((1, n), k, causal, (1, step)) == sum(map(seen, range(n)))


def test_the_cheapest_spans_and_windows_are_where_the_cost_is_least():
    n, best = 128, combiner.cheapest_span(128)

    def pairs(s):
        return s + 2 * n / s

    assert pairs(best) < min(pairs(0.99 * best), pairs(1.01 * best))
    share, window = 0.9, hilo.cheapest_window(1000, 0.9)
    costs = [hilo.attention_per_token(1000, share, x * window) for x in (0.99, 1.0, 1.01)]
    assert costs[1] < min(costs[0], costs[2])


def test_the_largest_of_two_and_three_normal_numbers():
    assert combiner.largest_normal(2) == pytest.approx((1 / math.sqrt(math.pi), 1 - 1 / math.pi))
    mean = 3 / (2 * math.sqrt(math.pi))
    assert combiner.largest_normal(3) == pytest.approx((mean, 1 + math.sqrt(3) / (2 * math.pi) - mean**2))
    assert combiner.region_shift_std(1.5, 2.0) == 3


def test_filters_and_eigenvalues_at_known_points():
    assert hilo.box_filter(0.0, 4) == 1 and hilo.box_filter(math.pi / 2, 2) == pytest.approx(math.cos(math.pi / 4))
    assert hilo.energy_off_the_mean(0.4, 4) == pytest.approx(0.15)
    assert layout_attention.second_eigenvalue_limit(math.sqrt(math.log(5)), 400) == pytest.approx(0.1)
    assert layout_attention.published_share_of_attention(4, 16, 64) == pytest.approx((16 + 256) / 512)
