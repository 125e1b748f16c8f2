"""Attention's closed forms against quadrature, an ODE solver and the whole model; the reduced flow against gradient descent."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.stats import binom

from attnlab.theory.token_selection import attention, decoder
from attnlab.theory.token_selection.reduced_flow import SymmetricClasses, snap_time_exact, token_descent, token_flow

K, M, ETA_Y, ETA_Z = 4, 90, 0.8, 0.3


def linear_classes(n_common=3, n_distinct=4, n_classes=3, vocabulary=40, classes_per_query=1):
    P = np.concatenate([np.ones(n_common), np.linspace(0.2, 1, n_distinct)])
    P /= P.sum()
    return SymmetricClasses(P[:n_common], P[n_common:], n_classes, vocabulary, classes_per_query)


def whole_model(classes, eta_y, eta_z, n_steps):
    """Gradient descent on all of Y (token, id) and Z (query, token), one endless sequence of each class."""
    C, D, N, q = len(classes.common), len(classes.distinct), classes.n_classes, classes.classes_per_query
    P = np.zeros((N, C + D * N))
    for n in range(N):
        P[n, :C], P[n, C + D * n : C + D * (n + 1)] = classes.common, classes.distinct
    Y, Z, target = (
        np.zeros((C + D * N, classes.vocabulary)),
        np.zeros((N // q, C + D * N)),
        np.eye(N, classes.vocabulary),
    )
    for _ in range(n_steps):
        dY, dZ = np.zeros_like(Y), np.zeros_like(Z)
        for n in range(N):
            f = attention.attention_direction(P[n], Z[n // q])
            alpha = np.exp(Y.T @ f)
            moved = attention.gradient_flow_exact(P[n], Z[n // q], Y, target[n] - alpha / alpha.sum())
            dY, dZ[n // q] = dY + moved[0] / N, dZ[n // q] + moved[1] / N
        Y, Z = Y + eta_y * dY, Z + eta_z * dZ
    return Y, Z


@pytest.mark.parametrize("sizes", [{}, {"classes_per_query": 3}, {"n_common": 1, "n_classes": 2}])
def test_the_reduced_steps_are_those_of_the_whole_model(sizes):
    classes, n = linear_classes(**sizes), 30
    _, Z = whole_model(classes, 1.5, 0.7, n)
    path, C, D = token_descent(classes, 1.5, 0.7, n), len(classes.common), len(classes.distinct)
    assert Z[0, :C] == pytest.approx(np.full(C, path.z_common[-1]), abs=1e-12)
    assert Z[0, C : C + D] == pytest.approx(path.z_distinct[-1], abs=1e-12)
    assert abs(Z[0, C] - path.z_distinct[-1, -1]) > 1e-6  # twin: another token


def test_steps_approach_the_flow_as_they_shrink():
    classes, errors = linear_classes(), []
    for parts in (1, 2, 4):
        rates, n = (0.8 / parts, 0.4 / parts), 40 * parts
        errors.append(
            token_descent(classes, *rates, n).z_distinct[-1, -1]
            - token_flow(classes, *rates, [float(n)]).z_distinct[-1, -1]
        )
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.2) and errors[1] / errors[2] == pytest.approx(2, abs=0.1)


def test_the_flow_depends_on_the_product_of_rate_and_time():
    classes = linear_classes()
    one, two = token_flow(classes, 1.0, 0.5, [50.0]), token_flow(classes, 2.0, 1.0, [25.0])
    assert one.z_distinct == pytest.approx(two.z_distinct, rel=1e-6)
    assert snap_time_exact(classes, 1.0, 0.5) == pytest.approx(2 * snap_time_exact(classes, 2.0, 1.0), rel=1e-4)


def test_frozen_attention_without_common_tokens_is_the_decoder_alone():
    P = np.full(4, 0.25)
    path = token_flow(SymmetricClasses(P[:0], P, 3, 50), 0.6, 1e-9, [10.0, 60.0])
    h = decoder.decoder_growth_exact(np.array([10.0, 60.0]) / 3, 50, 0.6)
    assert path.residual == pytest.approx(decoder.residual_exact(h, 50), rel=1e-6)
    assert path.loss == pytest.approx(-np.log(1 - path.residual), rel=1e-9)


def test_the_gain_law_is_exact_for_its_flow_and_false_for_another_exponent():
    P = np.array([0.5, 0.3, 0.2])

    def direction(z):
        return attention.attention_direction(P, z)

    found = solve_ivp(lambda t, z: direction(z) ** 2, (0, 1.5), np.zeros(3), rtol=1e-11, atol=1e-13)
    z, f0, f = found.y[:, -1], direction(np.zeros(3)), direction(found.y[:, -1])
    start, end = (f0[0] / f0[1]) ** 2 - 1, (f[0] / f[1]) ** 2 - 1
    assert end == pytest.approx(attention.relative_gain_exact(start, z[0]), rel=1e-8)
    assert abs(end / attention.relative_gain_exact(start, z[0] / 2) - 1) > 0.1


@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])
def test_the_exposure_solves_the_scalar_model_and_the_printed_form_is_off_by_a_constant(scale):
    def velocity(t, state):
        moved = ETA_Z / scale * decoder.backward_speed_approx(t / K, M, ETA_Y) * np.exp(4 * state[0])
        return [-moved, moved]

    found = solve_ivp(velocity, (0, 80.0), [0.0, 0.0], rtol=1e-10, atol=1e-12)
    speed = attention.speed_integral_exact(80.0, K, M, ETA_Y, ETA_Z)
    assert found.y[1, -1] == pytest.approx(attention.exposure_exact(speed, scale), rel=1e-7)
    assert attention.exposure_published(speed, scale) - attention.exposure_exact(speed, scale) == pytest.approx(
        np.log(scale) / 4
    )
    assert attention.exposure_exact(0.0, scale) == 0


def test_scanning_and_snapping_have_their_limits():
    late, early = 1e12, 1e-3
    got = 4 * attention.speed_integral_exact(np.array([early, late]), K, M, ETA_Y, ETA_Z)
    assert got[0] == pytest.approx(attention.scanning_limit(early, K, M, ETA_Y, ETA_Z), rel=1e-2)
    assert got[1] == pytest.approx(attention.snapping_limit(late, K, M, ETA_Y, ETA_Z), rel=1e-6)


@pytest.mark.parametrize("M, visits", [(34, 5.840), (100, 6.654), (1000, 8.603)])
def test_a_faster_decoder_changes_sides_where_the_derivative_of_the_integral_vanishes(M, visits):
    time = attention.denser_after_exact(K, M, ETA_Y)
    assert time == pytest.approx(visits * K / ETA_Y, rel=1e-4)

    def slope(t):
        up, down = (attention.speed_integral_exact(t, K, M, ETA_Y * x, ETA_Z) for x in (1.001, 0.999))
        return up - down

    assert slope(0.98 * time) > 0 > slope(1.02 * time)


def test_the_hoeffding_bound_covers_every_binomial_and_a_smaller_one_does_not():
    length, failure = 100, 0.1
    gap = attention.frequency_gap_bound(length, failure)

    def tail(width):
        p = np.linspace(0.05, 0.95, 19)[:, None]
        counts = np.arange(length + 1)
        return (binom.pmf(counts, length, p) * (np.abs(counts / length - p) > width)).sum(1).max()

    assert tail(gap) <= failure < tail(0.6 * gap)


def test_dominant_bounds_are_ordered_and_close_at_full_share():
    low, high = attention.dominant_growth_bounds(0.3, np.array([0.0, 1.0]))
    assert low[0] == high[0] == 1 and low[1] < high[1]
    assert np.allclose(*attention.dominant_growth_bounds(1.0, np.array([0.7])))


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: attention.attention_direction(np.zeros(3), np.zeros(3)), "counts"),
        (lambda: attention.exposure_exact(1.0, 0.0), "scale"),
        (lambda: attention.frequency_gap_bound(10, 1.5), "failure=1.5"),
        (lambda: attention.dominant_growth_bounds(0.0, 1.0), "start_share2"),
        (lambda: token_flow(linear_classes(), 1.0, 1.0, [2.0, 1.0]), "times"),
        (lambda: SymmetricClasses(np.array([0.5]), np.array([0.4]), 2, 10), "sum to one"),
        (lambda: linear_classes(vocabulary=3), "vocabulary=3"),
    ],
)
def test_errors_name_the_argument(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_fluctuations_of_attention_are_those_of_the_sample():
    P = np.array([0.5, 0.3, 0.2])
    assert attention.attention_fluctuation_limit(P, np.zeros(3)) == pytest.approx(1 - (P**2).sum())  # c = counts / T'
    shifted = attention.attention_fluctuation_limit(P, np.array([1.0, -1.0, 0.3]))
    assert attention.attention_fluctuation_limit(P, np.array([9.0, 7.0, 8.3])) == pytest.approx(shifted)


@pytest.mark.parametrize("p, z", [(0.3, 0.0), (0.3, 1.2), (0.6, -2.0)])
def test_fluctuations_of_two_tokens_are_the_sum_over_a_binomial(p, z):
    length = 4_000
    counts = np.arange(length + 1)
    c = counts * np.exp(z) / (counts * np.exp(z) + length - counts)
    exact = p * np.exp(z) / (p * np.exp(z) + 1 - p)
    brute = length * 2 * (binom.pmf(counts, length, p) * (c - exact) ** 2).sum()
    limit = attention.attention_fluctuation_limit(np.array([p, 1 - p]), np.array([z, 0.0]))
    assert limit == pytest.approx(brute, rel=20 / (length * min(p, 1 - p)))  # the next order in 1 / T'
    naive = 2 * (exact * (1 - exact))  # twin: as if tokens were drawn from c itself
    assert z == 0 or abs(naive / brute - 1) > 0.1
