"""Bounds on log-sum-exp against 40-digit values, at random inputs and where they are sharp."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax

from attnlab.theory.softmax_attention import log_sum_exp as theory

EPS = 2.0**-52
LOGITS = arrays(np.float64, st.integers(2, 7), elements=st.floats(-6, 6, width=32))


def lse(x):
    with mpmath.workdps(40):
        return mpmath.log(mpmath.fsum(mpmath.exp(mpmath.mpf(float(v))) for v in x))


def bregman(x, y):
    """``lse(y) - lse(x) - <softmax(x), y - x>`` in 40 digits."""
    with mpmath.workdps(40):
        x, y = [mpmath.mpf(float(v)) for v in x], [mpmath.mpf(float(v)) for v in y]
        weights = [mpmath.exp(v) for v in x]
        total = mpmath.fsum(weights)
        moved = mpmath.fsum(w / total * (b - a) for w, a, b in zip(weights, x, y, strict=True))
        return float(mpmath.log(mpmath.fsum(mpmath.exp(v) for v in y)) - mpmath.log(total) - moved)


@given(LOGITS, st.floats(0.25, 4))
def test_soft_maximum_exceeds_the_maximum_by_at_most_its_bound(x, beta):
    gap = float(lse(beta * x) / beta - mpmath.mpf(float(x.max())))
    assert -1e-13 <= gap <= theory.max_gap_bound(x.size, beta) * (1 + 8 * EPS) + 1e-13  # beta x rounded: 24 eps / beta


def test_soft_maximum_bound_is_reached_by_ties_and_no_smaller_one_is_true():
    gap = float(lse(np.full(8, 2.0)) - 2)
    assert gap == pytest.approx(theory.max_gap_bound(8), rel=1e-15) and gap > np.log(7.5)
    assert theory.max_gap_bound(1) == 0 and theory.max_gap_bound(8, 2.0) == pytest.approx(np.log(8) / 2, rel=1e-15)


@given(LOGITS)
def test_mean_gap_lies_between_zero_and_its_bound(x):
    gap = float(lse(x) - mpmath.log(x.size) - mpmath.fsum(map(float, x)) / x.size)
    assert -1e-15 <= gap <= theory.mean_gap_bound(np.ptp(x)) * (1 + 8 * EPS) + 1e-15


def test_mean_gap_bound_is_sharp_at_small_spread():
    s = 1e-3
    gap = float(lse(np.array([s / 2, -s / 2])) - mpmath.log(2))  # log cosh(s / 2) = s^2 / 8 - s^4 / 192
    assert gap / theory.mean_gap_bound(s) == pytest.approx(1 - s**2 / 24, abs=1e-9)
    assert gap > s**2 / 24  # the twin: variance of a uniform logit


@given(LOGITS, st.data())
def test_smoothness_and_divergence_bound_the_gap_to_the_tangent_plane(x, data):
    y = data.draw(arrays(np.float64, x.size, elements=st.floats(-6, 6, width=32)))
    gap = bregman(x, y)
    assert -1e-30 <= gap <= theory.smoothness() * ((y - x) ** 2).sum() * (1 + 16 * EPS) + 1e-30
    assert gap <= theory.divergence_bound(np.ptp(y - x)) * (1 + 16 * EPS) + 1e-30


def test_tangent_gap_is_the_divergence_of_the_weights_and_the_bounds_are_sharp():
    x, y = np.array([0.3, -1.0, 0.2]), np.array([1.0, 0.5, -0.7])
    p, q = softmax(x), softmax(y)
    assert bregman(x, y) == pytest.approx(float((p * np.log(p / q)).sum()), rel=1e-13)
    d = 1e-3
    gap = bregman([0, 0, -40], [d, -d, -40])  # two logits far above the third
    assert gap / (theory.smoothness() * 2 * d**2) == pytest.approx(1, abs=1e-6)
    assert gap / theory.divergence_bound(2 * d) == pytest.approx(1, abs=1e-6)
    assert gap > 0.23 * 2 * d**2 and gap > (2 * d) ** 2 / 9  # the twins are false


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="n_keys"):
        theory.max_gap_bound(0)
    with pytest.raises(ValueError, match="spread"):
        theory.mean_gap_bound(-1.0)
