"""Entropy of attention weights: bounds at random inputs and where they are sharp, slopes against differences."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from attnlab.theory.softmax_attention import entropy as theory

EPS = 2.0**-52
LOGITS = arrays(np.float64, st.integers(3, 7), elements=st.floats(-4, 4, width=32))


def weights(x, beta=1):
    top = [mpmath.exp(mpmath.mpf(beta) * mpmath.mpf(float(v))) for v in x]
    return [w / mpmath.fsum(top) for w in top]


def entropy(p):
    return -mpmath.fsum(v * mpmath.log(v) for v in p)


@given(LOGITS)
def test_entropy_respects_deficit_and_fano(x):
    with mpmath.workdps(40):
        p = weights(x)
        H = float(entropy(p))
    assert np.log(x.size) - H <= theory.entropy_deficit_bound(np.ptp(x)) * (1 + 8 * EPS) + 8 * EPS
    assert H <= theory.fano_bound(float(max(p)), x.size) + 32 * EPS


def test_deficit_bound_is_sharp_at_small_spread_and_fano_at_equal_rest():
    s = 1e-2
    with mpmath.workdps(40):
        deficit = float(mpmath.log(4) - entropy(weights([s / 2, s / 2, -s / 2, -s / 2])))
        p = weights([2.0, 0.0, 0.0, 0.0])
        H, top = float(entropy(p)), float(p[0])
    assert deficit / theory.entropy_deficit_bound(s) == pytest.approx(1, abs=s**2) and deficit > s**2 / 9
    assert H == pytest.approx(theory.fano_bound(top, 4), rel=1e-14)
    rival = theory.fano_bound(top, 4) + (1 - top) * (np.log(2.8) - np.log(3))
    assert H > rival  # the twin log(n - 1.2) is false


def test_fano_at_equal_weights_is_log_n():
    assert theory.fano_bound(0.2, 5) == pytest.approx(np.log(5), rel=1e-15)


def test_slopes_are_the_derivatives_in_the_inverse_temperature():
    x, beta = [0.4, -1.3, 2.0, 0.1], mpmath.mpf(1.25)
    with mpmath.workdps(40):

        def moment(k, b):
            return mpmath.fsum(p * mpmath.mpf(float(v)) ** k for p, v in zip(weights(x, b), x, strict=True))

        variance = float(moment(2, beta) - moment(1, beta) ** 2)
        entropy_slope = float(mpmath.diff(lambda b: entropy(weights(x, b)), beta))
        score_slope = float(mpmath.diff(lambda b: moment(1, b), beta))
    assert entropy_slope == pytest.approx(theory.entropy_slope(1.25, variance), rel=1e-12)
    assert score_slope == pytest.approx(theory.expected_score_slope(variance), rel=1e-12)
    assert abs(entropy_slope + variance) > 0.1 * variance  # the twin without beta is false


@given(LOGITS, st.floats(0, 2), st.floats(0, 1))
def test_expected_score_rises_by_at_most_its_bound(x, beta, step):
    with mpmath.workdps(40):
        rise = float(
            sum(
                (a - b) * mpmath.mpf(float(v))
                for a, b, v in zip(weights(x, mpmath.mpf(beta) + mpmath.mpf(step)), weights(x, beta), x, strict=True)
            )
        )
    assert -1e-30 <= rise <= theory.expected_score_increase_bound(np.ptp(x), step) * (1 + 8 * EPS) + 1e-30


def test_expected_score_bound_is_sharp_for_a_small_step():
    h, s = 1e-4, 2.0
    rise = np.tanh(h * s / 2) * s / 2  # two logits +-s/2 from equal weights
    assert rise / theory.expected_score_increase_bound(s, h) == pytest.approx(1, abs=1e-8)
    assert rise > h * s**2 / 4.2


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="variance"):
        theory.expected_score_slope(-1.0)
    with pytest.raises(ValueError, match="n_keys"):
        theory.fano_bound(0.5, 1)
