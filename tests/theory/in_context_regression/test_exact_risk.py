"""The exact finite-size risk of softmax heads, against sampling, two-example integrals, expansions and exact special cases."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit, gamma

from attnlab.theory.in_context_regression.effective_loss import (
    best_one_head,
    best_symmetric_pair,
    effective_loss_approx,
    refined_loss_approx,
)
from attnlab.theory.in_context_regression.exact_risk import (
    heads_form_exact,
    heads_risk_exact,
    softmax_overlaps_exact,
    symmetric_pair_expansion_approx,
    symmetric_pair_plateau_approx,
)
from attnlab.theory.in_context_regression.gradient_descent_risks import (
    debiased_gd_best_risk_exact,
    debiased_gd_best_step_exact,
    debiased_gd_risk_exact,
    plain_gd_risk_exact,
)

TASK = (5, 40, 0.1**0.5)
PAIR = np.array([1.0, -1.0])


def _sampled_risk(omega, mu, dim, n_context, noise_std, n_samples, seed):
    """Mean and standard error of the risk given (X, x_q), averaged over beta and noise in closed form.

    The risk of debiased gradient descent on the same data, whose mean is known, serves as control variate; its fitted
    coefficient biases the mean by the order of the error squared only.
    """
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_context, dim))
    x_q = rng.normal(size=(n_samples, dim))
    scores = (X @ x_q[:, :, None])[..., 0]  # (sample, example)
    w = np.zeros_like(scores)
    for scale, readout in zip(omega, mu, strict=True):
        p = np.exp(scale * scores - np.max(scale * scores, axis=1, keepdims=True))
        w += readout * p / p.sum(axis=1, keepdims=True)

    def risk_of(w):
        v = (w[:, None, :] @ X)[:, 0]
        return (
            1
            + noise_std**2
            - 2 * np.sum(x_q * v, axis=1) / dim
            + np.sum(v**2, axis=1) / dim
            + noise_std**2 * np.sum(w**2, axis=1)
        )

    risk, step = risk_of(w), debiased_gd_best_step_exact(dim, n_context, noise_std)
    control = risk_of(step / n_context * (scores - scores.mean(axis=1, keepdims=True)))
    control -= debiased_gd_risk_exact(step, dim, n_context, noise_std)
    risk -= np.cov(risk, control)[0, 1] / control.var() * control
    return risk.mean(), risk.std(ddof=1) / n_samples**0.5


@pytest.mark.parametrize(
    ("omega", "mu", "task"),
    [
        ([0.5179], [1.497], TASK),  # the best single head
        ([0.447, -0.447], [1.02, -1.02], TASK),  # a wide pair, d omega^2 = 1
        ([0.3, -0.5, 0.1], [1.2, -1.0, 0.4], TASK),  # three heads
        ([0.6, -0.4, 0.0], [0.9, -0.7, 0.5], (3, 8, 0.5)),  # few examples, a uniform head
    ],
)
def test_exact_risk_agrees_with_sampling_where_the_expansions_do_not(omega, mu, task):
    mean, error = _sampled_risk(omega, mu, *task, n_samples=30_000, seed=1)
    assert abs(mean - heads_risk_exact(omega, mu, *task)) < 5 * error  # two-sided normal, 6e-7
    assert abs(mean - effective_loss_approx(omega, mu, *task)) > 5 * error
    assert abs(mean - refined_loss_approx(omega, mu, *task)) > 5 * error


@pytest.mark.parametrize(("s", "other"), [(0.3, 0.3), (1.5, -0.7), (4.0, -4.0)])
def test_overlaps_of_two_examples_are_one_dimensional_integrals(s, other):
    # With L = 2, p = expit(s u) for u = a_1 - a_2 of variance 2, and the mean of the two is independent of u.
    def average(f):
        return quad(lambda u: f(u) * np.exp(-u * u / 4) / (4 * np.pi) ** 0.5, -40, 40, limit=400, epsabs=1e-13)[0]

    C, B = softmax_overlaps_exact(s, other, 2)
    assert abs(C - average(lambda u: expit(s * u) * expit(other * u) + expit(-s * u) * expit(-other * u))) < 1e-11
    assert abs(B - 0.5 - average(lambda u: (2 * expit(s * u) - 1) * (2 * expit(other * u) - 1) * u * u / 4)) < 1e-11


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("dim", "omega"), [(1, 0.5), (7, 0.5), (30, 0.2)])
def test_average_over_the_query_is_that_of_adaptive_quadrature(dim, omega):
    def entry(r):
        C, B = softmax_overlaps_exact(omega * r**0.5, -omega * r**0.5, 3)
        return (B + (dim - 1) * C) / dim + 0.09 * C

    # In q = sqrt(r) the density of the chi distribution is smooth at zero; beyond 12 + sqrt(d) it is below 1e-30.
    def density(q):
        return 2 ** (1 - dim / 2) * q ** (dim - 1) * np.exp(-q * q / 2) / gamma(dim / 2)

    oracle = quad(lambda q: entry(q * q) * density(q), 0, 12 + dim**0.5, epsabs=1e-11, limit=60)[0]
    assert abs(heads_form_exact([omega, -omega], dim, 3, 0.3).quadratic[0, 1] - oracle) < 1e-10


@pytest.mark.parametrize("n_context", [2, 7, 40, 2000])
def test_overlap_with_uniform_attention_is_one_over_the_length(n_context):
    # p' = 1 / L: sum p p' = 1 / L, and E (sum p a)(mean a) = 1 / L by Stein's identity (softmax ignores a common shift).
    C, B = softmax_overlaps_exact(1.3, 0.0, n_context)
    assert abs(C * n_context - 1) < 1e-10 and abs(B * n_context - 1) < 1e-10


def test_overlap_with_itself_is_a_participation_ratio_that_tends_to_one_like_the_inverse_spread():
    values = np.array([softmax_overlaps_exact(s, s, 10)[0] for s in (0.0, 1.0, 6.0, 12.0, 24.0)])
    assert abs(values[0] - 0.1) < 1e-12 and np.all(np.diff(values) > 0) and values[-1] < 1
    # Only near ties of the two largest keep 1 - C from zero: their gap has a density at 0, so 1 - C halves; next order 1/s^2.
    rest = 1 - values[2:]
    assert np.all(np.abs(rest[:-1] / rest[1:] - 2) < 0.2)


def test_first_order_expansion_in_the_inverse_length_is_recovered():
    # C(s, s') = e^{s s'} / L to first order; the next is 1 / L^2.
    gaps = [softmax_overlaps_exact(0.8, -0.5, n)[0] * n - np.exp(-0.4) for n in (200, 400)]
    assert abs(gaps[0] / gaps[1] - 2) < 0.1 and abs(gaps[1]) < 0.01


def test_a_pair_of_vanishing_scale_is_debiased_gradient_descent_and_not_plain():
    for task in (TASK, (2, 5, 0.5)):
        for step in (0.5, debiased_gd_best_step_exact(*task)):
            omega = 3e-3
            exact = heads_risk_exact(omega * PAIR, step / (2 * omega) * PAIR, *task)
            # omega^2 times a coefficient below 2, and rounding 1e-12 / omega^2 = 1e-7.
            assert abs(exact - debiased_gd_risk_exact(step, *task)) < 2 * omega**2
            assert abs(exact - plain_gd_risk_exact(step, *task)) > 1e-3


@pytest.mark.parametrize("task", [TASK, (2, 12, 0.5), (8, 20, 1.0)])
def test_second_order_of_the_pair_in_its_scale_is_as_derived(task):
    for step in (0.4, debiased_gd_best_step_exact(*task)):
        base = debiased_gd_risk_exact(step, *task)
        predicted = symmetric_pair_expansion_approx(1.0, step, *task) - base
        scales = np.array([0.04, 0.08]) / task[0] ** 0.5
        rises = [(heads_risk_exact(s * PAIR, step / (2 * s) * PAIR, *task) - base) / s**2 for s in scales]
        extrapolated = (4 * rises[0] - rises[1]) / 3  # removes omega^2, leaves omega^4 of order 1e-4
        assert abs(extrapolated - predicted) < 1e-3 * max(1.0, abs(predicted))
    # The twin, true in the effective loss: at the best step the risk does not fall in second order.
    assert extrapolated < -5e-3


@pytest.fixture(scope="module")
def best_pair():
    return best_symmetric_pair(heads_form_exact, *TASK)


@pytest.mark.slow
def test_finite_length_gives_the_pair_a_finite_best_scale_below_debiased_gradient_descent(best_pair):
    best = best_pair
    assert abs(best.omega[0] - 0.0712) < 2e-4
    # The gain is -(omega^2 coefficient) omega^2 / 2 = 0.0132 * 0.0712^2 / 2 = 3.3e-5 up to omega^6; accuracy is 1e-9.
    gain = debiased_gd_best_risk_exact(*TASK) - best.risk
    assert abs(gain - 3.3e-5) < 3e-6
    assert abs(2 * best.omega[0] * best.mu[0] - debiased_gd_best_step_exact(*TASK)) < 2e-3


@pytest.mark.slow
def test_best_scale_follows_its_leading_order_as_the_length_grows(best_pair):
    longer = best_symmetric_pair(heads_form_exact, 5, 160, TASK[2])
    gap = 1 - symmetric_pair_plateau_approx(*TASK) / best_pair.omega[0]
    longer_gap = 1 - symmetric_pair_plateau_approx(5, 160, TASK[2]) / longer.omega[0]
    assert abs(gap) < 5 / 40 and abs(gap / longer_gap - 4) < 1.5  # relative error of order d / L
    # The twin, a scale that shrinks like 1 / L and not its root, would be 4 times smaller.
    assert abs(best_pair.omega[0] / longer.omega[0] - 2) < 0.5


@pytest.mark.slow
def test_best_single_head_lies_further_out_than_the_effective_loss_says():
    best = best_one_head(heads_form_exact, *TASK)
    assert abs(best.omega[0] - 0.518) < 1e-3  # 1 / sqrt(5) = 0.447 in the effective loss
    mean, error = _sampled_risk(best.omega, best.mu, *TASK, n_samples=30_000, seed=2)
    assert abs(mean - best.risk) < 5 * error
    for factor in (0.9, 1.1):
        assert heads_form_exact(factor * best.omega, *TASK).best_risk() > best.risk + 1e-3


def test_several_replicas_give_what_each_gives_alone():
    omega, mu = np.array([[0.2, -0.2], [0.1, 0.3]]), np.array([[1.0, -2.0], [0.5, 0.5]])
    together = heads_risk_exact(omega, mu, *TASK)
    assert together.shape == (2,)
    np.testing.assert_allclose(
        [heads_risk_exact(w, m, *TASK) for w, m in zip(omega, mu, strict=True)], together, rtol=1e-14
    )
    np.testing.assert_allclose(heads_risk_exact(-omega, -mu, *TASK), together, rtol=1e-13)  # the symmetry of the task


def test_scales_beyond_reach_and_diverged_heads_are_refused():
    with pytest.raises(ValueError, match="use smaller omega"):
        softmax_overlaps_exact(61.0, 0.0, 40)
    with pytest.raises(ValueError, match="leave diverged replicas out"):
        heads_form_exact([np.inf], *TASK)
    with pytest.raises(ValueError, match="n_context=1 must be a whole number of at least 2"):
        heads_form_exact([0.1], 5, 1, 0.3)
