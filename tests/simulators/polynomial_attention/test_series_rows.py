"""Rows of the series where the outcome is known: equal scores, softmax's limit, cut weights, a row by hand."""

import math

import numpy as np
import pytest

from attnlab.simulators.polynomial_attention import series_rows

SEEDS = [np.random.SeedSequence(0), np.random.SeedSequence(1)]


def test_tiny_scores_give_even_rows():
    runs = series_rows.rows(series_rows.RowSetting(1000, 1e-6, n_rows=2), SEEDS, "cpu")
    assert runs["participation"] == pytest.approx(np.ones((2, 3)), abs=1e-9)
    assert runs["deficit"] == pytest.approx(np.zeros((2, 3)), abs=1e-9)
    assert (runs["negative"] == 0).all() and (runs["misordered"] == 0).all()


def test_high_orders_are_softmax():
    runs = series_rows.rows(series_rows.RowSetting(1000, 0.5, orders=(1, 24), n_rows=2), SEEDS, "cpu")
    assert runs["distance"][:, 1] == pytest.approx(0, abs=1e-12) and (runs["distance"][:, 0] > 0.05).all()
    assert runs["deficit"][:, 1] == pytest.approx(runs["softmax_deficit"], abs=1e-12)


def test_standardised_tokens_lie_on_a_sphere():
    x = series_rows.standardised(np.random.default_rng(0).normal(3, 5, (10, 7)))
    assert np.square(x).sum(-1) == pytest.approx(7) and x.sum(-1) == pytest.approx(0, abs=1e-12)
    assert series_rows.series(np.array(1.0), 20) == pytest.approx(math.e)


def test_a_row_of_two_kinds_by_hand():
    setting = series_rows.BoundedRowSetting(1.0, 2, 4, 1, -1.0, 1.0, n_rows=3, n_replicas=1)
    found = series_rows.bounded_rows(setting, SEEDS[:1], "cpu")
    cut, exact = 0.5 / (0.5 + 3 * 2.5), math.exp(-1) / (math.exp(-1) + 3 * math.e)
    assert found["two_kinds"] == pytest.approx(2 * abs(cut - exact)) and found["largest"] < 1
    with pytest.raises(ValueError, match="n_high"):
        series_rows.BoundedRowSetting(n_keys=3, n_high=3)
