"""Laws of linear memories where another formula gives the same number."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from attnlab.theory.gates_and_memory import compressive_memory, mega


def elu_plus_one(x):
    return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))


Z = np.linspace(-12, 12, 2401)
W = stats.norm.pdf(Z) / stats.norm.pdf(Z).sum()


@pytest.mark.parametrize("s", [0.7, 3.0])
def test_a_stored_pairs_own_weight_has_moments_of_a_ratio_by_laplace_integrals(s):
    """1/x = int e^{-tx} dt and 1/x^2 = int t e^{-tx} dt for the sum of d features; what is left is of order 1/d."""
    phi, d = elu_plus_one(s * Z), 400
    m1 = W @ phi
    t = np.geomspace(1e-9, 60 / (d * m1), 1500)
    kernel = np.exp(-np.outer(t, phi))
    one, two, four = (kernel @ (W * phi**k) for k in (0, 2, 4))
    mean = integrate.simpson(d * two * one ** (d - 1), x=t) / m1
    square = integrate.simpson(t * (d * four * one ** (d - 1) + d * (d - 1) * two**2 * one ** (d - 2)), x=t) / m1**2
    law, variance = compressive_memory.own_weight(s, d)
    first = compressive_memory.gain(s)
    assert abs(law - mean) < 0.05 * abs(first - mean)
    assert variance == pytest.approx(square - mean**2, rel=0.05)


def test_recall_is_that_of_leads_whose_covariance_is_counted():
    """Coefficients of the independent products v_a . v_b in the lead over each rival, for wide keys and for 60 channels."""
    N, s, d_v = 5, 1.0, 30
    for d in (10**9, 60):
        g = compressive_memory.gain(s)
        mean, own = compressive_memory.own_weight(s, d)
        weight = [g] + [1.0] * (N - 1)
        leads = []
        for i in range(1, N):
            row = np.zeros((N, N))
            for j in range(N):
                for a, sign in ((0, 1), (i, -1)):
                    if j != a:
                        row[min(a, j), max(a, j)] += sign * weight[j]
            leads.append(row.ravel())
        covariance = np.array(leads) @ np.array(leads).T / d_v
        common = covariance[0, 1] + own
        phi = elu_plus_one(s * Z)
        noise = (
            W @ phi**2 * (W @ phi**2 - (W @ phi) ** 2) / (W @ phi) ** 4 / d
        )  # of a rival's own weight, the query given
        single = math.sqrt(covariance[0, 0] - covariance[0, 1] + noise)
        p = W @ stats.norm.cdf((mean - 1 + math.sqrt(common) * Z) / single) ** (N - 1)
        assert compressive_memory.recall_limit(N, s, d, d_v) == pytest.approx(p, rel=1e-6)


def test_the_skewness_of_a_feature_is_a_third_moment():
    phi = elu_plus_one(Z)
    part = phi**2 / (W @ phi**2) - phi / (W @ phi)
    standard = part / math.sqrt(W @ part**2)
    assert compressive_memory.feature_skewness(1.0) == pytest.approx(W @ standard**3, rel=1e-6)


def test_lags_are_powers_of_the_decay():
    assert 0.93 ** mega.lag_at(0.93, 0.01) == pytest.approx(0.01) and 0.8 ** mega.half_life(0.8) == pytest.approx(0.5)
