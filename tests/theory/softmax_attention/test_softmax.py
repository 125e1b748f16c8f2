"""How far softmax moves and how peaked it is: each bound against random inputs, its extremal input and a false rival."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax as scipy_softmax

from attnlab.theory.softmax_attention import softmax as theory

EPS = 2.0**-52
LOGITS = arrays(np.float64, st.integers(2, 7), elements=st.floats(-8, 8, width=32))


def softmax(x):
    """The oracle: 40 digits."""
    with mpmath.workdps(40):
        weights = [mpmath.exp(mpmath.mpf(float(v))) for v in x]
        return np.array([float(w / mpmath.fsum(weights)) for w in weights])


def spread(x):
    return float(np.max(x) - np.min(x))


def jacobian(x):
    p = softmax(x)
    return np.diag(p) - np.outer(p, p)


@pytest.mark.parametrize("norm", [1, 2, np.inf])
def test_lipschitz_constant_is_the_largest_jacobian_norm_and_no_smaller_one_is_true(norm):
    generator = np.random.default_rng(0)
    beta = 1.7
    worst = max(beta * np.linalg.norm(jacobian(beta * generator.normal(size=4) * 4), norm) for _ in range(300))
    near = beta * np.linalg.norm(jacobian([0.0, 0.0, -40.0, -40.0]), norm)  # two equal logits far above the rest
    assert worst <= theory.softmax_lipschitz(beta) * (1 + 16 * EPS)  # 16: roundings of a 4 x 4 norm
    assert near >= theory.softmax_lipschitz(beta) * (1 - 1e-15 - 1e-12)  # e^-40 of mass elsewhere, rounding
    assert near > 0.49 * beta  # the twin 0.49 beta is false


@given(LOGITS, st.data())
def test_l1_move_saturates(x, data):
    y = data.draw(arrays(np.float64, x.size, elements=st.floats(-8, 8, width=32)))
    moved = np.abs(softmax(x) - softmax(y)).sum()
    assert moved <= theory.softmax_l1_bound(spread(x - y)) + 2 * x.size * EPS  # a rounding an entry, both vectors


@pytest.mark.parametrize("s", [0.1, 1.0, 5.0])
def test_l1_bound_is_reached_at_two_opposite_logits(s):
    reached = np.abs(softmax([s / 4, -s / 4]) - softmax([-s / 4, s / 4])).sum()  # the logits move by a spread of s
    assert reached == pytest.approx(theory.softmax_l1_bound(s), rel=1e-14)
    assert reached > 2 * np.tanh(s / 4.2)  # the twin is false
    assert theory.softmax_l1_bound(s) < s / 2  # sharper than the Lipschitz bound


@given(LOGITS)
def test_jacobian_norm_is_bounded_by_the_largest_weight_and_by_saturation(x):
    norm, top = np.linalg.norm(jacobian(x), 2), softmax(x).max()
    assert norm <= theory.jacobian_norm_bound(top) + 32 * EPS  # eigenvalues of a 7 x 7 matrix
    assert norm <= theory.jacobian_saturation_bound(top) + 32 * EPS


def test_jacobian_bounds_are_sharp_and_their_rivals_false():
    equal = np.linalg.norm(jacobian(np.zeros(5)), 2)
    assert equal == pytest.approx(theory.jacobian_norm_bound(0.2), rel=1e-14)
    assert equal > 0.2 * 0.8 * 1.2  # the twin max p (1 - p) is false
    saturated = [8.0, 0.0]
    ratio = np.linalg.norm(jacobian(saturated), 2) / theory.jacobian_saturation_bound(softmax(saturated).max())
    assert ratio == pytest.approx(softmax(saturated).max(), rel=1e-12) and ratio > 0.95  # 2 p (1 - p) over 2 (1 - p)


@given(LOGITS)
def test_weights_lie_between_their_bounds_at_the_spread(x):
    p = softmax(x)
    assert p.max() <= theory.largest_weight_bound(spread(x), x.size) * (1 + 8 * EPS)
    assert p.min() >= theory.smallest_weight_bound(spread(x), x.size) * (1 - 8 * EPS * (1 + spread(x)))


def test_weight_bounds_are_reached_and_their_rivals_are_passed():
    high, low = np.array([3.0, 0.0, 0.0, 0.0]), np.array([0.0, 3.0, 3.0, 3.0])
    assert softmax(high).max() == pytest.approx(theory.largest_weight_bound(3.0, 4), rel=1e-14)
    assert softmax(low).min() == pytest.approx(theory.smallest_weight_bound(3.0, 4), rel=1e-14)
    assert softmax(low).min() < 1 / (3 + np.exp(3.0))  # the twin: one logit above the rest
    assert theory.largest_weight_bound(0.0, 4) == theory.smallest_weight_bound(0.0, 4) == 0.25
    long = [theory.largest_weight_bound(2.0, n) * n for n in (10**4, 10**6)]  # dispersion: exp(s) / n
    assert long[1] == pytest.approx(np.exp(2.0), rel=1e-5) and abs(long[0] - np.exp(2)) > abs(long[1] - np.exp(2))


@pytest.mark.parametrize(("n", "gap", "beta"), [(2, 0.5, 1.0), (6, 1.0, 3.0), (9, 2.0, 0.5)])
def test_argmax_limit_is_reached_by_ties_and_approached_exponentially(n, gap, beta):
    x = np.array([gap] + [0.0] * (n - 1))
    distance = np.abs(scipy_softmax(beta * x) - np.eye(n)[0]).sum()
    assert distance == pytest.approx(theory.argmax_distance_bound(gap, beta, n), rel=1e-13)
    assert distance > 2 * (n - 1) / (n - 1 + np.exp(1.05 * beta * gap))  # the twin: a faster rate
    rate = np.log(theory.argmax_distance_bound(gap, 40.0, n) / theory.argmax_distance_bound(gap, 41.0, n))
    assert rate == pytest.approx(gap, abs=2 * n * np.exp(-40 * gap))


def test_uniform_limit_is_reached_by_one_logit_in_four_and_linear_at_small_temperature():
    x, beta = np.array([2.0, 0.0, 0.0, 0.0]), np.log(3.0)  # 1 / (1 + exp(beta spread / 2)) = 1/4
    distance = np.abs(softmax(beta * x) - 0.25).sum()
    assert distance == pytest.approx(theory.uniform_distance_bound(2.0, beta), rel=1e-14)
    assert distance > 2 * np.tanh(beta * 2.0 / 4.5)
    assert theory.uniform_distance_bound(2.0, 1e-6) == pytest.approx(1e-6, rel=1e-11)  # tanh(z) = z (1 - z^2 / 3 ...)


@given(LOGITS, st.data())
def test_softmax_is_cocoercive(x, data):
    y = data.draw(arrays(np.float64, x.size, elements=st.floats(-8, 8, width=32)))
    moved = softmax(x) - softmax(y)
    assert moved @ (x - y) >= theory.cocoercivity() * moved @ moved - 64 * EPS  # sums of 7 products up to 16


def test_a_larger_cocoercivity_constant_is_false():
    x, y = np.array([1e-3, 0.0]), np.array([0.0, 1e-3])
    moved = softmax(x) - softmax(y)
    ratio = moved @ (x - y) / (moved @ moved)
    assert theory.cocoercivity() <= ratio < 2.1
    assert theory.cocoercivity(4.0) == 0.5


@pytest.mark.parametrize(
    "call",
    [
        lambda: theory.softmax_lipschitz(0),
        lambda: theory.softmax_l1_bound(-1.0),
        lambda: theory.largest_weight_bound(1.0, 0),
        lambda: theory.argmax_distance_bound(1.0, 1.0, 1),
        lambda: theory.jacobian_norm_bound(1.5),
    ],
)
def test_bad_arguments_are_named(call):
    with pytest.raises(ValueError, match="must"):
        call()
