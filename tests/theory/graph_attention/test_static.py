"""What static ranking implies: rows, weights and the lookup by one head, each against a second derivation."""

import math

import mpmath
import numpy as np
import pytest
from scipy.special import softmax

from attnlab.theory.graph_attention import static

R = np.array([0.3, -1.2, 2.0, 0.9])


def leaky(z, slope):
    return np.where(z > 0, z, slope * z)


@pytest.mark.parametrize("slope", [0.0, 0.2, 0.7])
def test_rows_beyond_the_kinks_are_those_of_the_scores(slope):
    assert static.row_far_above_exact(R) == pytest.approx(softmax(leaky(R + 1.2, slope)), abs=1e-15)
    assert static.row_far_below_exact(R, slope) == pytest.approx(softmax(leaky(R - 2.0, slope)), abs=1e-15)
    just_inside = softmax(leaky(R + 1.0, slope))  # the lowest key is below its kink: the twin "everywhere"
    assert abs(static.row_far_above_exact(R) - just_inside).max() > 0.001


def test_score_gaps_lie_between_the_slope_and_one():
    queries = np.linspace(-5, 5, 2001)
    e = leaky(queries[:, None] + R, 0.2)
    gap = (e[:, 2] - e[:, 1]) / (R[2] - R[1])
    assert gap.min() == pytest.approx(static.least_score_gap(1.0), rel=1e-12) and gap.max() == pytest.approx(
        1.0, rel=1e-12
    )


def test_right_weight_on_two_keys_solves_its_stationarity_equation():
    """The derivative of sigma(x) - sigma(0.2 x) vanishes at the root, found to 30 digits."""
    sigma = lambda x: 1 / (1 + mpmath.exp(-x))  # noqa: E731
    with mpmath.workdps(30):
        x = mpmath.findroot(lambda x: sigma(x) * sigma(-x) - mpmath.mpf("0.2") * sigma(x / 5) * sigma(-x / 5), 3)
        best = (1 + sigma(x) - sigma(x / 5)) / 2
    assert static.right_weight_on_two_keys_bound() == pytest.approx(float(best), abs=1e-12)  # flat at the optimum
    assert static.right_weight_on_two_keys_bound(0.0) == pytest.approx(0.75)  # sigma(inf) - 1/2
    assert static.right_weight_on_two_keys_bound(1.0) == pytest.approx(0.5)  # no query differs from another


@pytest.mark.parametrize("slope", [0.0, 0.2, 0.5])
def test_the_lookup_leaves_its_own_key_smallest(slope):
    """Logits as matrices, without the simulation."""
    e = leaky(R[None] - R[:, None], slope)
    sizes = np.log(static.decoder_gains_of_lookup(R, slope)) + e  # row a is off by a constant only
    assert (sizes.argmin(1) == np.arange(4)).all()
    rest = sizes + np.where(np.eye(4) > 0, np.inf, 0)
    assert rest.min(1) - sizes.diagonal() == pytest.approx(static.log_ratio_of_lookup_exact(R, slope), abs=1e-12)


def test_a_linear_score_leaves_no_ratio_and_gains_off_by_a_third_lose_answers():
    assert static.log_ratio_of_lookup_exact(R, 1.0) == pytest.approx(np.zeros(4))
    e = leaky(R[None] - R[:, None], 0.2)
    for gain in (0.1, 1.1):  # outside (0.2, 1) the smallest is at one end for every query
        assert len(set((-gain * R + e).argmin(1))) == 1


def test_two_answers_speaking_for():
    """A scan of many queries on random gains never sees a third; speaking against sees all four with the gains of the lookup."""
    rng, queries = np.random.default_rng(3), np.linspace(-8, 8, 4001)
    most = 0
    for _ in range(50):
        f = rng.normal(size=4) + leaky(queries[:, None] + 2 * rng.normal(size=4), 0.2)
        most = max(most, len(set(f.argmax(1))))
    assert most == static.largest_number_of_answers_for()
    against = np.log(static.decoder_gains_of_lookup(R)) + leaky(queries[:, None] + R, 0.2)
    assert len(set(against.argmin(1))) == 4


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="slope"):
        static.row_far_below_exact(R, 1.5)
    with pytest.raises(ValueError, match="gap"):
        static.least_score_gap(-1.0)
    assert math.isclose(static.least_score_gap(2.0, 0.5), 1.0)
