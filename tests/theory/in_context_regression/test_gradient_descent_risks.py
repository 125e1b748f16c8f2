"""Risks of gradient descent and their limits, against sampling, random matrices and the published values."""

import numpy as np
import pytest
import sympy

from attnlab.theory.in_context_regression.effective_loss import one_head_optimum_approx
from attnlab.theory.in_context_regression.gradient_descent_risks import (
    bayes_risk_limit,
    debiased_gd_best_risk_exact,
    debiased_gd_best_step_exact,
    debiased_gd_over_bayes_supremum_limit,
    debiased_gd_risk_exact,
    debiased_gd_risk_limit,
    equivalent_sample_factor_limit,
    linear_attention_length_risk_exact,
    one_head_risk_limit,
    plain_gd_best_risk_exact,
    plain_gd_best_step_exact,
    plain_gd_risk_exact,
)

TASK = (5, 40, 0.1**0.5)


@pytest.mark.parametrize(
    ("dim", "n_context", "noise_std", "step"), [(3, 10, 0.5, 0.7), (1, 2, 1.0, 0.4), (5, 40, 0.3, 0.9)]
)
def test_exact_risks_agree_with_full_sampling_and_tell_centred_from_plain(dim, n_context, noise_std, step):
    rng = np.random.default_rng(3)
    n = 200_000 if n_context < 20 else 60_000
    X, x_q = rng.normal(size=(n, n_context, dim)), rng.normal(size=(n, dim))
    beta = rng.normal(size=(n, dim)) / dim**0.5
    y = np.einsum("nld,nd->nl", X, beta) + noise_std * rng.normal(size=(n, n_context))
    y_q = np.sum(beta * x_q, axis=1) + noise_std * rng.normal(size=n)
    scores = np.einsum("nld,nd->nl", X, x_q)
    losses = [
        (y_q - step / n_context * np.sum(y * s, axis=1)) ** 2
        for s in (scores - scores.mean(axis=1, keepdims=True), scores)
    ]
    exact = [risk(step, dim, n_context, noise_std) for risk in (debiased_gd_risk_exact, plain_gd_risk_exact)]
    for loss, value in zip(losses, exact, strict=True):
        assert abs(loss.mean() - value) < 5 * loss.std() / n**0.5
    # Each is the other's twin. They share the data, so the paired difference decides.
    difference = losses[0] - losses[1]
    error = difference.std() / n**0.5
    assert abs(difference.mean() - (exact[0] - exact[1])) < 5 * error < abs(exact[0] - exact[1])


def test_best_steps_are_the_minima_and_best_risks_their_values():
    d, L, s, eta = sympy.symbols("d L sigma eta", positive=True)
    n = L - 1
    centred = 1 + s**2 - 2 * eta * n / L + eta**2 * n * (n + 1 + d + s**2 * d) / L**2
    assert sympy.simplify(sympy.solve(sympy.diff(centred, eta), eta)[0] - L / (L + d * (1 + s**2))) == 0
    plain = 1 + s**2 - 2 * eta + eta**2 * (L + 1 + d + s**2 * d) / L
    assert sympy.simplify(sympy.solve(sympy.diff(plain, eta), eta)[0] - L / (L + 1 + d + s**2 * d)) == 0
    for task in (TASK, (2, 3, 0.0), (50, 20, 2.0)):
        for risk, best_step, best_risk in (
            (debiased_gd_risk_exact, debiased_gd_best_step_exact, debiased_gd_best_risk_exact),
            (plain_gd_risk_exact, plain_gd_best_step_exact, plain_gd_best_risk_exact),
        ):
            assert abs(risk(best_step(*task), *task) - best_risk(*task)) < 1e-14 * (1 + task[2] ** 2) * 10
            assert np.all(risk(best_step(*task) + np.array([-1e-3, 1e-3]), *task) > best_risk(*task))


def test_published_step_and_risks_are_reproduced():
    assert abs(debiased_gd_best_step_exact(*TASK) - 0.8791) < 5e-5
    assert abs(debiased_gd_best_risk_exact(*TASK) - 0.2429) < 5e-5


def test_plain_gradient_descent_is_better_than_debiased_by_the_stated_amount():
    for dim, n_context, noise_std in (TASK, (1, 2, 0.0), (30, 10, 1.0)):
        D = dim * (1 + noise_std**2)
        gap = debiased_gd_best_risk_exact(dim, n_context, noise_std) - plain_gd_best_risk_exact(
            dim, n_context, noise_std
        )
        assert abs(gap - (1 + D) / ((n_context + D) * (n_context + 1 + D))) < 1e-14


@pytest.mark.parametrize(
    ("noise2", "xi", "bayes", "several", "one"),
    [
        (0.1, 0.125, 0.1141, 0.2209, 0.3721),
        (0.1, 0.5, 0.1844, 0.4548, 0.6992),
        (0.1, 2.0, 0.6742, 0.7875, 0.9567),
        (3.0, 0.2, 3.4051, 3.4444, 3.6850),
    ],
)
def test_published_limits_are_reproduced(noise2, xi, bayes, several, one):
    noise_std = noise2**0.5
    got = [f(xi, noise_std) for f in (bayes_risk_limit, debiased_gd_risk_limit, one_head_risk_limit)]
    np.testing.assert_allclose(got, [bayes, several, one], atol=5.1e-5)  # printed to four digits


@pytest.mark.parametrize(("xi", "noise_std"), [(0.5, 0.3), (2.0, 0.3), (1.0, 1.0)])
def test_bayes_limit_is_the_posterior_variance_of_large_random_problems(xi, noise_std):
    rng = np.random.default_rng(4)
    dim, s2 = 300, noise_std**2
    X = rng.normal(size=(round(dim / xi), dim))
    finite = s2 + s2 * np.sum(1 / (np.linalg.eigvalsh(X.T @ X) + s2 * dim))
    # Linear spectral statistics of a real Wishart matrix have bias and deviation of order 1 / d, here of a trace below 1.
    margin = 5 / dim
    assert abs(finite - bayes_risk_limit(xi, noise_std)) < margin
    assert abs(finite - bayes_risk_limit(1.2 * xi, noise_std)) > margin  # the ratio is a fifth off


def test_bayes_limit_without_noise_and_without_data():
    np.testing.assert_allclose(bayes_risk_limit([0.5, 1.0, 4.0], 0.0), [0.0, 0.0, 0.75], atol=1e-15)
    assert abs(bayes_risk_limit(1e8, 0.7) - 1.49) < 1e-7  # predicts zero
    # Much data: sigma^2 + sigma^2 xi, to second order in xi, without cancellation.
    assert abs((bayes_risk_limit(1e-9, 0.3) - 0.09) / (0.09 * 1e-9) - 1) < 1e-6


def test_finite_gradient_descent_tends_to_the_limit_at_the_rate_of_the_inverse_length():
    for risk in (debiased_gd_best_risk_exact, plain_gd_best_risk_exact):
        gaps = np.array([risk(dim, 4 * dim, 0.3) - debiased_gd_risk_limit(0.25, 0.3) for dim in (50, 100, 200)])
        assert np.all(np.abs(gaps[:-1] / gaps[1:] - 2) < 0.05)


def test_no_predictor_beats_bayes_and_one_head_is_worst():
    xi = np.geomspace(1e-3, 1e3, 200)
    for noise_std in (0.1, 0.5, 2.0):
        bayes, several, one = (
            f(xi, noise_std) for f in (bayes_risk_limit, debiased_gd_risk_limit, one_head_risk_limit)
        )
        assert np.all(bayes < several) and np.all(several < one) and np.all(one < 1 + noise_std**2)


def test_one_head_needs_e_times_the_examples_in_the_effective_loss():
    assert equivalent_sample_factor_limit() == sympy.E
    dim, n_context, noise_std = 1000, 8000, 0.3
    several = debiased_gd_risk_limit(dim / n_context, noise_std)
    one = [one_head_optimum_approx(dim, round(factor * n_context), noise_std).risk for factor in (np.e, 2.5)]
    assert abs(one[0] - several) < 1e-4 < abs(one[1] - several)  # rounding the length: 1 / 16000 of 0.3


@pytest.mark.parametrize(("noise2", "published"), [(0.1, 2.5), (0.5, 1.2), (3.0, 1.013)])
def test_ratio_to_bayes_is_bounded_by_its_supremum(noise2, published):
    supremum, where = debiased_gd_over_bayes_supremum_limit(noise2**0.5)
    xi = np.geomspace(1e-6, 1e6, 20_001)
    ratio = debiased_gd_risk_limit(xi, noise2**0.5) / bayes_risk_limit(xi, noise2**0.5)
    assert np.max(ratio) <= supremum * (1 + 1e-12) and np.max(ratio) > supremum * (1 - 1e-6)
    assert abs(np.log(where / xi[np.argmax(ratio)])) < 2e-3
    assert abs(supremum - published) < 0.5 * 10 ** -len(str(published).split(".")[1])
    assert ratio[0] - 1 < 1e-4 and ratio[-1] - 1 < 1e-4


def test_softmax_keeps_its_step_at_other_lengths_and_linear_attention_does_not():
    step = debiased_gd_best_step_exact(*TASK)
    lengths = np.arange(10, 101, 5)
    normalised = [debiased_gd_risk_exact(step, 5, int(n), TASK[2]) for n in lengths]
    assert np.all(np.diff(normalised) < 0) and normalised[-1] > 0.1 + (1 - step) ** 2
    linear = [linear_attention_length_risk_exact(step, 5, int(n), TASK[2], 40) for n in (40, 400, 4000)]
    assert abs(linear[0] - plain_gd_risk_exact(step, *TASK)) < 1e-15
    assert abs(linear[2] / linear[1] - 100) < 25  # r^2, next order 2 / (eta r) = 0.2
    assert abs(linear_attention_length_risk_exact(step, 5, 4_000_000, TASK[2], 40) / (step * 1e5) ** 2 - 1) < 1e-4


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="aspect_ratio is d / L"):
        bayes_risk_limit(0.0, 0.3)
    with pytest.raises(ValueError, match="unbounded"):
        debiased_gd_over_bayes_supremum_limit(0.0)
    with pytest.raises(ValueError, match="n_context=1 must be a whole number of at least 2"):
        debiased_gd_risk_exact(0.5, 5, 1, 0.3)
