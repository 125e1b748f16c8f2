"""The decoder's closed forms against its equation, brute force and limits; overlapping inputs against gradient descent on Y."""

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.optimize import minimize_scalar

from attnlab.theory.token_selection import decoder
from attnlab.theory.token_selection import overlapping_inputs as overlaps

EPS = np.finfo(float).eps
SIZES = [(34, 1.0), (100, 0.3), (1000, 2.0), (50_000, 5.0)]


def descend(F, vocabulary, rate, n_steps, inward=None):
    """Y after plain descent on the mean loss of classes with inputs F (token, class), and its residual rows (class, id)."""
    K = F.shape[1]
    Y, target = np.zeros((F.shape[0], vocabulary)), np.eye(K, vocabulary)
    for step in range(n_steps + 1):
        logits = F.T @ Y
        alpha = np.exp(logits - logits.max(1, keepdims=True))
        wrong = target - alpha / alpha.sum(1, keepdims=True)
        if step < n_steps:
            Y = Y + rate / K * (F if inward is None else inward) @ wrong
    return Y, wrong


@pytest.mark.parametrize("M, rate", SIZES)
def test_growth_satisfies_its_implicit_form_to_rounding(M, rate):
    s = np.array([0.0, 1e-3, 1.0, 30.0, 1e4])
    h = decoder.decoder_growth_exact(s, M, rate)
    left, right = np.exp(M * h) + (M - 1) * M * h, M * rate * s + 1
    # M h carries an error of a few eps C, C = right / (M - 1), which e^{M h} + (M - 1) multiplies
    assert np.all(np.abs(left - right) <= 8 * EPS * (np.exp(M * h) + M) * (1 + right / (M - 1)))
    assert abs(h[0]) < 4 * EPS


@pytest.mark.parametrize("M, rate", SIZES[:3])
def test_growth_solves_its_differential_equation(M, rate):
    end = 5 * np.log(M) / rate
    found = solve_ivp(lambda s, h: rate / (M - 1 + np.exp(M * h)), (0, end), [0.0], "LSODA", rtol=1e-10, atol=1e-14)
    assert found.y[0, -1] == pytest.approx(decoder.decoder_growth_exact(end, M, rate), rel=1e-8)


def test_two_ids_give_the_logistic_equation():
    s, rate = 3.0, 0.7
    u = 2 * decoder.decoder_growth_exact(s, 2, rate)
    assert np.exp(u) + u == pytest.approx(2 * rate * s + 1)
    assert decoder.residual_exact(u / 2, 2) == pytest.approx(1 / (1 + np.exp(u)))


@pytest.mark.parametrize("M, rate", [(34, 0.5), (300, 1.0)])
def test_training_with_orthonormal_inputs_follows_the_recursion_and_its_speed_exactly(M, rate):
    K, n = 3, 40
    Y, wrong = descend(np.eye(K + 1, K), M, rate, n)
    h = decoder.decoder_growth_steps_exact(n, M, rate / K)[n]
    assert wrong[0, 0] == pytest.approx(decoder.residual_exact(h, M), rel=1e-12)
    speed = M * h * decoder.residual_exact(h, M)
    assert (Y @ wrong[0])[0] == pytest.approx(speed, rel=1e-12)
    assert abs((Y @ wrong[0])[0] / speed - (1 - 1 / M)) > 0.5 / M  # twin: the leading order in 1 / M


@pytest.mark.parametrize("M, rate", [(50, 0.1), (50, 1.0), (1000, 0.2), (1000, 4.0)])
def test_descent_runs_ahead_by_less_than_the_bound_and_by_the_small_step_limit(M, rate):
    steps = 400
    gap = decoder.decoder_growth_steps_exact(steps, M, rate) - decoder.decoder_growth_exact(
        np.arange(steps + 1), M, rate
    )
    assert gap.min() > -1e-14 and gap.max() <= decoder.decoder_step_gap_bound(M, rate)
    if rate <= 0.2:  # next order: a relative rate
        assert gap.max() == pytest.approx(decoder.decoder_step_gap_limit(M, rate), rel=rate)


@pytest.mark.parametrize("M", [34, 100, 1000, 50_000])
def test_the_peak_of_the_speed_is_where_a_search_finds_it(M):
    time, height = decoder.backward_speed_peak_exact(M, 2.0)
    found = minimize_scalar(
        lambda s: -decoder.backward_speed_exact(s, M, 2.0),
        bounds=(time / 3, 3 * time),
        method="bounded",
        options={"xatol": 1e-9 * time},
    )
    assert found.x == pytest.approx(time, rel=1e-5) and -found.fun == pytest.approx(height, rel=1e-12)
    assert {34: 3.276, 100: 3.959, 1000: 5.640, 50_000: 8.898}[M] == pytest.approx(2 * time, abs=1e-3)


def test_the_speed_has_its_early_and_late_limits():
    M, rate = 1000, 1.0
    early, late = 1e-3, 1e9
    assert decoder.backward_speed_exact(early, M, rate) == pytest.approx(
        decoder.backward_speed_early_limit(early, M, rate), rel=1e-3
    )
    ratio = decoder.backward_speed_exact(late, M, rate) / decoder.backward_speed_late_limit(late, M, rate)
    assert ratio == pytest.approx(1, abs=np.log(np.log(M * late)) / np.log(M * late))
    assert decoder.backward_speed_approx(early, M, rate) == pytest.approx(
        (1 - 1 / M) * decoder.backward_speed_exact(early, M, rate)
    )


def test_decorrelated_descent_learns_as_orthonormal_inputs_do_and_sends_back_the_predicted_mixture():
    rng = np.random.default_rng(0)
    K, M, rate, n = 4, 60, 0.2, 400
    F = np.concatenate([np.eye(K), rng.uniform(0.1, 0.5, (2, K))])
    F /= np.linalg.norm(F, axis=0)
    gram = F.T @ F
    Y, wrong = descend(F, M, rate, n, inward=F @ np.linalg.inv(gram))
    exact = overlaps.decorrelated_coefficients_exact(gram, n / K, M, rate)
    measured = np.linalg.lstsq(F, Y @ wrong.T, rcond=None)[0].T
    scale = np.abs(exact).max()
    # steps: 2 eta / M of h, at most 2 eta = 10 % of a unit of u = M h, in a speed that falls like u e^-u
    assert np.abs(measured - exact).max() < 0.05 * scale
    approx = overlaps.decorrelated_coefficients_approx(gram, n / K, M, rate)
    assert np.abs(approx - exact).max() < 3 * K / M * scale
    assert np.abs(measured - np.eye(K) * np.diag(exact)).max() > 0.1 * scale  # twin: no mixture


def test_three_scalars_are_plain_descent_with_equal_overlaps():
    K, M, rate, rho, n = 5, 40, 0.05, 0.4, 600
    F = np.concatenate([np.sqrt(1 - rho) * np.eye(K), np.full((1, K), np.sqrt(rho))])
    Y, wrong = descend(F, M, rate, n)
    flow = overlaps.equal_overlap_flow(np.array([float(n)]), rho, K, M, rate)
    got = np.linalg.lstsq(F, Y @ wrong[0], rcond=None)[0]
    assert wrong[0, 0] == pytest.approx(flow["residual"][0], rel=rate)  # one step in relative units of the rate
    assert got[0] == pytest.approx(flow["own"][0], rel=rate) and got[1] == pytest.approx(flow["other"][0], rel=2 * rate)
    published = overlaps.decorrelated_coefficients_exact(F.T @ F, n / K, M, rate)
    assert got[1] != pytest.approx(published[0, 1], rel=4 * rate)  # twin: the proof's gradient


def test_equal_overlaps_slow_the_decoder_by_the_published_factor_only_if_every_id_is_a_class():
    K, rate, rho = 12, 0.3, 0.3
    times = np.array([30.0, 100.0])
    all_ids = overlaps.equal_overlap_flow(times, rho, K, K, rate)["residual"]
    assert all_ids == pytest.approx(overlaps.rescaled_residual_published(times, rho, K, K, rate), rel=1e-6)
    times = np.array([100.0, 250.0])  # when a class is learnt, with 500 ids
    few = overlaps.equal_overlap_flow(times, rho, K, 500, rate)["residual"]
    assert np.abs(few / overlaps.rescaled_residual_published(times, rho, K, 500, rate) - 1).max() > 0.05


def test_steps_of_the_three_scalars_are_those_of_the_whole_decoder():
    K, M, rho, rate, n = 4, 60, 0.3, 0.8, 50
    F = np.concatenate([np.full((1, K), rho**0.5), (1 - rho) ** 0.5 * np.eye(K)])
    Y, wrong = descend(F, M, rate, n)
    found = overlaps.equal_overlap_descent(n, rho, K, M, rate)
    assert wrong[0, 0] == pytest.approx(found["residual"][n], rel=1e-12)
    back = np.linalg.solve(F.T @ F, F.T) @ (Y @ wrong[0])
    assert back[0] == pytest.approx(found["own"][n], rel=1e-11)
    assert back[1:] == pytest.approx(np.full(K - 1, found["other"][n]), rel=1e-10)
    flow = overlaps.equal_overlap_flow([float(n)], rho, K, M, rate)
    assert abs(flow["own"][0] / found["own"][n] - 1) > 1e-4  # twin: no steps


def test_no_overlap_is_the_orthonormal_decoder():
    times = np.array([1.0, 20.0, 90.0])
    flow = overlaps.equal_overlap_flow(times, 0.0, 6, 80, 0.4)
    h = decoder.decoder_growth_exact(times / 6, 80, 0.4)
    assert flow["residual"] == pytest.approx(decoder.residual_exact(h, 80), rel=1e-8)
    assert flow["own"] == pytest.approx(decoder.backward_speed_exact(times / 6, 80, 0.4), rel=1e-7)


def test_the_integral_of_the_speed_is_a_square_of_the_growth():
    from attnlab.theory.token_selection.attention import speed_integral_exact

    K, M, rate, slow, t = 4, 90, 0.8, 0.3, 37.0
    total = slow * quad(lambda x: decoder.backward_speed_approx(x / K, M, rate), 0, t, epsabs=1e-12)[0]
    assert total == pytest.approx(speed_integral_exact(t, K, M, rate, slow), rel=1e-9)


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: decoder.decoder_growth_exact(1.0, 1, 1.0), "vocabulary=1"),
        (lambda: decoder.decoder_growth_exact(-1.0, 10, 1.0), "visits"),
        (lambda: decoder.decoder_growth_exact(1.0, 10, 0.0), "rate"),
        (lambda: overlaps.equal_overlap_flow(np.array([1.0]), 1.0, 3, 10, 1.0), "overlap=1.0"),
        (lambda: overlaps.decorrelated_coefficients_exact(np.eye(3)[:2], 1.0, 10, 1.0), "gram"),
    ],
)
def test_errors_name_the_argument(call, text):
    with pytest.raises(ValueError, match=text):
        call()
