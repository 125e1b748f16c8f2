"""Eight-bit attention: rounding errors measured, and the throughput bound."""

import math

import numpy as np
import pytest

from attnlab.theory.costs import eight_bit


def test_rounding_of_logits_has_the_predicted_variance():
    rng, n, d = np.random.default_rng(2), 2000, 64
    q, k = rng.standard_normal((2, n, d))
    steps = [np.abs(x).max() / 127 for x in (q, k)]
    rounded = [np.round(x / step) * step for x, step in zip((q, k), steps, strict=True)]
    error = (rounded[0] * rounded[1] - q * k).sum(1) / math.sqrt(d)
    predicted = eight_bit.quantised_logit_variance(*steps, d, scale=d**-0.5)
    assert abs(error.var() / predicted - 1) < 5 * math.sqrt(2 / n)
    assert abs(eight_bit.quantised_logit_variance(steps[0], 0.0, d, scale=d**-0.5) / error.var() - 1) > 0.3


def test_mixed_precision_bounds_are_the_checked_ones():
    for rates, value in (((2, 1), 4 / 3), ((4, 2), 8 / 3), ((2, 2), 2.0)):
        assert abs(eight_bit.mixed_precision_speedup(0.5, 0.5, *rates) - value) < 1e-12


def test_bad_sizes_are_errors():
    with pytest.raises(ValueError, match="shares"):
        eight_bit.mixed_precision_speedup(0.7, 0.7, 2, 2)
