"""Expansions of Gaussian rows, norms, weights and risks against integrals, optimisers and sums that are not the formulas again."""

import math

import numpy as np
import pytest
from scipy import integrate, optimize, special, stats

from attnlab.theory.score_statistics import denoising, gaussian_rows, selectivity


@pytest.mark.parametrize(("n", "s"), [(2, 0.2), (3, 0.1)])
def test_expansions_of_short_flat_rows_are_integrals_to_second_order(n, s):
    """At small s every moment is polynomial; Gauss-Hermite over all n scores is exact. What is dropped is O(s^4)."""
    x, w = np.polynomial.hermite_e.hermegauss(20)
    grid = np.stack(np.meshgrid(*[s * x] * n, indexing="ij"), -1).reshape(-1, n)
    weight = np.prod(np.stack(np.meshgrid(*[w / w.sum()] * n, indexing="ij"), -1).reshape(-1, n), axis=1)
    p = special.softmax(grid, axis=1)
    entropy, spikiness = -(p * np.log(p)).sum(1), 1 / (n * (p**2).sum(1))
    assert weight @ entropy == pytest.approx(gaussian_rows.entropy_approx(n, s), abs=3 * s**4)
    assert weight @ spikiness == pytest.approx(gaussian_rows.spikiness_approx(n, s), abs=12 * s**4)


def test_stds_are_those_of_the_influence_functions():
    """The variance of one key's influence on the row, by quadrature over its score."""
    s, n, tau = 0.7, 100, 0.9

    def mean(f):
        return integrate.quad(lambda z: f(z) * stats.norm.pdf(z, scale=s), -9 * s, 9 * s, epsabs=1e-13)[0]

    a, b, c = mean(np.exp), mean(lambda z: np.exp(2 * z)), mean(lambda z: z * np.exp(z))
    entropy = mean(lambda z: ((1 + c / a) * (np.exp(z) / a - 1) - (z * np.exp(z) - c) / a) ** 2)
    assert gaussian_rows.entropy_std(n, s) == pytest.approx(math.sqrt(entropy / n), rel=1e-9)
    spiky = mean(lambda z: (2 * (np.exp(z) / a - 1) - (np.exp(2 * z) / b - 1)) ** 2)
    assert gaussian_rows.spikiness_std(n, s) == pytest.approx(a**2 / b * math.sqrt(spiky / n), rel=1e-9)
    t = mean(lambda z: np.exp(tau * z))
    odds = mean(lambda z: (np.exp(tau * z) / t - 1) ** 2)
    assert gaussian_rows.log_odds_std(n, s, tau) == pytest.approx(math.sqrt(odds / n), rel=1e-9)
    tilted = mean(lambda z: ((z - tau * s * s) * np.exp(tau * z) / t) ** 2)
    assert gaussian_rows.tilted_mean_std(n, s, tau) == pytest.approx(math.sqrt(tilted / n), rel=1e-9)


def test_the_log_odds_are_largest_at_the_best_temperature_and_negative_below_the_threshold():
    n, s = 10**6, 1.3
    for g in (0.9 * s * math.sqrt(2 * math.log(n)), 1.1 * s * math.sqrt(2 * math.log(n))):
        at = gaussian_rows.best_inverse_temperature(g, s)
        found = optimize.minimize_scalar(lambda tau, g=g: tau**2 * s**2 / 2 - tau * g, bounds=(0, 9), method="bounded")
        assert found.x == pytest.approx(at)
        assert (-found.fun > math.log(n)) == (g > s * math.sqrt(2 * math.log(n)))
    assert gaussian_rows.log_odds_approx(1.0, n, s, 0.5) - (0.5 - 0.125 * s**2 - math.log(n)) == pytest.approx(
        math.expm1(0.25 * s**2) / (2 * n), rel=1e-3
    )


def test_the_spread_that_keeps_an_entropy_does_to_leading_order():
    s = gaussian_rows.spread_for_entropy(10**9, math.log(10**9) - 0.5)
    assert s == pytest.approx(1.0) and gaussian_rows.entropy_approx(10**9, s) == pytest.approx(math.log(10**9) - 0.5)
    with pytest.raises(ValueError, match="entropy="):
        gaussian_rows.spread_for_entropy(10, 5.0)


@pytest.mark.parametrize("angle", [1.5, 0.7, 0.05])
def test_the_least_norm_is_that_of_a_constrained_minimum(angle):
    """Three unknowns: W acts on the plane of the queries; a fine search over the free direction finds no smaller norm."""
    gaps, contrast = np.array([4.0, 1.5]), 1.7
    queries = np.array([[1, 0], [math.cos(angle), math.sin(angle)]])
    row = np.linalg.solve(queries, gaps) / contrast  # the row of W along the contrast
    assert selectivity.least_norm(*gaps, contrast, angle) == pytest.approx(np.linalg.norm(row), rel=1e-10)
    ratio = selectivity.least_norm(4, 0, contrast, angle) / selectivity.least_norm_with_temperature(4, contrast)
    assert ratio == pytest.approx(1 / math.sin(angle))
    with pytest.raises(ValueError, match="below pi"):
        selectivity.least_norm(1, 1, 1, 4.0)


def test_published_figures_of_the_sheet():
    assert selectivity.least_norm(4, 0, 4 / (12.761 * math.sin(0.1)), 0.1) == pytest.approx(12.761, rel=1e-4)
    weights = [selectivity.weight_of_gap(4, n) for n in (64, 256, 1024, 4096, 65536)]
    assert weights == pytest.approx([0.464, 0.176, 0.051, 0.013, 0.0008], abs=6e-4)
    taus = [selectivity.temperature_for_weight(0.9, 4, n) for n in (64, 256, 1024, 4096, 65536)]
    assert taus == pytest.approx([1.585, 1.935, 2.282, 2.629, 3.322], abs=6e-4)
    assert np.diff(taus) / np.diff(np.log([63, 255, 1023, 4095, 65535])) == pytest.approx(0.25)


def test_power_laws():
    assert selectivity.top_weight_of_a_power_law(200_000, 2.0) == pytest.approx(6 / math.pi**2, rel=1e-5)
    assert selectivity.top_weight_of_a_power_law(10_000, 0.0) == pytest.approx(1e-4)
    one = selectivity.top_weight_of_a_power_law(10_000, 1.0)
    assert one == pytest.approx(1 / (math.log(10_000) + np.euler_gamma), rel=1e-4)


def test_gap_and_weight_are_inverse():
    for n in (2, 50):
        assert selectivity.weight_of_gap(selectivity.gap_for_weight(0.3, n), n) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="strictly between"):
        selectivity.gap_for_weight(1.0, 5)


@pytest.mark.parametrize(("n", "r", "s"), [(3, 0.4, 0.7), (12, 0.25, 0.5)])
def test_risks_are_sums_over_every_set_of_signal_tokens(n, r, s):
    """Weights of the estimator on each token give bias and variance; binomial counts are enumerated as sets."""
    risks = dict.fromkeys(("uniform", "gated", "unnormalised", "bayes"), 0.0)
    squares = dict(risks)
    for code in range(2**n):
        signal = np.array([code >> j & 1 for j in range(n)])
        chance, k = r ** signal.sum() * (1 - r) ** (n - signal.sum()), signal.sum()
        weights = {
            "uniform": np.full(n, 1 / n),
            "gated": signal / max(k, 1),
            "unnormalised": signal / (r * n),
            "bayes": signal / (k + s**2),
        }
        for name, w in weights.items():
            value = (1 - (w * signal).sum()) ** 2 + (w**2 * np.where(signal, s**2, 1)).sum()
            risks[name] += chance * value
            squares[name] += chance * value**2
    laws = {
        "uniform": denoising.risk_of_uniform_weights_exact,
        "gated": denoising.risk_of_a_value_gate_exact,
        "unnormalised": denoising.risk_of_a_gate_without_renormalisation_exact,
        "bayes": denoising.risk_of_bayes_exact,
    }
    for name, law in laws.items():
        assert law(n, r, s) == pytest.approx(risks[name], rel=1e-10)
        std = math.sqrt(2 * squares[name] / 5 + squares[name] - risks[name] ** 2)
        assert denoising.std_of_one_task_exact(name, n, r, s, 5) == pytest.approx(std, rel=1e-9)


def test_bayes_is_the_least_of_the_four_and_limits():
    sizes = 64, 0.25, 0.5
    bayes = denoising.risk_of_bayes_exact(*sizes)
    assert (
        bayes
        < denoising.risk_of_a_value_gate_exact(*sizes)
        < denoising.risk_of_a_gate_without_renormalisation_exact(*sizes)
    )
    assert denoising.risk_of_a_value_gate_exact(7, 1.0, 0.5) == pytest.approx(0.25 / 7)
    assert denoising.risk_of_bayes_exact(7, 0.0, 0.5) == 1.0
    for name, bad in dict(n_tokens=0, share=1.5, noise_std=-1).items():
        with pytest.raises(ValueError, match=name):
            denoising.risk_of_bayes_exact(**dict(n_tokens=7, share=0.5, noise_std=1.0) | {name: bad})
    with pytest.raises(ValueError, match="estimator="):
        denoising.std_of_one_task_exact("best", 7, 0.5, 1.0, 3)
    with pytest.raises(ValueError, match="share=0"):
        denoising.risk_of_a_gate_without_renormalisation_exact(7, 0.0, 1.0)
