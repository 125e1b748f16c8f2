"""The weight of a first key, against direct averages and against itself in limits."""

import numpy as np
import pytest

from attnlab.theory.instruments import sink_weights as theory


def averages(n_tokens, sd, bonus=0.0, first_sd=None, n=20_000):
    """Mean weight of the first key in n maps, by drawing scores."""
    rng = np.random.default_rng(0)
    total = np.zeros((n, n_tokens))
    for i in range(n_tokens):
        s = sd * rng.standard_normal((n, i + 1))
        s[:, 0] = (sd if first_sd is None else first_sd) / sd * s[:, 0] + bonus
        e = np.exp(s)
        total[:, i] = e[:, 0] / e.sum(1)
    return total.mean(1)


@pytest.mark.parametrize("sd", [0.3, 1.0, 2.0])
def test_without_a_bonus_the_noisy_mean_is_the_harmonic_one(sd):
    assert theory.mean_weight_noisy_exact(0.0, 24, sd) == pytest.approx(theory.null_mean_of_first(24), rel=1e-9)
    assert theory.null_mean_of_first(4) == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert theory.null_mean_without_self(4) == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 3)
    assert theory.null_mean_of_column(4, 3) == 0.25


def test_without_noise_it_is_the_flat_law():
    for b in (-1.0, 2.0, 5.0):
        assert theory.mean_weight_noisy_exact(b, 16, 0.0) == pytest.approx(
            theory.mean_weight_flat_exact(b, 16), rel=1e-9
        )
    assert theory.sd_of_mean_weight_exact(16, 0.0) < 1e-7


@pytest.mark.parametrize(("bonus", "first_sd"), [(0.0, None), (2.0, None), (2.0, 0.0)])
def test_mean_and_spread_are_those_of_drawn_scores(bonus, first_sd):
    drawn = averages(12, 1.0, bonus, first_sd)
    mean, sd = (f(12, 1.0, bonus, first_sd) for f in (lambda n, s, b, f: theory.mean_weight_noisy_exact(b, n, s, f),
                                                      theory.sd_of_mean_weight_exact))  # fmt: skip
    error = sd / len(drawn) ** 0.5
    assert abs(drawn.mean() - mean) < 5 * error
    assert drawn.std() == pytest.approx(sd, rel=5 * (1 / len(drawn)) ** 0.5)  # kurtosis below 5
    if bonus and first_sd == 0.0:
        assert (
            abs(drawn.mean() - theory.mean_weight_noisy_approx(bonus, 12, 1.0)) > 10 * error
        )  # the sheet's replacement


def test_the_bound_is_above_the_exact_spread_and_reached_by_one_row():
    assert theory.sd_of_mean_weight_bound(16, 1.0) > 2 * theory.sd_of_mean_weight_exact(16, 1.0)
    assert theory.sd_of_mean_weight_bound(2, 1.0) == pytest.approx(theory.sd_of_mean_weight_exact(2, 1.0))


def test_a_strength_is_inverted_back_and_refused_outside():
    for n in (16, 256):
        assert theory.mean_weight_flat_exact(theory.bonus_of_mean_weight(0.3, n), n) == pytest.approx(0.3, rel=1e-12)
    needed = [theory.bonus_of_mean_weight(0.3, n) for n in (16, 64, 256, 1024)]
    assert needed == pytest.approx([0.66, 2.19, 3.61, 5.00], abs=5e-3)  # the sheet's table
    with pytest.raises(ValueError, match="between 1/16"):
        theory.bonus_of_mean_weight(0.05, 16)
    with pytest.raises(ValueError, match="below n_tokens"):
        theory.null_mean_of_column(4, 4)
