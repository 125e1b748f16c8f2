"""Dynamics of linear attention: closed forms against the flows they solve, conserved quantities, fixed points."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from attnlab.theory.linear_attention import dynamics as theory
from attnlab.theory.linear_attention import one_step as optimum

SPECTRUM, N = np.array([0.4, 0.3, 0.2, 0.1]), 31


def test_last_plateau_is_the_least_risk_and_the_first_the_loss_of_zero():
    L = theory.plateau_losses_exact(SPECTRUM, N)
    assert L[0] == pytest.approx(1.0, abs=1e-15)
    assert L[-1] == pytest.approx(optimum.best_risk_exact(np.diag(SPECTRUM), N), abs=1e-14)
    np.testing.assert_allclose(
        theory.plateau_matrix_exact(4, SPECTRUM, N),
        optimum.best_matrix_exact(np.diag(SPECTRUM), N),
        rtol=1e-13,
        atol=1e-15,
    )


def test_plateau_losses_are_the_losses_of_the_plateau_matrices_in_any_order_of_eigenvalues():
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        lam = SPECTRUM[order]
        for m, level in enumerate(theory.plateau_losses_exact(lam, N)):
            G = theory.plateau_matrix_exact(m, lam, N)
            assert optimum.risk_exact(G, np.diag(lam), N) == pytest.approx(level, abs=1e-14)
            assert theory.loss_of_diagonal_exact(np.diag(G), lam, N) == pytest.approx(level, abs=1e-14)


def test_all_sets_of_eigenvectors_hold_those_that_training_visits():
    levels = theory.stationary_losses_exact(SPECTRUM, N)
    assert len(levels) == 16
    assert all(np.abs(levels - level).min() < 1e-14 for level in theory.plateau_losses_exact(SPECTRUM, N))


def test_sigmoid_solves_the_reduced_flow_for_white_covariance():
    times, variance, w0 = np.array([1.0, 50.0, 90.0, 120.0, 400.0]), 0.25, 1e-4
    sigmoid = theory.merged_scale_exact(times, w0, 4, N, variance)
    flow = theory.merged_flow(times, w0, np.full(4, variance), N)
    np.testing.assert_allclose(flow, np.repeat(sigmoid[:, None], 4, axis=1), rtol=2e-6, atol=1e-9)
    assert sigmoid[-1] == pytest.approx(1 / (variance * (1 + 5 / N)), rel=1e-12)
    assert sigmoid[0] == pytest.approx(w0**2 / 2 * np.exp(2 * variance**2 * 2 * 1.0), rel=1e-6)  # unsaturated growth


def test_reduced_flow_is_the_flow_of_all_heads_from_a_small_random_start():
    rng, H, w0 = np.random.default_rng(0), 3, 1e-4
    v, U = w0 * rng.normal(size=H), w0 * rng.normal(size=(H, 4, 4))
    S = np.diag(SPECTRUM)
    B = (1 + 1 / N) * S @ S + np.trace(S) / N * S

    def velocity(_, z):
        v, U = z[:H], z[H:].reshape(H, 4, 4)
        left = S @ S - B @ np.einsum("h,hij->ij", v, U) @ S  # half of minus the gradient in G
        return np.concatenate([np.einsum("hij,ij->h", U, left), (v[:, None, None] * left).ravel()])

    times = np.linspace(1, 90, 20)
    whole = solve_ivp(
        velocity, (0, 90), np.concatenate([v, U.ravel()]), method="LSODA", t_eval=times, rtol=1e-10, atol=1e-16
    ).y.T
    G = np.einsum("th,thij->tij", whole[:, :H], whole[:, H:].reshape(-1, H, 4, 4))
    direction = SPECTRUM**2 / np.linalg.norm(SPECTRUM**2)
    growing = np.linalg.norm((v + np.einsum("hii,i->h", U, direction)) / 2)
    reduced = theory.merged_flow(times, growing, SPECTRUM, N)
    # what the reduction leaves out is of relative size w0; the height is about 10
    assert np.abs(np.diagonal(G, axis1=1, axis2=2) - reduced).max() < 0.02
    rival = theory.merged_flow(times, np.sqrt((v @ v + np.sum(U**2)) / 2), SPECTRUM, N)
    assert np.abs(np.diagonal(G, axis1=1, axis2=2) - rival).max() > 1


def test_clock_has_the_derivative_of_the_drop_equation_and_the_weight_solves_it():
    u = np.linspace(0.05, 0.95, 19)
    h = 1e-6
    slope = (theory.drop_clock_exact(u + h) - theory.drop_clock_exact(u - h)) / (2 * h)
    np.testing.assert_allclose(slope, 1 / (u**2 * (1 - u**3)), rtol=1e-6)
    lam, A, times = 0.3, 1.14, np.array([10.0, 200.0, 300.0, 500.0])
    path = solve_ivp(
        lambda t, v: lam**2 * v**2 - lam**3 * A * v**5, (0, 500), [0.05], t_eval=times, rtol=1e-11, atol=1e-13
    )
    np.testing.assert_allclose(theory.drop_weight_exact(times, np.full(4, 0.05), lam, A), path.y[0], rtol=1e-8)
    assert (
        abs(theory.drop_weight_exact(np.array([-30.0]), np.array([0.5]), lam, A)[0] - 0.5 * np.exp(-30 * lam**2)) > 0.01
    )


def test_head_on_the_ansatz_follows_the_drop_equation_and_conserves_its_balance():
    start = 0.1 * np.ones(1), 0.1 * np.eye(4)[:1], 0.1 * np.eye(4)[:1]
    times = np.linspace(5, 100, 8)
    v, k, q = theory.separate_flow(times, start, SPECTRUM, N)
    A = theory.finite_context_factors(SPECTRUM, N)
    np.testing.assert_allclose(v[:, 0], theory.drop_weight_exact(times, np.full(8, 0.1), 0.4, A[0]), rtol=1e-6)
    assert v[-1, 0] == pytest.approx(theory.final_weight_exact(0.4, A[0]), rel=1e-6)
    for other in (k, q):
        np.testing.assert_allclose(v[:, 0] ** 2 - (other[:, 0] ** 2).sum(-1), 0, atol=1e-7)


def test_separate_flow_rests_at_the_plateaus_in_order():
    rng = np.random.default_rng(1)
    start = 0.02 * rng.normal(size=5), 0.02 * rng.normal(size=(5, 4)), 0.02 * rng.normal(size=(5, 4))
    times = np.linspace(1, 4_000, 2_000)
    v, k, q = theory.separate_flow(times, start, SPECTRUM, N)
    G = np.einsum("th,thi,thj->tij", v, k, q)
    loss = np.array([optimum.risk_exact(each, np.diag(SPECTRUM), N) for each in G[::20]])
    levels = theory.plateau_losses_exact(SPECTRUM, N)[:3]
    assert all(np.abs(loss - level).min() < 2e-3 for level in levels) and np.all(np.diff(loss) < 1e-9)


@pytest.mark.parametrize(
    "call",
    [
        lambda: theory.plateau_losses_exact([0.4, -0.1], N),
        lambda: theory.drop_clock_exact([0.5, 1.0]),
        lambda: theory.merged_flow([2.0, 1.0], 1e-3, SPECTRUM, N),
        lambda: theory.finite_context_factors(SPECTRUM, 0),
    ],
)
def test_bad_arguments_are_named(call):
    with pytest.raises(ValueError, match=r"spectrum|fraction|times|n_context"):
        call()


def test_half_time_is_where_the_sigmoid_is_half_and_descent_takes_it_within_a_step():
    growing = np.array([1e-3, 1e-2])
    half = theory.merged_half_time_exact(growing, 4, N, 0.25)
    found = [theory.merged_scale_exact(t, w, 4, N, 0.25) for t, w in zip(half, growing, strict=True)]
    np.testing.assert_allclose(found, 0.5 / (0.25 * (1 + 5 / N)), rtol=1e-9)
    step, A = 0.1, 1 + 5 / N  # descent on two layers: s += h r p, p += h r s with r (1 - l A s p) the rest
    for w, expected in zip(growing, theory.merged_half_time_exact(growing, 4, N, 0.25, step), strict=True):
        s = p = w
        count, height = 0, 2 / (0.25 * A)
        while s * p < height / 2:
            left = step * 0.25**2 * 2 * (1 - 0.25 * A * s * p / 2)
            s, p, count = s + left * p, p + left * s, count + 1
        assert abs(count * step - expected) < 1.5 * step  # 1.5: the last step is whole
        assert abs(expected - theory.merged_half_time_exact(w, 4, N, 0.25)) > 2 * step * (w < 5e-3)


def test_descent_waits_longer_than_the_flow_by_half_a_step():
    assert theory.descent_pace(0.2) == 0.2
    assert 1 / theory.descent_pace(0.2, 0.1) - 5 == pytest.approx(0.05, rel=0.02)
