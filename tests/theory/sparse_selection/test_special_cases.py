"""Laws of sparse selection where another formula gives the same number: an error of a few per cent in a constant is seen."""

import math

import numpy as np
import pytest
from scipy import stats

from attnlab.theory.sparse_selection import (
    flex_prefill,
    groups,
    hip,
    long_heads,
    native_sparse,
    random_keys,
    rescaled_sparse,
    retained_mass,
    routing,
    routing_hits,
    seer,
)
from attnlab.theory.subsampling import ratios


@pytest.mark.parametrize("correlation", [0.2, 0.6, 0.9])
def test_two_clusters_are_told_by_the_sign_of_one_normal_number(correlation):
    """The winner is the sign of a difference, and signs agree with probability 1/2 + asin(rho)/pi."""
    signs = 0.5 + math.asin(correlation) / math.pi
    assert routing.same_cluster_exact(2, correlation) == pytest.approx(signs, rel=1e-9)


def test_the_power_law_has_the_exponent_of_rare_clusters():
    assert routing.power_law(16, 0.0) == pytest.approx(1 / 16) and routing.power_law(16, 0.5) == pytest.approx(
        16 ** (-1 / 3)
    )
    assert routing.power_law(100, 0.9) == pytest.approx(routing.power_law(10, 0.9) ** 2)


def test_the_cheapest_number_of_clusters_is_where_the_cost_is_least():
    n, best = 400, routing.cheapest_clusters(400)

    def cost(C):
        return C + n / C

    assert cost(best) < min(cost(0.99 * best), cost(1.01 * best))


@pytest.mark.parametrize(("score", "block"), [(3.0, 4), (20.0, 32)])
def test_of_two_blocks_one_is_chosen_by_one_difference(score, block):
    s = 1.3
    gap = (score / block) / math.sqrt(s**2 * (block - 1) / block**2 + s**2 / block)
    for law in (
        routing_hits.mean_hit_exact(score, s, block, 2, 1),
        native_sparse.sharpest_hit_exact(score, s, block, 1, 2, 1),
    ):
        assert law == pytest.approx(stats.norm.cdf(gap), rel=1e-9)
    assert routing_hits.max_hit_exact(score, s, 1, 2, 1) == pytest.approx(stats.norm.cdf(score / s), rel=1e-9)
    # three parts against three: the planted one, or one of two others, above the three of the other block
    x = np.linspace(-12, 12, 8001)
    part = block // 2
    own = stats.norm(score / part, s * math.sqrt(part - 1) / part)
    other = stats.norm(0, s / math.sqrt(part))
    density = np.gradient(own.cdf(x) * other.cdf(x) ** 2, x)
    law = native_sparse.sharpest_hit_exact(score, s, part, 3, 2, 1)
    assert law == pytest.approx(float(np.trapezoid(density * other.cdf(x) ** 3, x)), abs=2e-3)


def test_the_half_point_and_the_blind_zone_are_quantiles_of_the_noise_blocks():
    s, B, m = 1.2, 16, 40
    half = routing_hits.half_hit_score_of_means(s, B, m)
    assert stats.norm.cdf(half / B / (s / math.sqrt(B))) ** (m - 1) == pytest.approx(0.5)
    low, high = routing_hits.blind_zone(s, B, m)
    assert math.exp(low) == pytest.approx(B * m * math.exp(s * s / 2))
    assert math.exp(-((high / B / (s / math.sqrt(B))) ** 2) / 2) == pytest.approx(1 / m)


def test_log_normal_sums_have_the_first_two_moments_of_sums():
    """The routing by sums with its log-normal sums drawn by their quantiles, built from scipy's law and the two moments."""
    score, s, B, m, keep = 3.0, 1.0, 16, 12, 2
    mean, variance = math.exp(s * s / 2), math.exp(s * s) * math.expm1(s * s)

    def sums(count):
        spread = math.sqrt(math.log(1 + variance / (count * mean**2)))
        return stats.lognorm(spread, scale=count * mean / math.exp(spread**2 / 2))

    own = math.exp(score) + sums(B - 1).ppf((np.arange(20_000) + 0.5) / 20_000)
    law = np.mean(stats.binom.cdf(keep - 1, m - 1, sums(B).sf(own)))
    assert routing_hits.log_sum_hit_approx(score, s, B, m, keep) == pytest.approx(law, rel=1e-4)
    assert retained_mass.block_score_std(s, B) == pytest.approx(sums(B).kwds.get("s", sums(B).args[0]))


def test_two_heads_cover_what_a_bivariate_normal_law_says_and_one_head_its_own():
    m, k, rho = 400, 60, 0.35
    t = stats.norm.isf(k / m)
    both = stats.multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf([t, t])
    assert long_heads.union_of_heads_limit(m, k, 1, rho) == pytest.approx(k, rel=1e-6)
    assert long_heads.union_of_heads_limit(m, k, 2, rho) == pytest.approx(m * (1 - both), rel=1e-6)
    assert long_heads.union_of_heads_limit(m, k, 5, 0.0) == pytest.approx(m * (1 - (1 - k / m) ** 5), rel=1e-6)


@pytest.mark.parametrize(("n", "keep"), [(64, 4), (256, 16), (32, 16)])
def test_a_needle_survives_halvings_one_by_one(n, keep):
    """M halvings, each survived with 1/2; a representative at one of them is chosen for sure. Twin: no square."""
    halvings = int(math.log2(n / (2 * keep)))
    chance, represented, size = 0.0, 0.0, n // (2 * keep)
    for stage in range(halvings):
        here = 1 / size * 2**stage  # its chunk has size/2^stage keys, one of which represents it
        chance += here * (1 - 0) * 0.5 ** (halvings - 1)
        represented += here
    chance += (1 - represented) * 0.5**halvings
    assert hip.needle_recall(n, keep) == pytest.approx(chance, rel=1e-12) or halvings == 0


def test_weights_of_groups_come_as_near_their_bound_as_one_light_key():
    """A light key moves up by R r/sqrt d while all others move down: the ratio tends to the bound."""
    radius, norm, d = 0.4, 1.5, 9
    bound, shift = groups.ratio_bound(radius, norm, d), norm * radius / math.sqrt(d)
    light, heavy = 1e-9, 1.0
    true = light / (light + heavy)
    moved = light * math.exp(shift) / (light * math.exp(shift) + heavy * math.exp(-shift))
    assert moved / true == pytest.approx(bound, rel=1e-6)


def test_a_rescaled_window_errs_by_correlation_of_weights_and_values():
    """Weights w = e^{s a - s^2/2}, values independent of them: E w w' v v' over E w^2 is r e^{(r - 1) s^2}, by moments."""
    r, s = 0.5, 0.8
    same = math.exp(s * s)  # E w^2
    moved = r * math.exp(r * s * s)  # E w w' times E v v'
    outside, inside = 3.0, 5.0
    law = (2 * same - 2 * moved) / same * outside / (outside + inside)
    assert rescaled_sparse.squared_error_ratio_approx(r, s, outside, inside) == pytest.approx(law)
    assert rescaled_sparse.squared_error_ratio_approx(1.0, s, 1.0, 2.0) == 0


@pytest.mark.parametrize(("correlation", "share"), [(0.6, 0.2), (0.95, 0.05)])
def test_the_spread_of_a_kept_mass_is_that_of_its_influence(correlation, share):
    """The influence (1_K - g) w - c (1_K - f) of a key, squared and averaged over scores and proxies on a grid."""
    s = 0.9
    z, t = np.linspace(-9, 9, 6001), stats.norm.isf(share)
    density = stats.norm.pdf(z) * (z[1] - z[0])
    kept = stats.norm.sf((t - correlation * z) / math.sqrt(1 - correlation**2))  # chance given the score
    w = np.exp(s * z - s * s / 2)
    g = float(density @ (kept * w))
    c = math.exp(correlation * s * t - (correlation * s) ** 2 / 2)
    square = kept * ((1 - g) * w - c * (1 - share)) ** 2 + (1 - kept) * (-g * w + c * share) ** 2
    assert retained_mass.proxy_mass_limit(s, share, correlation) == pytest.approx(g, rel=1e-6)
    assert retained_mass.proxy_mass_std(s, share, correlation, 500) == pytest.approx(
        math.sqrt(float(density @ square) / 500), rel=1e-6
    )


def test_block_laws_are_the_best_choice_at_the_spread_of_blocks():
    assert seer.oracle_block_mass_approx(1.0, 0.25, 1) == pytest.approx(retained_mass.oracle_mass_limit(1.0, 0.25))
    t = stats.norm.isf(0.25)
    wide = math.sqrt(0.7**2 + math.log(1 + math.expm1(1.0) / 8))
    assert seer.oracle_block_mass_approx(1.0, 0.25, 8, 0.7) == pytest.approx(stats.norm.cdf(wide - t))
    share = flex_prefill.budget_share_limit(1.0, 0.9)
    assert share == pytest.approx(stats.norm.cdf(stats.norm.ppf(0.9) - 1.0))
    assert flex_prefill.retained_mass_approx(1.0, 0.9, 1) == pytest.approx(0.9)


def test_moments_of_random_subsets_are_those_of_a_ratio_of_sums():
    rng = np.random.default_rng(0)
    p = rng.random(30)
    p, v = p / p.sum(), rng.normal(size=(30, 2))
    bias, covariance = ratios.output_moments_approx(p, v, 12, 1)
    assert random_keys.output_bias_approx(p, v, 12) == pytest.approx(bias)
    assert random_keys.output_variance_approx(p, v, 12) == pytest.approx(covariance)
