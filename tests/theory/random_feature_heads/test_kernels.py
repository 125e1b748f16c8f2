"""Kernels, spectra, norms and learning curves of random-feature attention, against quadrature, sampling and other derivations."""

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import dblquad
from scipy.special import eval_gegenbauer, roots_jacobi
from scipy.stats import multivariate_normal

from attnlab.theory.random_feature_heads import kernels, spectrum
from attnlab.theory.random_feature_heads import learning_curves as learning


def sphere(rng, *shape):
    x = rng.normal(size=shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def inputs(rng, n, n_keys, dim):
    return sphere(rng, n, dim), sphere(rng, n, n_keys, dim)


def relu_product(m, n, rho):
    q = math.sqrt(1 - rho**2)

    def density(b, a):
        return (
            max(a, 0) * max(b, 0) * math.exp(-((a - m) ** 2 - 2 * rho * (a - m) * (b - n) + (b - n) ** 2) / (2 * q * q))
        )

    return dblquad(density, 0, m + 9, 0, n + 9, epsabs=1e-9)[0] / (2 * math.pi * q)


@pytest.mark.parametrize("m, n, rho", [(1, 0.5, 0.3), (-0.7, 0.4, -0.6), (2, -1, 0.8)])
def test_shifted_kernel_is_the_integral_of_relus(m, n, rho):
    assert float(kernels.shifted_arc_cosine(m, n, rho)) == pytest.approx(relu_product(m, n, rho), abs=2e-7)
    cdf = multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf([m, n])
    assert float(kernels.bivariate_normal_cdf(m, n, rho)) == pytest.approx(cdf, abs=1e-7)
    assert abs(kernels.shifted_arc_cosine(m, n, rho) - kernels.arc_cosine(rho)) > 1e-3  # twin: no shift


def test_limits_of_the_shifted_kernel():
    rho = np.linspace(-1, 1, 9)
    assert np.allclose(kernels.shifted_arc_cosine(0, 0, rho), kernels.arc_cosine(rho), atol=1e-8)
    m = np.array([-1.0, 0.5, 3.0])
    second_moment = (m**2 + 1) * kernels.ndtr(m) + m * np.exp(-(m**2) / 2) / math.sqrt(2 * math.pi)
    assert np.allclose(kernels.shifted_arc_cosine(m, m, 1.0), second_moment, atol=1e-7)
    assert float(kernels.arc_cosine(1)) == 0.5 and float(kernels.arc_cosine(1 + 1e-12)) == 0.5


def test_series_sums_to_the_kernel():
    c, rho = kernels.arc_cosine_coefficients(200), np.linspace(-0.9, 0.9, 7)
    assert np.allclose(np.polynomial.polynomial.polyval(rho, c), kernels.arc_cosine(rho), atol=1e-12)
    assert c[4] == pytest.approx(1 / (48 * math.pi)) and not c[3::2].any() and (c >= 0).all()


@pytest.mark.parametrize("bias, augmented", [(0.0, True), (2.0, True), (0.0, False)])
def test_attention_kernel_is_the_mean_over_heads(bias, augmented):
    rng = np.random.default_rng(0)
    d, n_keys, heads = 4, 2, 60_000
    query, keys = inputs(rng, 2, n_keys, d)
    K = kernels.attention_kernel(query, keys, query, keys, bias=bias, augmented=augmented)
    W = rng.normal(size=(heads, d + augmented, d + augmented)) / (2 if augmented else 1)
    W[:, range(d), range(d)] += bias
    tokens = [np.concatenate([x, np.ones((*x.shape[:-1], 1))], -1) if augmented else x for x in (query, keys)]
    phi = [
        np.maximum(np.einsum("a,mab,ib->mi", tokens[0][k], W, tokens[1][k]), 0) @ tokens[1][k] / n_keys
        for k in range(2)
    ]
    for a, b in itertools.product(range(2), repeat=2):
        products = (phi[a] * phi[b]).sum(1)
        assert abs(products.mean() - K[a, b]) < 5 * products.std() / heads**0.5
    assert (
        abs((phi[0] ** 2).sum(1).mean() - 1.1 * K[0, 0]) > 5 * (phi[0] ** 2).sum(1).std() / heads**0.5
    )  # twin: 10 % off


def quadrature(dim, degree, augmented, nodes=80):
    x, w = roots_jacobi(nodes, (dim - 3) / 2, (dim - 3) / 2)
    w = w / w.sum()
    P = [eval_gegenbauer(k, (dim - 2) / 2, x) / eval_gegenbauer(k, (dim - 2) / 2, 1.0) for k in range(degree + 1)]
    u, t = x[:, None], x[None]
    K = kernels.arc_cosine((1 + u) * (1 + t) / 4) * (1 + t) if augmented else kernels.arc_cosine(u * t) * t
    return np.array([[(w * a) @ K @ (w * b) for b in P] for a in P])


@pytest.mark.parametrize("dim", [4, 7, 16])
@pytest.mark.parametrize("augmented", [True, False])
def test_eigenvalues_are_those_of_quadrature(dim, augmented):
    exact = spectrum.pair_eigenvalues(dim, 4, augmented)
    assert np.allclose(exact, quadrature(dim, 4, augmented), atol=1e-8)
    assert not np.allclose(exact, quadrature(dim, 4, not augmented), atol=1e-3)
    if augmented:
        assert (exact > 0).all()
    else:
        allowed = {(a, b) for a in range(5) for b in range(5) if a % 2 == 0 and b % 2 == 1} | {(1, 0), (1, 2)}
        assert {tuple(map(int, mode)) for mode in np.argwhere(exact > 1e-15)} == allowed


def test_perceptron_eigenvalues_are_means_over_tokens():
    rng, dim, n_keys = np.random.default_rng(1), 4, 2
    found = spectrum.perceptron_spectrum(dim, n_keys)
    t = sphere(rng, 400_000, n_keys + 1, dim)[..., 0]
    values = kernels.arc_cosine((1 + t.mean(1)) / 2)
    P2 = (dim * t**2 - 1) / (dim - 1)
    for mode, factor in {
        (): 1.0,
        (1,): t[:, 0],
        (2,): P2[:, 1],
        (1, 1): t[:, 0] * t[:, 2],
        (1, 2): t[:, 1] * P2[:, 0],
    }.items():
        sample = values * factor
        assert abs(sample.mean() - found.eigenvalues[mode]) < 5 * sample.std() / len(t) ** 0.5
    assert found.multiplicities[1, 2] == 6 * 4 * 9 and found.multiplicities[1, 1] == 3 * 16
    total = sum(found.eigenvalues[m] * found.multiplicities[m] for m in found.eigenvalues)
    assert total + found.tail == pytest.approx(0.5) and found.tail < 1e-3


def test_attention_spectrum_sums_to_the_mean_of_the_kernel():
    rng = np.random.default_rng(2)
    query, keys = inputs(rng, 400, 3, 5)
    for augmented in (True, False):
        found = spectrum.attention_spectrum(5, 3, 14, augmented)
        total = sum(found.eigenvalues[m] * found.multiplicities[m] for m in found.eigenvalues) + found.tail
        sample = np.array(
            [
                kernels.attention_kernel(
                    query[k : k + 1], keys[k : k + 1], query[k : k + 1], keys[k : k + 1], augmented=augmented
                )[0, 0]
                for k in range(400)
            ]
        )
        assert abs(sample.mean() - total) < 5 * sample.std() / 20 and found.tail < 0.01 * total


def value(target, query, keys):
    kind, power = spectrum.parse_target(target)
    s, b = np.einsum("nd,nid->ni", query, keys), keys[..., 0]
    return {"b": b**power, "s": s**power, "sb": s**power * b}[kind].mean(1)


@pytest.mark.parametrize("target", ["b1", "b2", "b3", "s1", "s2", "s1b", "s2b"])
def test_energies_sum_to_the_variance(target):
    query, keys = inputs(np.random.default_rng(3), 200_000, 3, 5)
    y = value(target, query, keys)
    squares = (y - y.mean()) ** 2
    assert abs(squares.mean() - spectrum.variance(target, 5, 3)) < 5 * squares.std() / 200_000**0.5


def test_published_and_known_norms():
    assert spectrum.squared_norm("b1", 3, augmented=False) == pytest.approx(5.68889, abs=1e-5)
    assert (
        spectrum.squared_norm("b2", 5, augmented=False) == math.inf == spectrum.squared_norm("s1", 5, augmented=False)
    )
    for target in ("b1", "b2", "s1", "s2"):  # tensors become exact as d grows
        ratios = [spectrum.squared_norm(target, d) / spectrum.tensor_bound(target, d) for d in (4, 16, 64, 256)]
        assert (np.diff(ratios) > 0).all() and 0.99 < ratios[-1] <= 1


def test_norm_is_the_limit_of_interpolation():
    query, keys = inputs(np.random.default_rng(4), 500, 2, 3)
    K = kernels.attention_kernel(query, keys, query, keys) + 1e-10 * np.eye(500)
    for target, mean in (("b2", 1 / 3), ("s1", 0)):
        y, exact = value(target, query, keys) - mean, spectrum.squared_norm(target, 3)
        found = [float(y[:n] @ np.linalg.solve(K[:n, :n], y[:n])) / exact for n in (50, 150, 500)]
        assert found[0] < found[1] < found[2] < 1 and found[2] > 0.98


def test_costs_of_tensors_are_the_coefficients_of_the_kernel():
    u, t = 0.3, -0.4
    total = sum(u**r * t**s / spectrum.tensor_cost(r, s) for r in range(40) for s in range(40))
    assert total == pytest.approx(float(kernels.arc_cosine((1 + u) * (1 + t) / 4)) * (1 + t), rel=1e-9)


def test_effective_ridge_solves_its_equation_and_a_flat_spectrum_is_a_quadratic():
    flat = spectrum.Spectrum({(0, 1): 0.5}, {(0, 1): 10.0}, 0.0)
    kappa = learning.effective_ridge(flat, 30, 2.0)
    a, b, c = 30, 30 * 0.5 - 5.0 - 2.0, -2.0 * 0.5
    assert kappa == pytest.approx((-b + math.sqrt(b * b - 4 * a * c)) / (2 * a), rel=1e-9)
    found = spectrum.attention_spectrum(8, 4)
    kappa = learning.effective_ridge(found, 200, 1e-3)
    left = (
        sum(found.multiplicities[m] * v / (v + kappa) for m, v in found.eigenvalues.items())
        + (1e-3 + found.tail) / kappa
    )
    assert left == pytest.approx(200, rel=1e-9)


@pytest.mark.parametrize(("n", "dim"), [(6, 10), (30, 10), (40, 37)])
def test_noise_without_ridge_is_the_variance_of_least_squares(n, dim):
    """n / (D - n) for n < D equal modes, D / (n - D) for n > D (Hastie, Montanari, Rosset and Tibshirani 2022)."""
    flat = spectrum.Spectrum({(0, 1): 0.5}, {(0, 1): float(dim)}, 0.0)
    found = learning.noise_error(flat, [n], ridge=1e-9)[0]
    assert found == pytest.approx(min(n, dim) / abs(dim - n), rel=1e-5)
    assert learning.noise_error(flat, [n], ridge=1e-9, inflated=False)[0] == pytest.approx(
        min(n, dim) / n * min(1, n / dim), rel=1e-5
    )


def test_norm_of_a_fit_rises_to_the_norm_of_the_target():
    found = spectrum.attention_spectrum(5, 2)
    curve = learning.norm_of_fit(found, "b2", 5, 2, [10, 100, 1000, 10**7], ridge=1e-9) / spectrum.squared_norm("b2", 5)
    assert (np.diff(curve) > 0).all() and curve[0] < 0.5 and 1 - 1e-4 < curve[-1] < 1


def test_learning_curve_is_what_regression_on_sampled_tokens_does():
    rng, d, n_keys, n = np.random.default_rng(5), 5, 2, 120
    predicted = {
        t: learning.learning_curve(spectrum.attention_spectrum(d, n_keys), t, d, n_keys, [n], ridge=0.01)[0]
        for t in ("b1", "s1")
    }
    bias = {
        t: learning.learning_curve(
            spectrum.attention_spectrum(d, n_keys), t, d, n_keys, [n], ridge=0.01, inflated=False
        )[0]
        for t in predicted
    }
    found = {t: [] for t in predicted}
    for _ in range(30):
        train, test = inputs(rng, n, n_keys, d), inputs(rng, 200, n_keys, d)
        K, L = kernels.attention_kernel(*train, *train), kernels.attention_kernel(*test, *train)
        for t in found:
            error = L @ np.linalg.solve(K + 0.01 * np.eye(n), value(t, *train)) - value(t, *test)
            found[t].append((error**2).mean() / spectrum.variance(t, d, n_keys))
    for t, values in found.items():
        error = np.std(values) / 30**0.5
        assert abs(np.mean(values) - predicted[t]) < 5 * error + 0.05 * predicted[t]
        assert abs(np.mean(values) - bias[t]) > 5 * error  # twin: without E_0


def test_bounds_of_norm_and_rank():
    found = spectrum.attention_spectrum(8, 4)
    for target in ("b1", "b2", "s1", "s2", "s2b"):
        sizes = np.array([10, 30, 100, 300, 1000])
        curve = learning.learning_curve(found, target, 8, 4, sizes, ridge=1e-3)
        bound = learning.norm_error_bound(found, spectrum.squared_norm(target, 8), sizes, ridge=1e-3)
        assert (curve * spectrum.variance(target, 8, 4) <= bound * (1 + 1e-9)).all()
        assert all(
            learning.rank_error_bound(target, 8, 4, n) <= value + 1e-9 for n, value in zip(sizes, curve, strict=True)
        )
    assert learning.rank_error_bound("b2", 8, 4, 7) == pytest.approx(1 - 7 / 35)
    assert learning.rank_error_bound("b2", 8, 4, 7, exchangeable=False) == pytest.approx(1 - 7 / 140)
    assert learning.rank_error_bound("s1", 8, 4, 32) == pytest.approx(1 - 32 / 64)


def test_no_random_subspace_beats_the_rank_bound_on_average():
    rng, d, rank = np.random.default_rng(6), 4, 3
    left = []
    for _ in range(2000):  # linear functions of a mean key: rotated coordinates
        basis = np.linalg.qr(rng.normal(size=(d, rank)))[0]
        left.append(1 - (basis[0] ** 2).sum())
    assert np.mean(left) == pytest.approx(learning.rank_error_bound("b1", d, 5, rank), abs=5 * np.std(left) / 2000**0.5)


def test_the_published_bound_in_numbers():
    found = learning.published_risk_bound(4.0, 8, [100, 400], 200)
    assert found[0] == pytest.approx(4 * (math.sqrt(math.log(800) / 200) + math.sqrt((64 + math.log(100)) / 100)))
    assert found[1] < found[0] and learning.published_risk_bound(4.0, 8, 1e12, 1e12) == pytest.approx(
        4 * math.sqrt(math.log(8e12) / 1e12) + 4 * math.sqrt((64 + math.log(1e12)) / 1e12)
    )
    with pytest.raises(ValueError, match="n_samples"):
        learning.published_risk_bound(4.0, 8, 100, 0)


def test_samples_for_half_lie_on_the_curve():
    found = spectrum.attention_spectrum(16, 4)
    n = learning.half_samples(found, "b2", 16, 4, ridge=1e-3)
    assert learning.learning_curve(found, "b2", 16, 4, [n], ridge=1e-3)[0] == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize("dim, n_keys", [(4, 1), (4, 3)])
def test_explicit_values_have_the_stated_error(dim, n_keys):
    rng, errors = np.random.default_rng(7), []
    query, keys = inputs(rng, 40_000, n_keys, dim)
    W = rng.normal(size=(40_000, dim, dim))
    output = math.sqrt(2 * math.pi) * (np.maximum(np.einsum("na,nab,nib->ni", query, W, keys), 0) * keys[..., 0]).mean(
        1
    )
    errors = (output - keys[..., 0].mean(1)) ** 2
    assert abs(errors.mean() - kernels.explicit_weights_error(dim, n_keys, 1)) < 5 * errors.std() / 200
    assert kernels.explicit_weights_error(dim, n_keys, 10) == pytest.approx(
        kernels.explicit_weights_error(dim, n_keys, 1) / 10
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spectrum.parse_target("q2"), "target='q2' is unknown"),
        (lambda: spectrum.tensor_bound("s1b", 4), "no simple tensor"),
        (lambda: spectrum.pair_eigenvalues(2, 3), "dim=2 must be a whole number"),
        (lambda: spectrum.multiplicity(1, 2), "dim=1"),
        (lambda: kernels.arc_cosine_coefficients(1), "n_terms=1"),
        (lambda: kernels.explicit_weights_error(4, 0, 2), "n_keys=0"),
        (
            lambda: kernels.attention_kernel(np.ones((2, 3)), np.ones((2, 2, 4)), np.ones((2, 3)), np.ones((2, 2, 4))),
            "keys",
        ),
        (lambda: learning.effective_ridge(spectrum.attention_spectrum(4, 2), 0, 0.1), "n_samples=0"),
        (lambda: learning.rank_error_bound("b1", 4, 2, -1), "rank=-1"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
