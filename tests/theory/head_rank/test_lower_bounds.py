"""Rank of heads: harmonics and bounds, near-ties, kernels of rank-one heads and votes, against independent derivations."""

import math

import numpy as np
import pytest
from scipy.integrate import dblquad, quad

from attnlab.theory.head_rank import full_rank_head as target
from attnlab.theory.head_rank import lower_bounds as theory
from attnlab.theory.head_rank import majority_vote as vote
from attnlab.theory.head_rank import random_heads as kernels

EPS64 = np.finfo(np.float64).eps


def sphere(rng, *shape):
    x = rng.normal(size=shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def coordinates(rng, n, dim):
    """Coordinates of uniform points of the sphere: their squares have a beta distribution."""
    return np.sqrt(rng.beta(0.5, (dim - 1) / 2, n)) * rng.choice([-1.0, 1.0], n)


def gegenbauer(degree, dim, t):
    """P_l(t) with P_l(1) = 1, by orthogonalising powers under the coordinate density (not by the recurrence)."""
    x, w = np.polynomial.legendre.leggauss(60)
    weight = w * np.cos(x * np.pi / 2) * target.coordinate_density(np.sin(x * np.pi / 2), dim)
    basis = np.vander(np.sin(x * np.pi / 2), degree + 1, increasing=True)
    _, R = np.linalg.qr(np.sqrt(weight)[:, None] * basis)
    coefficients = np.linalg.solve(R, np.eye(degree + 1))[:, -1]
    return np.polynomial.polynomial.polyval(t, coefficients) / coefficients.sum()


@pytest.mark.parametrize(("dim", "rank", "degree"), [(3, 1, 3), (4, 2, 3), (5, 3, 2), (6, 2, 5)])
def test_dimensions_are_ranks_of_zonal_functions(dim, rank, degree):
    rng = np.random.default_rng(0)
    z = sphere(rng, 200, dim)
    assert np.linalg.matrix_rank(gegenbauer(degree, dim, z @ z.T), rtol=1e-8) == theory.harmonic_dimension(dim, degree)
    low = sphere(rng, 200, rank)  # zonal functions at points of a subspace see its coordinates only
    assert np.linalg.matrix_rank(gegenbauer(degree, dim, low @ low.T), rtol=1e-8) == theory.invariant_dimension(
        rank, degree
    )


def test_eigenvalues_of_the_sign_are_its_integrals():
    for dim in (3, 4, 7):
        for degree in (1, 3, 5):
            integral = (
                2
                * quad(
                    lambda t, dim=dim, degree=degree: float(
                        gegenbauer(degree, dim, t) * target.coordinate_density(t, dim)
                    ),
                    0,
                    1,
                )[0]
            )
            assert theory.sign_eigenvalue(dim, degree) == pytest.approx(integral, rel=1e-8)
    assert theory.sign_eigenvalue(5, 4) == 0


def test_energies_sum_to_one():
    for dim in (3, 8, 40):
        degrees = np.arange(1, 40_001, 2)
        left = 1 - theory.sign_energy(dim, degrees).sum()
        tail = 2**dim * math.gamma(dim / 2) ** 2 / (math.pi**2 * math.factorial(dim - 2)) / 40_000  # Stirling, l >> d^2
        assert left == pytest.approx(tail, rel=dim**2 / 40_000 + 1e-3)
    assert theory.sign_energy(10**6, [1, 3, 5]) == pytest.approx(
        [2 / np.pi, 1 / (3 * np.pi), 3 / (20 * np.pi)], rel=1e-4
    )


def test_bound_of_one_head_is_the_energy_of_a_conditional_mean():
    # d = 3, r = 1: the best use of one head is psi = E[sign<w, y> | <k, w>, y], known in closed form
    def squared(a, b):
        x = np.clip(a * b / math.sqrt((1 - a * a) * (1 - b * b)), -1, 1)
        return (2 / math.pi * math.asin(x)) ** 2

    captured = dblquad(squared, 0, 1, 0, 1, epsabs=1e-7)[0]
    assert theory.error_lower_bound(3, 1, 1, "scalar") == pytest.approx(
        0.5 * (1 - captured), abs=2e-4
    )  # energy above 4001
    assert abs(theory.error_lower_bound(3, 1, 1, "matrix") - 0.5 * (1 - captured)) > 0.05  # twin


def test_bounds_fall_with_heads_and_with_freedom():
    assert theory.error_lower_bound(8, 2, 0) == pytest.approx(0.5)
    for heads in (1, 3, 10, 100):
        three = [theory.error_lower_bound(8, 2, heads, values) for values in theory.VALUES]
        assert three == sorted(three, reverse=True)
        assert all(
            theory.error_lower_bound(8, 2, 2 * heads, values) <= bound
            for values, bound in zip(theory.VALUES, three, strict=True)
        )
    assert theory.error_lower_bound(8, 7, 3, "scalar") == 0  # half of the harmonics each, two heads are enough
    needed = theory.heads_needed(9, 2, 0.12)
    assert theory.error_lower_bound(9, 2, needed) == pytest.approx(0.12, abs=1e-9)
    assert theory.error_lower_bound(9, 2, 0.99 * needed) > 0.12


def test_highest_degree_follows_the_tail_law():
    assert [theory.highest_degree_needed(error) for error in (0.3, 0.17, 0.12, 0.1)] == [1, 3, 5, 7]
    for error in (0.02, 0.01):
        assert theory.highest_degree_needed(error) == pytest.approx((2 / math.pi) ** 3 / (4 * error**2), abs=2)


def test_full_rank_error_against_samples_and_its_limits():
    rng, n = np.random.default_rng(1), 200_000
    for dim, beta in ((8, 5.0), (16, 20.0)):
        t = coordinates(rng, n, dim)
        sample = (1 - np.tanh(beta * abs(t) / 2**0.5)) ** 2 / 2
        exact, tolerance = target.full_rank_error_exact(dim, beta), 4 * sample.std() / n**0.5
        assert abs(sample.mean() - exact) < tolerance
        assert beta > 5 or abs(sample.mean() - target.full_rank_error_limit(dim, beta)) > tolerance  # twin
    assert target.full_rank_error_exact(6, 1e-9) == pytest.approx(0.5)
    assert target.full_rank_error_exact(6, 1e5) == pytest.approx(target.full_rank_error_limit(6, 1e5), rel=1e-8)


def test_near_tie_constant_against_samples_given_the_inner_products():
    # averaging over directions leaves |sum_j p_j x_j - x_1|^2 a function of the inner products with y alone
    rng, dim, m, beta, n = np.random.default_rng(2), 5, 6, 200.0, 100_000
    t = -np.sort(-coordinates(rng, n * m, dim).reshape(n, m), axis=1)
    p = np.exp(beta * (t - t[:, :1]))
    a = p[:, 1:] / p.sum(1, keepdims=True)
    error = (
        (a**2 * (1 - t[:, 1:] ** 2)).sum(1)
        + ((a * t[:, 1:]).sum(1) - a.sum(1) * t[:, 0]) ** 2
        + a.sum(1) ** 2 * (1 - t[:, 0] ** 2)
    )
    predicted, rival = (target.near_tie_constant(dim, m, orthogonal=each) / beta for each in (False, True))
    tolerance = 4 * error.std() / n**0.5 + 0.05 * predicted  # 5 %: the next order in 1 / beta
    assert abs(error.mean() - predicted) < tolerance < rival - predicted


@pytest.mark.parametrize(("dim", "n_points"), [(8, 4), (16, 8), (5, 2)])
def test_linear_predictor_error_is_that_of_least_squares(dim, n_points):
    rng, n = np.random.default_rng(3), 40_000
    x = sphere(rng, n, n_points, dim)
    far = x[np.arange(n), 1 + np.einsum("nd,njd->nj", x[:, 0], x[:, 1:]).argmin(1)]
    features = np.stack([x[:, 0].ravel(), x[:, 1:].sum(1).ravel()], axis=1)
    fit = features @ np.linalg.lstsq(features, far.ravel(), rcond=None)[0]
    error = ((fit - far.ravel()) ** 2).reshape(n, dim).sum(1)
    assert abs(error.mean() - target.linear_predictor_error(dim, n_points)) < 4 * error.std() / n**0.5 + 2 / n


def test_target_agreement_on_the_circle_and_for_aligned_heads():
    theta = np.linspace(0, np.pi, 9)
    folded = np.minimum(theta, np.pi - theta)
    circle = 0.5 + np.sign(np.cos(theta)) * (0.25 - (folded / np.pi) ** 2)
    circle[4] = 0.5  # theta = pi / 2
    assert kernels.target_agreement(np.cos(theta), 2) == pytest.approx(circle, abs=2e-5)
    for dim in (3, 8):
        mean = 2 * quad(lambda t, dim=dim: math.asin(t) * float(target.coordinate_density(t, dim)), 0, 1)[0]
        assert kernels.target_agreement(1.0, dim) == pytest.approx(0.5 + mean / math.pi, abs=1e-7)


def test_a_head_agrees_with_itself_to_rounding_which_the_arcsine_of_a_product_does_not():
    rows = sphere(np.random.default_rng(4), 400, 6)
    own = kernels.head_agreement(rows, rows).diagonal()
    assert np.abs(own - 1).max() <= 4 * EPS64  # roundings of pi^2, a square, a product and a sum
    product = (rows @ rows.T).diagonal()
    twin = 0.5 + 2 / math.pi**2 * np.arcsin(np.clip(product, -1, 1)) ** 2
    if product.min() < 1:  # on some processors every product of these rows rounds to 1; then the twin is right, too
        assert np.abs(twin - 1).max() > 1e-9


def test_head_agreement_is_the_share_of_equal_choices():
    rng, dim, n = np.random.default_rng(8), 3, 200_000
    Q, K = sphere(rng, 3, dim), sphere(rng, 3, dim)
    query, axis = rng.standard_normal((n, dim)), rng.standard_normal((n, dim))
    choice = np.sign(query @ Q.T) * np.sign(axis @ K.T)
    share = (choice[:, :, None] == choice[:, None, :]).mean(0)
    found = kernels.head_agreement(Q, K)
    assert np.abs(share - found).max() < 5 * 0.5 / n**0.5


def test_best_errors_solve_the_normal_equations_and_respect_the_bound():
    rng = np.random.default_rng(4)
    Q, K = sphere(rng, 40, 6), sphere(rng, 40, 6)
    errors = kernels.best_errors(Q, K)
    for n in (1, 7, 40):
        values = kernels.best_values(Q[:n], K[:n])
        C, b = kernels.head_agreement(Q[:n], K[:n]), kernels.target_agreement((Q[:n] * K[:n]).sum(1), 6)
        assert errors[n - 1] == pytest.approx(1 - 2 * values @ b + values @ C @ values, abs=1e-12)
        assert errors[n - 1] > theory.error_lower_bound(6, 1, n, "scalar")
    assert errors[0] == pytest.approx(1 - kernels.target_agreement((Q[0] * K[0]).sum(), 6) ** 2)


@pytest.mark.slow
def test_no_descent_on_queries_and_keys_gets_below_the_scalar_bound():
    # steepest search on the exact error: random moves that are kept when they help
    rng, dim, n = np.random.default_rng(5), 4, 4
    Q = K = sphere(rng, n, dim)
    best = kernels.best_errors(Q, K)[-1]
    start, bound = best, theory.error_lower_bound(dim, 1, n, "scalar")
    for step in range(600):
        size = 0.5 * 0.99**step
        moved = [x + size * rng.normal(size=x.shape) for x in (Q, K)]
        moved = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in moved]
        found = kernels.best_errors(*moved)[-1]
        if found < best:
            best, (Q, K) = found, moved
    assert bound < best < start - 0.01


def test_ideal_weight_gives_the_truncated_sign_on_the_circle():
    n, degree = 720, 5
    angle = 2 * np.pi * np.arange(n) / n
    sign = np.sign(np.cos(angle[:, None] - angle[None] - np.pi / n))  # heads between the points: no ties
    weight = kernels.ideal_weight(angle[:, None] - angle[None], 2, degree)
    out = sign[0] @ weight @ sign.T / n**2  # y at angle 0, w at every angle
    truncated = sum(2 * theory.sign_eigenvalue(2, l) * np.cos(l * angle) for l in (1, 3, 5))
    assert np.abs(out - truncated).max() < 0.002  # midpoint rule: (L pi / n)^2
    assert np.abs(out - np.sign(np.cos(angle))).max() > 0.2  # twin: the whole sign


def test_vote_error_is_a_sum_over_votes():
    x, w = np.polynomial.legendre.leggauss(100)
    phi = (x + 1) * np.pi / 4
    for dim, heads in ((8, 1), (8, 4), (16, 9)):
        mass = w * np.pi / 4 * np.cos(phi) * 2 * target.coordinate_density(np.sin(phi), dim)
        right = 0.5 + phi / np.pi
        loss = [2 if 2 * votes < heads else 0.5 if 2 * votes == heads else 0 for votes in range(heads + 1)]
        cost = sum(loss[k] * math.comb(heads, k) * right**k * (1 - right) ** (heads - k) for k in range(heads + 1))
        assert vote.vote_error_exact(dim, heads) == pytest.approx(np.sum(mass * cost), abs=1e-9)
    assert vote.vote_error_exact(50, 20_001) == pytest.approx(vote.vote_error_approx(50, 20_001), rel=0.02)


def test_arctangent_law_is_the_angle_of_two_gaussians():
    rng, n, dim, heads = np.random.default_rng(6), 400_000, 20, 400
    t, noise = rng.normal(size=(2, n)) / np.array([[dim], [heads]]) ** 0.5
    wrong = (2 / np.pi * abs(t) + noise < 0).mean()
    assert abs(2 * wrong - vote.vote_error_approx(dim, heads)) < 8 * (wrong / n) ** 0.5


def test_plateau_is_the_best_multiple_of_the_inner_product():
    rng, n = np.random.default_rng(7), 400_000
    for dim in (3, 8):
        t = coordinates(rng, n, dim)
        best = 0.5 * (1 - abs(t).mean() ** 2 / (t**2).mean())
        assert best == pytest.approx(theory.linear_plateau(dim), abs=4 / n**0.5)
        angles = np.arcsin(abs(t))
        assert 0.5 * (1 - angles.mean() ** 2 / (angles**2).mean()) == pytest.approx(
            kernels.aligned_heads_limit(dim), abs=4 / n**0.5
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.error_lower_bound(8, 8, 1), "1 <= rank <= 7"),
        (lambda: theory.error_lower_bound(8, 7, 1, "generalised"), "1 <= rank <= 6"),
        (lambda: theory.error_lower_bound(8, 1, 1, "vector"), "values='vector'"),
        (lambda: theory.error_lower_bound(8, 1, -1), "n_heads=-1"),
        (lambda: theory.heads_needed(8, 1, 0.5), "error=0.5"),
        (lambda: theory.harmonic_dimension(1, 1), "dim=1"),
        (lambda: target.full_rank_error_exact(8, 0), "inverse_temperature=0"),
        (lambda: target.near_tie_constant(8, 1), "n_points=1"),
        (lambda: vote.vote_error_exact(8, 0), "n_heads=0"),
        (lambda: kernels.head_agreement(np.ones((2, 3)), np.ones((2, 3))), "Q must hold unit vectors"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
