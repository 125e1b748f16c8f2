"""Masses, sensitivities and flows against sampling, finite differences, matrices and false twins."""

import math

import numpy as np
import pytest
from scipy import special, stats

from attnlab.theory.source_attention import flow, mass, sensitivity


def test_masses_at_their_limits():
    assert mass.source_mass_limit(10, 0, 0.3) == 1 and mass.source_mass_limit(10, 30, 0.0) == pytest.approx(0.25)
    assert mass.source_mass_limit(10, round(10 * math.exp(2.0)), 2.0) == pytest.approx(0.5, abs=1e-3)
    assert mass.source_mass_approx(20, 20, 0.0, 0.7) == pytest.approx(0.5)  # by symmetry
    assert mass.source_mass_approx(9, 5, 0.4, 1e-9) == pytest.approx(mass.source_mass_limit(9, 5, 0.4))


def test_the_next_order_of_the_mass_on_samples():
    n, t, D, s, rows = 40, 40, 1.5, 0.8, 60_000
    scores = s * np.random.default_rng(3).standard_normal((rows, n + t))
    scores[:, :n] += D
    m = special.softmax(scores, axis=1)[:, :n].sum(1)
    error = m.std() / math.sqrt(rows)
    next_order = (math.expm1(s * s) / n) ** 2
    assert m.mean() == pytest.approx(mass.source_mass_approx(n, t, D, s), abs=4 * error + next_order)
    assert abs(m.mean() - mass.source_mass_limit(n, t, D)) > 4 * error + next_order  # the twin
    assert m.std() == pytest.approx(mass.source_mass_std(n, t, D, s), rel=0.05)  # v / n is 2 %


def test_the_bias_holds_the_mass_at_every_length():
    for t in (10, 1000, 100_000):
        b = mass.holding_bias(10, t, 0.3, margin=0.7)
        assert mass.source_mass_limit(10, t, 0.7 + b) == pytest.approx(0.3)
    assert mass.holding_bias(10, 1000, 0.5) - mass.holding_bias(10, 100, 0.5) == pytest.approx(math.log(10))


def test_the_two_paths_on_a_layer_differentiated_by_finite_differences():
    d, n, t, s = 4, 3, 2, 0.8
    rng = np.random.default_rng(0)
    x, W, q = rng.standard_normal((n + t, d)), rng.standard_normal((d, d)) / d**0.5, rng.standard_normal(d)
    w = s * q / np.linalg.norm(q)

    def output(x):
        return special.softmax(x @ w) @ x @ W.T

    a, h = special.softmax(x @ w), 1e-6
    for j in range(n):
        step = np.zeros_like(x)
        block = np.zeros((d, d))
        for i in range(d):
            step[:] = 0
            step[j, i] = h
            block[:, i] = (output(x + step) - output(x - step)) / (2 * h)
        assert block == pytest.approx(a[j] * (W + np.outer(W @ x[j] - output(x), w)), abs=1e-9)


def test_sensitivities_at_their_limits():
    assert sensitivity.value_path_exact(7, 3, 5, 0.1) == pytest.approx(5 * 7 / 100)  # flat: d n / (n + t)^2
    assert sensitivity.value_path_exact(7, 0, 5, 1.0) == 5  # one key has all the weight
    assert sensitivity.both_paths_approx(7, 3, 5, 0.0, 0.1) == sensitivity.value_path_exact(7, 3, 5, 0.1)
    wide = sensitivity.both_paths_approx(7, 3, 10_000, 0.5, 0.1) / sensitivity.value_path_exact(7, 3, 10_000, 0.1)
    assert wide == pytest.approx(1.25, abs=1e-4)


def test_flows_are_those_of_matrices_and_of_the_geometric_sum():
    n, t = 3, 6
    A = np.tril(np.ones((n + t, n + t))) / np.arange(1, n + t + 1)[:, None]
    content = (np.arange(n + t) < n).astype(float)
    lazy = content.copy()
    for depth in (1, 2, 3, 4):
        content = A @ content
        lazy = 0.7 * lazy + 0.3 * A @ lazy
        assert flow.source_flow_exact(n, t, depth) == pytest.approx(content[-1])
        assert flow.lazy_flow_exact(n, t, depth, 0.3) == pytest.approx(lazy[-1])
        assert flow.source_flow_limit(t / n, depth) != pytest.approx(content[-1], rel=1e-4) or depth == 1
    draws = sum(np.random.default_rng(i).geometric(1 - 1 / i, 100_000) - 1 for i in range(n + 1, n + t + 1))
    assert np.mean(draws <= 2) == pytest.approx(flow.source_flow_exact(n, t, 3), abs=4 * 0.5 / math.sqrt(100_000))


def test_the_poisson_law_is_the_limit_of_long_sources():
    x = math.log1p(5.0)
    assert flow.source_flow_limit(5.0, 4) == pytest.approx(stats.poisson.cdf(3, x))
    gaps = [abs(flow.source_flow_exact(n, 5 * n, 4) - flow.source_flow_limit(5.0, 4)) for n in (20, 80)]
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.15)  # 1 / n
    assert flow.lazy_flow_exact(5, 9, 3, 1.0) == pytest.approx(flow.source_flow_exact(5, 9, 3))
    assert flow.lazy_flow_exact(5, 9, 3, 0.0) == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mass.holding_bias(3, 3, 1.0), "other_mass=0.0 must be positive"),
        (lambda: mass.source_mass_approx(3, 0, 0.0, 1.0), "n_target=0"),
        (lambda: sensitivity.both_paths_approx(3, 3, 3, -1.0, 0.1), "spread=-1.0"),
        (lambda: flow.lazy_flow_exact(3, 3, 3, 1.5), "mixing=1.5"),
        (lambda: flow.source_flow_exact(3, 3, 0), "n_layers=0"),
    ],
)
def test_errors_name_the_argument(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_mean_odds_are_affine_and_scatter_as_drawn_keys_do():
    rng = np.random.default_rng(4)
    n, t, many = 3, 6, 20_000
    w, inverse = np.exp(rng.standard_normal((n, n))), np.exp(rng.standard_normal(n))
    own, target, square = np.diagonal(w), w.mean(1), (w**2).mean(1)
    law = mass.mean_odds_exact(own, target, inverse, t)
    std = mass.mean_odds_std(target, square, inverse**2, t, n)
    drawn = []
    for _ in range(many):  # one sequence for each key: n draws
        others = rng.integers(n, size=(n, t - 1))
        drawn.append(np.mean([(w[a, a] + w[a, others[a]].sum()) * inverse[a] for a in range(n)]))
    assert np.mean(drawn) == pytest.approx(law, abs=4 * std / many**0.5)
    assert np.std(drawn) == pytest.approx(std, rel=4 * (1 / many) ** 0.5 + 0.02)  # 0.02: kurtosis of a sum of 15 draws
    assert abs(mass.mean_odds_exact(own, target, inverse, t + 1) - law) > 10 * std / many**0.5
    steps = np.diff([mass.mean_odds_exact(own, target, inverse, k) for k in (1, 2, 3, 9)])
    assert steps[0] == pytest.approx(steps[1]) and steps[2] == pytest.approx(6 * steps[0])
    assert mass.mean_odds_exact(own, target, inverse, 1) == pytest.approx((own * inverse).mean())


def test_the_sensitivity_of_flat_stacks_is_that_of_sampled_products():
    n, t, L, d, rows = 3, 5, 3, 4, 4000
    rng = np.random.default_rng(6)
    A = np.tril(np.ones((n + t, n + t))) / np.arange(1, n + t + 1)[:, None]
    squares = []
    for _ in range(rows):
        J = np.eye((n + t) * d)
        for V in rng.standard_normal((L, d, d)) / d**0.5:
            J = J + np.kron(A, V) @ J
        squares.append(np.sum(J[-d:, : n * d] ** 2))
    law = flow.stack_sensitivity_exact(n, t, L, d)
    assert np.mean(squares) == pytest.approx(law, abs=4 * np.std(squares) / math.sqrt(rows))
    assert abs(np.mean(squares) - L * flow.stack_sensitivity_exact(n, t, 1, d)) > 4 * np.std(squares) / math.sqrt(rows)


def test_one_flat_layer_is_felt_directly_and_many_by_all_paths():
    assert flow.stack_sensitivity_exact(7, 3, 1, 5) == pytest.approx(5 * 7 / 100)
    # two layers on one source and one target token: A = ((1, 0), (1/2, 1/2)), A^2 has 3/4 there
    assert flow.stack_sensitivity_exact(1, 1, 2, 3) == pytest.approx(3 * (2 * 0.25 + 0.5625))
