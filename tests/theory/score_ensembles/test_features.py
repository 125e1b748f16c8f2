"""Errors of positive features against the sums of drawn queries and keys."""

import math

import numpy as np
import pytest

from attnlab.theory.score_ensembles.features import features_error_approx, greatest_spread, normaliser_variance_approx
from attnlab.theory.score_ensembles.law import ScoreLaw


def test_the_integrals_are_those_of_drawn_rows():
    width, n, rows, s = 8, 600, 150, 0.1
    v, rng = s / math.sqrt(width), np.random.default_rng(0)
    own, together, variance, size = [], [], [], []
    for _ in range(rows):
        x, y = v**0.5 * rng.standard_normal(width), v**0.5 * rng.standard_normal((n, width))
        P = np.exp(y @ x)
        P /= P.sum()
        C = np.expm1((x + y) @ (x + y).T)
        row = P @ C @ P
        together.append(n * (P**2 @ (np.diag(C) - 2 * C @ P + row)))
        own.append(n * (P**2 @ np.diag(C)))
        variance.append(row)
        size.append(n * (P**2).sum())
    law, m = ScoreLaw(n, s, width), 100
    for drawn, predicted in (
        (together, features_error_approx(law, m) ** 2),
        (own, features_error_approx(law, m, together=False) ** 2),
    ):
        error = np.array(drawn) / np.mean(size) / m
        # sums over n keys instead of means: the diagonal of the last two sums, 1/n of the row's own terms
        assert abs(error.mean() - predicted) < 4 * error.std() / rows**0.5 + 3 * predicted / n
    noise = 4 * np.std(variance) / rows**0.5 / m
    assert abs(np.mean(variance) / m - normaliser_variance_approx(law, m)) < noise + 3 * np.mean(own) / n / m
    assert not features_error_approx(law, m) == pytest.approx(features_error_approx(law, m, together=False), rel=0.1)


def test_small_spreads_leave_the_keys_own_lengths():
    s, width = 1e-5, 16  # E |y - mean|^2 = nu v = s sqrt(nu)
    assert features_error_approx(ScoreLaw(512, s, width), 64) ** 2 == pytest.approx(s * 4 / 64, rel=1e-3)


def test_the_greatest_spread_is_where_the_mean_ends():
    edge = greatest_spread(16)
    assert features_error_approx(ScoreLaw(512, 0.9 * edge, 16), 10**9) > 0
    with pytest.raises(ValueError, match="infinite from"):
        features_error_approx(ScoreLaw(512, 1.001 * edge, 16), 10**9)
    assert greatest_spread(64) == pytest.approx(2 * edge, rel=1e-12)


def test_what_it_does_not_cover():
    with pytest.raises(ValueError, match="no correction"):
        features_error_approx(ScoreLaw(512, 0.4, 16), 4)
    with pytest.raises(ValueError, match="height=3"):
        features_error_approx(ScoreLaw(512, 0.1, 16, height=3.0), 64)
