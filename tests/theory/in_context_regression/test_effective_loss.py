"""The effective loss, its refinement and their optima, against finite differences, sympy and the exact risk."""

import numpy as np
import pytest
import sympy

from attnlab.theory.in_context_regression.effective_loss import (
    best_heads,
    best_one_head,
    best_symmetric_pair,
    effective_form_approx,
    effective_loss_approx,
    effective_loss_gradient_approx,
    effective_loss_symbolic,
    one_head_optimum_approx,
    refined_form_approx,
    refined_loss_approx,
    symmetric_pair_loss_approx,
    symmetric_pair_valley_mu_approx,
)
from attnlab.theory.in_context_regression.exact_risk import heads_risk_exact

TASK = (5, 40, 0.1**0.5)  # dim, n_context, noise_std of the paper's experiments
EPS = np.finfo(float).eps


def _random_heads(n_replicas=7, n_heads=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(scale=0.3, size=(n_replicas, n_heads)), rng.normal(size=(n_replicas, n_heads))


def test_gradient_equals_finite_differences_and_one_without_the_dimension_does_not():
    omega, mu = _random_heads()
    step = 1e-5  # central differences: step^2 truncation and eps / step rounding, both 1e-10
    d_omega, d_mu = effective_loss_gradient_approx(omega, mu, *TASK)
    c = (1 + TASK[2] ** 2) / TASK[1]
    E = np.exp(TASK[0] * omega[..., :, None] * omega[..., None, :])
    spread = 2 * c * mu * (E @ (mu * omega)[..., None])[..., 0]
    twin = d_omega - (TASK[0] - 1) * spread  # the gradient with 2 c in place of 2 d c
    apart = 0.0
    for h in range(omega.shape[-1]):
        shift = step * np.eye(omega.shape[-1])[h]
        by_omega = effective_loss_approx(omega + shift, mu, *TASK) - effective_loss_approx(omega - shift, mu, *TASK)
        by_mu = effective_loss_approx(omega, mu + shift, *TASK) - effective_loss_approx(omega, mu - shift, *TASK)
        # The third derivative is at most about d^3 times the loss of order ten: 1e3 * 1e-10.
        np.testing.assert_allclose(by_omega / (2 * step), d_omega[:, h], atol=1e-7)
        np.testing.assert_allclose(by_mu / (2 * step), d_mu[:, h], atol=1e-7)
        apart = max(apart, np.max(np.abs(by_omega / (2 * step) - twin[:, h])))
    assert apart > 1e-2  # what is measured on the loss refutes the twin


def test_symbolic_loss_is_the_numerical_one():
    omega, mu = _random_heads(n_heads=3)
    loss = effective_loss_symbolic(3)
    names = [
        *sympy.symbols("omega_1:4", real=True),
        *sympy.symbols("mu_1:4", real=True),
        *sympy.symbols("d L sigma", positive=True),
    ]
    assert loss.free_symbols == set(names)
    values = sympy.lambdify(names, loss, "numpy")(*omega.T, *mu.T, *TASK)
    # About 30 additions and products of numbers below 100.
    np.testing.assert_allclose(values, effective_loss_approx(omega, mu, *TASK), atol=30 * 100 * EPS)


def test_one_head_optimum_solves_the_symbolic_stationarity_conditions():
    d, L, sigma = sympy.symbols("d L sigma", positive=True)
    w, m = sympy.symbols("omega_1 mu_1", real=True)
    loss = effective_loss_symbolic(1)
    c = (1 + sigma**2) / L
    optimum = {w: 1 / sympy.sqrt(d), m: sympy.sqrt(d) / (1 + sympy.E * d * c)}
    assert sympy.simplify(sympy.diff(loss, w).subs(optimum)) == 0
    assert sympy.simplify(sympy.diff(loss, m).subs(optimum)) == 0
    assert sympy.simplify(loss.subs(optimum) - (1 + sigma**2 - 1 / (1 + sympy.E * d * c))) == 0
    twin = {w: 1 / sympy.sqrt(2 * d), m: optimum[m]}  # as if exp(2 d omega^2) / omega^2 were minimised
    assert sympy.simplify(sympy.diff(loss, w).subs(twin)) != 0


def test_one_head_optimum_in_closed_form_is_the_numerical_minimiser():
    for task in (TASK, (20, 160, 0.3), (3, 200, 1.0)):
        closed, found = one_head_optimum_approx(*task), best_one_head(effective_form_approx, *task)
        assert abs(closed.risk - found.risk) < 1e-13
        # The minimum is quadratic: a risk known to 1e-15 places omega to about 1e-7.
        np.testing.assert_allclose(found.omega, closed.omega, rtol=1e-6)
        np.testing.assert_allclose(found.mu, closed.mu, rtol=1e-6)


def test_symmetric_pair_is_the_two_head_loss_with_sinh_and_not_cosh():
    d, L, sigma, w, m = sympy.symbols("d L sigma w m", positive=True)
    places = {"omega_1": w, "omega_2": -w, "mu_1": m, "mu_2": -m}
    loss = effective_loss_symbolic(2).subs({sympy.Symbol(k, real=True): v for k, v in places.items()})
    c = (1 + sigma**2) / L
    pair = 1 + sigma**2 - 4 * m * w + 4 * m**2 * w**2 * (1 + c * sympy.sinh(d * w**2) / w**2)
    assert sympy.simplify((loss - pair).rewrite(sympy.exp)) == 0
    assert sympy.simplify((loss - pair.subs(sympy.sinh(d * w**2), sympy.cosh(d * w**2))).rewrite(sympy.exp)) != 0
    for scale, value in ((0.13, 3.45), (0.447, 1.2)):
        general = effective_loss_approx([scale, -scale], [value, -value], *TASK)
        assert abs(symmetric_pair_loss_approx(scale, value, *TASK) - general) < 100 * EPS


def test_valley_floor_is_the_best_mu_and_falls_towards_debiased_gradient_descent():
    scales = np.geomspace(0.01, 0.6, 25)
    mu = symmetric_pair_valley_mu_approx(scales, *TASK)
    pairs = scales[:, None] * np.array([1.0, -1.0])
    form = effective_form_approx(pairs, *TASK)
    np.testing.assert_allclose(form.best_mu(), mu[:, None] * np.array([1.0, -1.0]), rtol=1e-9)
    floor = symmetric_pair_loss_approx(scales, mu, *TASK)
    np.testing.assert_allclose(floor, 1.1 - 2 * mu * scales, rtol=0, atol=1e-12)
    assert np.all(np.diff(floor) > 0)
    limit = 1.1 - 1 / (1 + 1.1 * 5 / 40)
    rise = (floor - limit) / scales**4  # K / 4, by the expansion of sinh
    c = 1.1 / 40
    assert abs(rise[0] - c * 5**3 / 6 / (1 + 5 * c) ** 2) < 1e-3
    assert abs(limit - 0.2209) < 5e-5


def test_effective_loss_of_the_pair_has_no_minimiser():
    with pytest.raises(ValueError, match="edge omega"):
        best_symmetric_pair(effective_form_approx, *TASK)


@pytest.mark.parametrize("start", [(0.5, -0.3), (0.4, -0.35), (0.5, -0.3001)])
def test_two_heads_started_apart_become_debiased_gradient_descent(start):
    """Opposite values whose preconditioner is 1/(1 + (1 + sigma^2) d/L); where in the valley a search ends is not determined."""
    found = best_heads(effective_form_approx, start, *TASK)
    rate = 1 / (1 + 1.1 * 5 / 40)
    assert found.risk < one_head_optimum_approx(*TASK).risk - 0.1
    assert abs(found.risk - (1.1 - rate)) < 2e-3 and abs(found.mu @ found.omega - rate) < 2e-3
    assert abs(found.mu.sum()) < 0.01 * np.abs(found.mu).max()


def test_refined_loss_errs_by_the_square_of_the_inverse_length_and_the_effective_loss_does_not():
    omega, mu = np.array([0.2, -0.1]), np.array([1.5, -1.0])
    gaps, effective_gaps = [], []
    for n_context in (100, 200, 400):
        exact = heads_risk_exact(omega, mu, 5, n_context, TASK[2])
        gaps.append(refined_loss_approx(omega, mu, 5, n_context, TASK[2]) - exact)
        effective_gaps.append(effective_loss_approx(omega, mu, 5, n_context, TASK[2]) - exact)
    ratios = np.array(gaps[:-1]) / gaps[1:]
    assert np.all(np.abs(ratios - 4) < 0.4)  # next order: 1 / L relative, times a few
    assert np.all(np.abs(np.array(effective_gaps[:-1]) / effective_gaps[1:] - 2) < 0.4)


def test_effective_loss_errs_by_the_inverse_dimension_at_fixed_aspect_ratio():
    gaps = []
    for dim in (20, 40, 80):
        omega, mu = np.array([1.0, -1.0]) * (0.3 / dim) ** 0.5, np.array([0.7, -0.7]) * dim**0.5
        task = dim, 8 * dim, TASK[2]
        gaps.append(heads_risk_exact(omega, mu, *task) - effective_loss_approx(omega, mu, *task))
    assert np.all(np.abs(np.array(gaps[:-1]) / gaps[1:] - 2) < 0.2)  # next order: 1 / dim = 5 % relative


def test_refined_one_head_optimum_agrees_where_the_length_is_large_and_is_refused_where_it_is_not():
    found = best_one_head(refined_form_approx, 20, 2000, 0.3)
    exact = heads_risk_exact(found.omega, found.mu, 20, 2000, 0.3)
    assert abs(found.risk - exact) < (np.e * 20 / 2000) ** 2  # the next order of the expansion, 7e-4
    assert abs(found.omega[0] * 20**0.5 - 1) < 0.1  # and 1 / sqrt(d) up to 1 / d
    with pytest.raises(ValueError, match="no minimiser inside"):
        best_one_head(refined_form_approx, 5, 20, 0.3)


def test_heads_of_equal_scale_act_as_one():
    form = effective_form_approx(np.array([0.3, 0.3, -0.2]), *TASK)
    single = effective_form_approx(np.array([0.3, -0.2]), *TASK)
    assert abs(form.best_risk() - single.best_risk()) < 1e-12
    mu = form.best_mu()
    assert abs(mu[0] - mu[1]) < 1e-10 and abs(mu[0] + mu[1] - single.best_mu()[0]) < 1e-10


def test_replica_axis_leads_and_gives_the_same_numbers_one_by_one():
    omega, mu = _random_heads()
    for loss in (effective_loss_approx, refined_loss_approx):
        together = loss(0.5 * omega, mu, *TASK)
        assert together.shape == (7,)
        # BLAS may add in another order: a few roundings of numbers below 100.
        np.testing.assert_allclose(
            [loss(0.5 * w, m, *TASK) for w, m in zip(omega, mu, strict=True)], together, atol=1e3 * EPS
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.1], [1.0, 2.0], 5, 40, 0.3), "same last axis"),
        (([0.1], [1.0], 0, 40, 0.3), "dim=0 must be a whole number"),
        (([0.1], [1.0], 5.5, 40, 0.3), "dim=5.5 must be a whole number"),
        (([0.1], [1.0], 5, 1, 0.3), "n_context=1 must be a whole number of at least 2"),
        (([0.1], [1.0], 5, 40, -0.3), "noise_std=-0.3 must be"),
        (([0.1], [1.0], 5, 40, float("nan")), "noise_std=nan must be"),
        (([np.nan], [1.0], 5, 40, 0.3), "leave diverged replicas out"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        effective_loss_approx(*arguments)


def test_refined_loss_refuses_scales_whose_average_over_queries_diverges():
    with pytest.raises(ValueError, match="heads_form_exact"):
        refined_loss_approx([0.71], [1.0], *TASK)
