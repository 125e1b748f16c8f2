"""Laws of attention rows and spectra against sampling at other seeds, limits, and quantities known in closed form."""

import math

import numpy as np
import pytest
from scipy import special

from attnlab.theory.score_statistics import attention_rows, gaussian_rows, log_sum, spectra

RNG = np.random.default_rng(17)


def test_variances_of_scores_and_of_their_mean_square():
    u, w = np.array([0.5, 1.0, 2.0]), np.array([1.5, 1.0, 0.5])
    assert attention_rows.score_variance_exact(u, w) == pytest.approx((0.75 + 1 + 1) / 3)
    covariance = attention_rows.score_variance_exact(u, w) - attention_rows.score_variance_without_covariance(u, w)
    assert covariance == pytest.approx(np.mean(u * w) - u.mean() * w.mean()) and covariance < 0
    q = RNG.standard_normal((4000, 12, 3)) * np.sqrt(u)
    k = RNG.standard_normal((4000, 12, 3)) * np.sqrt(w)
    squares = np.mean((q @ k.transpose(0, 2, 1)) ** 2, axis=(1, 2)) / 3
    std = attention_rows.score_variance_std_exact(12, u, w)
    assert squares.mean() == pytest.approx(attention_rows.score_variance_exact(u, w), abs=4.5 * std / math.sqrt(4000))
    assert squares.std() == pytest.approx(std, rel=4.5 * 0.06)  # kurtosis below 60 of a product of chi-squares: 6 %
    with pytest.raises(ValueError, match="one length"):
        attention_rows.score_variance_exact([1.0], [1.0, 2.0])


def test_kurtosis_is_that_of_a_normal_number_with_a_chi_square_variance():
    assert attention_rows.score_kurtosis_exact(1) == 9.0  # a product of two normal numbers
    assert attention_rows.score_kurtosis_exact(10**9) == pytest.approx(3)
    found = []
    for _ in range(100):
        s = RNG.standard_normal((128, 16)) @ RNG.standard_normal((16, 128))
        found.append(np.mean(s**4) / np.mean(s**2) ** 2)
    std = attention_rows.score_kurtosis_std_approx(128, 16)
    assert np.mean(found) == pytest.approx(attention_rows.score_kurtosis_exact(16), abs=4.5 * std / 10 + 0.02)
    assert np.std(found) == pytest.approx(std, rel=0.4)  # 4.5 / sqrt(2 * 100), and terms of the next order


def test_limits_and_corrections_are_those_of_long_rows_and_wide_heads():
    n, s = 4096, 0.6
    assert attention_rows.entropy_exact(n, 10**6, s) == pytest.approx(gaussian_rows.entropy_approx(n, s), abs=1e-6)
    exact = attention_rows.relative_variance_exact(n, 256, s)
    limit, first = attention_rows.relative_variance_limit(s), attention_rows.relative_variance_correction(n, 256, s)
    assert exact == pytest.approx(limit + first, abs=0.1 * abs(first)) and abs(first) > 1e-4
    corrected = attention_rows.entropy_limit(n, s) + attention_rows.entropy_correction(n, s)
    assert corrected == pytest.approx(attention_rows.entropy_exact(n, 256, s), abs=1e-5)
    # the correction knows nothing of the limit: a margin made of it must not grow with an error of the law
    assert attention_rows.entropy_limit(n, s) == pytest.approx(math.log(n) - 0.18, abs=1e-12)
    dropped = log_sum.mean_entropy_exact(n, s) - (math.log(n) - 0.18)
    assert attention_rows.entropy_correction(n, s) == pytest.approx(dropped, rel=0.01)
    flat = attention_rows.mean_log_weight_correction(n, [s] * 400, [s] * 400)
    assert flat == pytest.approx(math.expm1(s**2) / (2 * n), rel=0.002)
    assert attention_rows.mean_log_weight_correction(n, [1.0, 4.0], [1.0, 4.0]) == math.inf


@pytest.mark.parametrize("spread", [1.0, 2.5])
def test_rows_over_queries_by_sampling(spread):
    n, d = 64, 8
    scores = spread * np.sum(RNG.standard_normal((4000, 1, d)) * RNG.standard_normal((4000, n, d)), -1) / math.sqrt(d)
    p = special.softmax(scores, axis=1)
    for law, x in (
        (attention_rows.entropy_exact(n, d, spread), special.entr(p).sum(1)),
        (attention_rows.relative_variance_exact(n, d, spread), n * np.square(p).sum(1) - 1),
    ):
        within = 4.5 * x.std() / math.sqrt(4000)
        assert x.mean() == pytest.approx(law, abs=within)
        assert abs(x.mean() - 1.15 * law) > within


def test_own_weight_of_equal_keys_and_of_few_sharp_ones():
    q = RNG.standard_normal((5, 4))
    assert attention_rows.own_weight_of_softmax_approx(q, 9, 1e-9) == pytest.approx(1 / 9)
    size = np.square(q).sum(1)
    odds = np.exp(size / 2 - size / 8) / 8  # sigma |q|^2 / sqrt(4) less half the variance
    assert attention_rows.own_weight_of_softmax_approx(q, 9, 1.0) == pytest.approx(odds / (1 + odds))


@pytest.mark.parametrize("dim", [16, 48])
def test_the_edge_of_normal_matrices(dim):
    moduli = [np.abs(np.linalg.eigvals(RNG.standard_normal((dim, dim)))).max() / math.sqrt(dim) for _ in range(300)]
    mean, std = spectra.edge_of_a_real_ginibre_matrix_approx(dim)
    assert np.mean(moduli) == pytest.approx(mean, abs=4.5 * std / math.sqrt(300) + 0.005 * mean)
    assert np.std(moduli) == pytest.approx(std, rel=4.5 / math.sqrt(2 * 300) + 0.1)
    assert spectra.edge_of_a_real_ginibre_matrix_approx(1)[0] == pytest.approx(math.sqrt(2 / math.pi), rel=0.25)


def test_second_eigenvalues_in_limits():
    assert spectra.effective_dimensions(256, 64, 0.01) == 64 and spectra.effective_dimensions(100, 64, 2.0) <= 100
    flat = spectra.second_eigenvalue_approx(4096, 64, 0.05)[0] / spectra.edge_of_a_real_ginibre_matrix_approx(64)[0]
    assert flat == pytest.approx(spectra.second_eigenvalue_limit(4096, 0.05), rel=1e-3)
    assert spectra.second_eigenvalue_limit(400, 1e-3) == pytest.approx(1e-3 / 20, rel=1e-6)
    mean, std = spectra.second_eigenvalue_of_tied_approx(10**6, 64, 1e-4)
    assert mean == pytest.approx(1e-4 / 8 * (1 + 0.008) ** 2, rel=2e-3) and std < 2e-3 * mean
    assert spectra.biased_share_exact(64, 1e-4) == pytest.approx(1, rel=1e-3)
    assert spectra.biased_share_exact(64, 30.0) < 0.05
    wide = spectra.second_eigenvalue_of_log_normal_approx(100, 64, 0.01)[0]
    assert wide == pytest.approx(1.062 * math.sqrt(math.expm1(0.01) * math.expm1(0.01) / 64 / 100), rel=0.02)
