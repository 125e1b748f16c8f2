"""The exact laws of the log-sum-exp against quadrature over all scores, sampling at other seeds, limits and identities."""

import math

import numpy as np
import pytest
from scipy import integrate, special, stats

from attnlab.theory.score_statistics import gaussian_rows, log_sum


@pytest.mark.parametrize(("n", "s"), [(1, 1.3), (2, 1.0), (3, 0.7)])
def test_few_scores_by_gauss_hermite(n, s):
    x, w = np.polynomial.hermite_e.hermegauss(60)
    grid = np.stack(np.meshgrid(*[s * x] * n, indexing="ij"), -1).reshape(-1, n)
    weight = np.prod(np.stack(np.meshgrid(*[w / w.sum()] * n, indexing="ij"), -1).reshape(-1, n), axis=1)
    p = special.softmax(grid, axis=1)
    log_mean = special.logsumexp(grid, axis=1) - math.log(n)
    assert weight @ log_mean == pytest.approx(log_sum.mean_log_mean_exact(n, s), abs=1e-8)
    assert weight @ special.entr(p).sum(1) == pytest.approx(log_sum.mean_entropy_exact(n, s), abs=1e-8)
    assert weight @ (p**2).sum(1) == pytest.approx(log_sum.mean_participation_exact(n, s), abs=1e-8)


@pytest.mark.parametrize("s", [1.0, 3.0, 6.0])
def test_sampling_below_at_and_beyond_freezing(s):
    n, z = 300, s * np.random.default_rng(11).standard_normal((4000, 300))
    p = special.softmax(z, axis=1)
    for law, x in (
        (log_sum.mean_log_mean_exact, special.logsumexp(z, axis=1) - math.log(n)),
        (log_sum.mean_entropy_exact, special.entr(p).sum(1)),
        (log_sum.mean_participation_exact, (p**2).sum(1)),
    ):
        assert x.mean() == pytest.approx(law(n, s), abs=4.5 * x.std() / math.sqrt(len(x)))
    assert special.logsumexp(z, axis=1).std() <= log_sum.std_log_mean_bound(n, s) * 1.05


def test_first_orders_and_limits():
    assert log_sum.mean_log_mean_exact(4096, 0.5) == pytest.approx(0.125 - math.expm1(0.25) / 8192, abs=1e-8)
    assert log_sum.mean_entropy_exact(65536, 0.75) == pytest.approx(gaussian_rows.entropy_approx(65536, 0.75), abs=1e-8)
    assert log_sum.mean_participation_exact(65536, 1.0) * 65536 == pytest.approx(math.e, rel=1e-3)
    for s in (0.7, 1.6):  # in units of the freezing spread the limit is nearer on longer rows
        gaps = []
        for n in (100, 10_000, 1_000_000):
            spread = s * log_sum.freezing_spread(n)
            gaps.append(abs(log_sum.mean_log_mean_exact(n, spread) / log_sum.mean_log_mean_limit(n, spread) - 1))
        assert gaps[0] > gaps[1] > gaps[2]
    s = log_sum.freezing_spread(500)
    assert log_sum.mean_log_mean_limit(500, s) == pytest.approx(log_sum.mean_log_mean_limit(500, s * (1 + 1e-12)))


def test_the_published_fluctuation_and_numbers_of_the_sheet():
    assert log_sum.std_log_mean_approx(1024, 1.0) == pytest.approx(0.0410, abs=5e-5)
    assert log_sum.mean_log_mean_exact(1024, 2.0) == pytest.approx(1.987, abs=0.01)
    assert log_sum.mean_log_mean_exact(1024, 4.0) == pytest.approx(7.10, abs=0.08)
    separations = [log_sum.log_mean_of_clusters_exact((0.9, 0.1), (0, x), (1, 1)) for x in (1, 2, 3)]
    assert separations == pytest.approx([0.6586, 0.994, 1.568], abs=5e-4)
    for order, values in {2: (0.645, 0.88, 1.205), 3: (0.657, 0.976, 1.529), 4: (0.6587, 1.0036, 1.6687)}.items():
        found = [log_sum.log_mean_of_pooled_clusters((0.9, 0.1), (0, x), (1, 1), order) for x in (1, 2, 3)]
        assert found == pytest.approx(values, abs=6e-4)


def test_cumulants_of_a_mixture_are_derivatives_of_its_log_mean():
    w, m, v = (0.3, 0.7), (0.4, -0.2), (0.5, 1.5)

    def law(t):
        return log_sum.log_mean_of_clusters_exact(w, np.array(m) * t, np.array(v) * t * t)

    h = 1e-2
    second = (law(h) - 2 * law(0) + law(-h)) / h**2
    third = (law(2 * h) - 2 * law(h) + 2 * law(-h) - law(-2 * h)) / (2 * h**3)
    orders = [log_sum.log_mean_of_pooled_clusters(w, m, v, k) for k in (2, 3)]
    assert orders[0] == pytest.approx((law(h) - law(-h)) / (2 * h) + second / 2, abs=2e-4)
    assert orders[1] - orders[0] == pytest.approx(third / 6, abs=2e-4)


def test_the_spread_of_cluster_means_is_that_of_its_parts():
    w, m, v, n = (0.8, 0.2), (0.0, 1.5), (1.0, 0.3), 200
    rng = np.random.default_rng(5)
    parts = [
        np.exp(mean + math.sqrt(var) * rng.standard_normal((20_000, round(share * n))))
        for share, mean, var in zip(w, m, v, strict=True)
    ]
    sampled = np.log(np.concatenate(parts, axis=1).mean(1)).std()
    assert log_sum.std_of_cluster_log_mean_approx(w, m, v, n) == pytest.approx(sampled, rel=0.04)


def test_flips_are_an_integral_over_margins():
    sigma, w = 0.05, 0.4
    share = integrate.quad(lambda x: stats.norm.cdf(-abs(x) / sigma), -w, w, points=[0])[0] / (2 * w)
    assert log_sum.flip_rate_approx(sigma, w) == pytest.approx(share, rel=1e-8)
    errors = sigma * np.random.default_rng(0).standard_normal(40_000)
    margins = np.random.default_rng(1).uniform(-w, w, (40_000, 6))
    shares = ((margins > 0) != (margins + errors[:, None] > 0)).mean(1)
    assert log_sum.flip_rate_std_approx(sigma, w, 6) == pytest.approx(shares.std(), rel=0.03)
    with pytest.raises(ValueError, match="5 \\* error_std"):
        log_sum.flip_rate_approx(0.2, 0.4)


def test_estimated_moments_add_their_own_error():
    rng, v, n, fit = np.random.default_rng(2), 1.1**2, 400, 300
    z, y = 1.1 * rng.standard_normal((6000, n)), 1.1 * rng.standard_normal((6000, fit))
    error = np.log(np.exp(z).mean(1)) - (y.mean(1) + y.var(1, ddof=1) / 2)
    assert log_sum.std_of_estimated_log_sum_approx(n, fit, 1.1) == pytest.approx(error.std(), rel=0.04)
    assert log_sum.std_of_estimated_log_sum_approx(n, 10**9, 1.1) == pytest.approx(
        math.sqrt(math.expm1(v) / n), rel=1e-5
    )


def test_cost_and_wrong_arguments():
    assert log_sum.decision_multiply_adds(64, 144) == 64 * 64 + 2 * 64 + 144 * 64
    for weights in ((0.5, 0.6), (1.2, -0.2), (1.0,)):
        with pytest.raises(ValueError, match="weights="):
            log_sum.log_mean_of_clusters_exact(weights, (0, 1), (1, 1))
    with pytest.raises(ValueError, match="variances="):
        log_sum.log_mean_of_clusters_exact((0.5, 0.5), (0, 1), (1, -1))
    with pytest.raises(ValueError, match="order="):
        log_sum.log_mean_of_pooled_clusters((0.5, 0.5), (0, 1), (1, 1), 5)
    with pytest.raises(ValueError, match="spread="):
        log_sum.mean_log_mean_exact(10, 0.0)
