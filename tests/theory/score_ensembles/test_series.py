"""Errors of truncated exponentials."""

import math

import numpy as np
import pytest

from attnlab.theory.score_ensembles.law import ScoreLaw
from attnlab.theory.score_ensembles.series import leading_error_approx, series_error, truncated_exponential


def test_the_series():
    s = np.array([-1.0, 0.0, 2.0])
    assert truncated_exponential(s, 2) == pytest.approx([0.5, 1.0, 5.0])
    assert truncated_exponential(s, 30) == pytest.approx(np.exp(s), rel=1e-14)


@pytest.mark.parametrize("order", [2, 4])
def test_small_spreads_show_the_first_missing_term(order):
    gaps = [
        series_error(ScoreLaw(1000, s, 16), order) / leading_error_approx(ScoreLaw(1000, s, 16), order) - 1
        for s in (0.2, 0.1)
    ]
    assert abs(gaps[1]) < 0.02
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.3)  # the next term is of second order in the spread


def test_drawn_rows():
    rng, n = np.random.default_rng(2), 2000
    spread = 0.5 * (rng.chisquare(16, (400, 1)) / 16) ** 0.5
    s = spread * rng.standard_normal((400, n))
    P, W = np.exp(s), 1 + s + s**2 / 2
    P, W = P / P.sum(1, keepdims=True), W / W.sum(1, keepdims=True)
    per_row = ((W - P) ** 2).sum(1)
    found = math.sqrt(per_row.mean() / (P**2).sum(1).mean())
    noise = 4 * per_row.std() / 20 / per_row.mean() / 2  # relative, of the root
    law = ScoreLaw(n, 0.5, 16)
    assert abs(found / series_error(law, 2) - 1) < noise
    planted = ScoreLaw(n, 0.5, 16, height=5.0)
    assert series_error(planted, 2) > series_error(law, 2)
    with pytest.raises(ValueError, match="order=3"):
        series_error(law, 3)


def test_a_planted_key_on_flat_rows():
    n, h = 513, 5.0
    law = ScoreLaw(n, 1e-6, 8, height=h)
    f = 1 + h + h**2 / 2
    p, q = math.exp(h) / (math.exp(h) + 512), f / (f + 512)
    exact = ((p - q) ** 2 + (p - q) ** 2 / 512) / (p**2 + (1 - p) ** 2 / 512)
    assert series_error(law, 2) ** 2 == pytest.approx(exact, rel=2 / 512)
