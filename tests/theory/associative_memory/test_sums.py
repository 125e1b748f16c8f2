"""Laws of associative memories against quadrature, enumeration, sampling and special cases."""

import itertools

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gamma

from attnlab.theory.associative_memory import error_correcting as rules
from attnlab.theory.associative_memory import signs, softmax, sums


def density(t, d):
    return gamma(d / 2) / (np.sqrt(np.pi) * gamma((d - 1) / 2)) * (1 - t * t) ** ((d - 3) / 2)


@pytest.mark.parametrize("d", [3, 5, 16])
def test_overlap_laws_are_integrals_of_the_density(d):
    def mean(f):
        return quad(lambda t: f(t) * density(t, d), -1, 1, epsabs=1e-12)[0]

    assert sums.overlap_moment(d, 2) == pytest.approx(1 / d, rel=1e-12)
    assert sums.overlap_moment(d, 1) == pytest.approx(mean(abs), rel=1e-8)
    assert sums.overlap_moment(d, 4) == pytest.approx(mean(lambda t: t**4), rel=1e-9)
    assert sums.overlap_exponential(d, 3.0) == pytest.approx(mean(lambda t: np.exp(3 * t)), rel=1e-9)
    assert sums.overlap_characteristic(d, [0.0, 2.5])[1] == pytest.approx(mean(lambda t: np.cos(2.5 * t)), rel=1e-8)
    assert sums.overlap_characteristic(d, 0.0) == 1
    assert float(sums.overlap_distribution(d, 0.4)) == pytest.approx(
        quad(lambda t: density(t, d), -1, 0.4)[0], rel=1e-8
    )
    assert sums.overlap_distribution(d, [-1.0, 0.0, 1.0]).tolist() == [0, 0.5, 1]


def test_a_single_pair_is_read_without_interference():
    assert sums.hebbian_error(1, 7) == 0 == sums.scaled_hebbian_error(1, 7) == sums.polynomial_error(1, 7, 3)
    assert sums.decaying_hebbian_error(0, 1, 7, 0.9) == 0
    assert rules.delta_rule_errors(1, 7, 1.0).tolist() == [0]
    assert signs.sign_error(1, 7) == 0 and softmax.target_weight_bound(1, 7, 2.0) == 1


def test_no_decay_is_the_hebbian_memory_and_degree_one_the_linear_kernel():
    assert np.allclose(sums.decaying_hebbian_error(np.arange(9), 9, 5, 1.0), sums.hebbian_error(9, 5))
    assert sums.polynomial_error(9, 5, 1) == pytest.approx(float(sums.hebbian_error(9, 5)))
    assert sums.exponential_error(9, 400, 1e-3) == pytest.approx(8 * np.exp(-2e-3), rel=1e-6)


def test_binary_sign_error_is_a_count_over_all_keys():
    d, n = 3, 3
    wrong = []
    for bits in itertools.product([-1, 1], repeat=(n - 1) * d):  # the cue is (1, 1, 1), all values 1 by symmetry
        read = 1 + np.array(bits).sum() / d
        wrong.append(0.5 if abs(read) < 1e-12 else float(read < 0))
    assert signs.sign_error(n, d, "binary") == pytest.approx(np.mean(wrong), abs=1e-14)


@pytest.mark.slow
def test_spherical_sign_error_for_one_other_key_is_zero_and_for_two_an_integral():
    assert signs.sign_error(2, 8) == pytest.approx(0, abs=1e-9)
    d = 8
    exact = quad(lambda t: density(t, d) * (1 - float(sums.overlap_distribution(d, 1 - t))), 0, 1, epsabs=1e-12)[0]
    assert signs.sign_error(3, d) == pytest.approx(exact, abs=1e-8)
    assert abs(signs.sign_error_approx(3, d) - exact) > 1e-3  # twin: the Gaussian law is another number


def test_delta_rule_recursion_is_the_average_of_the_rule():
    rng, d, n, rate, draws = np.random.default_rng(0), 4, 6, 0.7, 20_000
    K = rng.normal(size=(draws, n, d))
    K /= np.linalg.norm(K, axis=-1, keepdims=True)
    v, m = rng.normal(size=(draws, n)), np.zeros((draws, d))
    for t in range(n):
        m += rate * (v[:, t] - (m * K[:, t]).sum(1))[:, None] * K[:, t]
    errors = ((K @ m[:, :, None])[..., 0] - v) ** 2
    z = (errors.mean(0) - rules.delta_rule_errors(n, d, rate)) / (errors.std(0) / draws**0.5)
    assert np.abs(z).max() < 4.5  # six numbers, error rate 4e-5
    norms = (m**2).sum(1)
    assert abs(norms.mean() - rules.delta_rule_norm(n, d, rate)) < 4.5 * norms.std() / draws**0.5
    assert np.abs((errors.mean(0) - rules.delta_rule_errors(n, d, 0.8)) / (errors.std(0) / draws**0.5)).max() > 4.5


def test_covers_count_is_a_half_at_twice_the_width_and_one_below_it():
    for d in (1, 2, 5, 9):
        assert rules.separable_probability(2 * d, d) == pytest.approx(0.5)
        assert rules.separable_probability(d, d) == 1
    assert rules.separable_probability(4, 2) == 0.5 and rules.separable_probability(4, 1) == 2 / 16


def test_the_delta_rule_without_fourth_moments_is_another_law_for_few_dimensions():
    """Brute force over many keys: the mean error of pair 1 after pair 2, d = 3, by its moments."""
    d, b = 3, 1.5
    # read-out of pair 1 after pair 2: b v1 (1 - b t^2) + b v2 t, t the overlap: E t^2 = 1/d, E t^4 = 3/(d (d + 2))
    exact = b**2 * (1 - 2 * b / d + b**2 * 3 / (d * (d + 2))) + b**2 / d - 2 * b * (1 - b / d) + 1
    assert rules.delta_rule_errors(2, d, b)[0] == pytest.approx(exact, rel=1e-12)
    assert abs(rules.delta_rule_errors(2, d, b, fourth_moments=False)[0] - exact) > 0.1


def test_dichotomies_of_two_dimensions_are_sectors_and_of_many_all():
    assert [rules.dichotomies(n, 2) for n in (1, 2, 5)] == [2, 4, 10]
    assert rules.dichotomies(6, 6) == 2**6 == rules.dichotomies(6, 9)


def test_best_factor_leaves_the_scaled_error():
    n, d = 9, 7
    c = float(sums.hebbian_factor(n, d))
    by_factor = (1 - c) ** 2 + c**2 * float(sums.hebbian_error(n, d))
    assert by_factor == pytest.approx(float(sums.scaled_hebbian_error(n, d)), rel=1e-12)
    assert sums.hebbian_factor(1, d) == 1


def test_second_order_of_the_target_weight_is_exact_for_one_other_pair_at_low_temperature_ratio():
    n, d, b = 2, 9, 0.5
    law, third = softmax.target_weight_approx(n, d, b)
    exact = quad(lambda t: density(t, d) / (1 + np.exp(b * (t - 1))), -1, 1, epsabs=1e-12)[0]
    assert law == pytest.approx(exact, abs=abs(third) + 1e-4)
    assert float(softmax.target_weight_bound(n, d, b)) < exact
    assert abs(law - exact) < abs(float(softmax.target_weight_bound(n, d, b)) - exact) / 5


def test_chained_errors_are_products_of_gram_matrices():
    rng = np.random.default_rng(0)
    n, d, draws = 3, 5, 40_000
    errors = []
    C = np.broadcast_to(np.eye(n), (draws, n, n))
    for _ in range(2):
        K = rng.normal(size=(draws, n, d))
        K /= np.linalg.norm(K, axis=-1, keepdims=True)
        C = K @ np.swapaxes(K, 1, 2) @ C
        errors.append(((C - np.eye(n)) ** 2).sum(1).mean(-1))  # signs of mean 0: errors are squares of weights
    for L, found in enumerate(errors, 1):
        se = found.std() / draws**0.5
        law = float(signs.chained_error(L, n, d))
        assert abs(found.mean() - law) < 5 * se and abs(found.mean() - L * (n - 1) / d) > (5 * se if L > 1 else -1)
    assert float(signs.chained_error(1, n, d, 4)) == pytest.approx((n - 1) / (4 * d))
    assert float(signs.chained_sign_error_approx(1, n, d)) == pytest.approx(float(signs.sign_error_approx(n, d)))


def test_label_accuracy_for_two_classes_is_that_of_signs():
    # the difference of two entries is 1 + sum of +-t: the sign read-out of n pairs, normal
    assert signs.label_accuracy_approx(60, 64, 2) == pytest.approx(1 - float(signs.sign_error_approx(60, 64)), abs=1e-9)
    refined = signs.label_accuracy(60, 64, 2)
    assert refined == pytest.approx(signs.label_accuracy_approx(60, 64, 2), abs=0.002)
    assert signs.label_accuracy(4_000, 64, 10) == pytest.approx(signs.label_accuracy_approx(4_000, 64, 10), abs=1e-3)
    assert signs.label_accuracy(2, 50, 3) > 0.99


def test_guaranteed_reach_is_a_renewal_function():
    rng = np.random.default_rng(1)
    d, draws = 9, 20_000
    t = rng.normal(size=(draws, 40, d))
    steps = np.abs(t[..., 0] / np.linalg.norm(t, axis=-1))
    first = (steps.cumsum(-1) < 1).sum(-1) + 1
    assert first.mean() == pytest.approx(signs.guaranteed_reach(d), abs=5 * first.std() / draws**0.5)
    assert abs(first.mean() - signs.guaranteed_capacity(d)) > 0.5


def test_capacity_exponent_is_the_limit_of_finite_widths():
    finite = [np.log(softmax.half_weight_pairs(d, float(d))) / d for d in (16, 64, 256)]
    gaps = np.abs(np.array(finite) - softmax.capacity_exponent_limit(1.0))
    assert softmax.capacity_exponent_limit(1.0) == pytest.approx(0.6226, abs=5e-5)
    assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 1e-3


@pytest.mark.slow
def test_nearest_key_error_is_sampled():
    d, n, noise, draws = 6, 20, 0.8, 20_000
    rng = np.random.default_rng(1)
    K = rng.normal(size=(draws, n, d))
    K /= np.linalg.norm(K, axis=-1, keepdims=True)
    cue = K[:, 0] + noise * rng.normal(size=(draws, d)) / d**0.5
    wrong = ((K @ cue[:, :, None])[..., 0].argmax(1) != 0).mean()
    law = softmax.nearest_key_error(n, d, noise)
    assert abs(wrong - law) < 4.5 * np.sqrt(law * (1 - law) / draws)
    assert abs(wrong - softmax.nearest_key_error(n, d, 0.9)) > 4.5 * np.sqrt(law * (1 - law) / draws)
    assert softmax.nearest_key_error(n, d, 0.0) == 0


def test_published_constants_of_the_storage_theorem():
    assert softmax.stored_patterns_bound(20, 3.0, 1.0, 0.001)[1] == pytest.approx(3.1546, abs=5e-5)
    assert softmax.stored_patterns_bound(75, 1.0, 1.0, 0.001)[1] == pytest.approx(1.3719, abs=5e-5)


def test_majority_is_a_sum_over_votes_and_below_its_bound():
    p = 0.2
    brute = sum(p ** sum(v) * (1 - p) ** (5 - sum(v)) for v in itertools.product([0, 1], repeat=5) if sum(v) > 2)
    assert signs.majority_error(5, p) == pytest.approx(brute)
    assert all(signs.majority_error(H, p) <= signs.majority_error_bound(H, p) for H in (1, 3, 9, 31))
    H = int(np.ceil(signs.heads_needed_bound(12, 0.01, p))) | 1
    assert 1 - signs.chain_success(12, H, p) <= 0.01 < 1 - signs.chain_success(12, 3, p)


def test_variance_propagates_layer_by_layer():
    x = 0.0
    for _ in range(5):
        x = 1.3**2 * (x + 0.04)
    assert float(signs.propagated_variance(5, 1.3, 0.04)) == pytest.approx(x)
    assert float(signs.propagated_variance(5, 1.0, 0.04)) == pytest.approx(0.2)


def test_guaranteed_capacity_grows_like_the_square_root():
    assert signs.guaranteed_capacity(10_000) == pytest.approx(np.sqrt(np.pi * 10_000 / 2), rel=1e-4)
    assert float(signs.average_capacity_approx(64, 0.1)) == pytest.approx(1 + 64 / 1.2815515655446004**2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sums.hebbian_error(3, 4, "cubic"), "keys='cubic'"),
        (lambda: sums.hebbian_error(3, 4, "gaussian", 0.1), "cue_noise"),
        (lambda: sums.overlap_moment(0, 2), "dim=0"),
        (lambda: rules.delta_rule_errors(3, 4, 2.0), "rate=2.0"),
        (lambda: rules.least_squares_noisy_error(8, 8, 0.1), "n_pairs=8"),
        (lambda: signs.majority_error(4, 0.1), "n_heads=4"),
        (lambda: signs.average_capacity_approx(4, 0.7), "error=0.7"),
        (lambda: signs.sign_error(3, 4, "gaussian"), "keys='gaussian'"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
