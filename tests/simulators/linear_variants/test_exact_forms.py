"""Efficient and cosine attention where the outcome is known: equal orders, even keys, one key."""

import numpy as np
import pytest

from attnlab.simulators.linear_variants import exact_forms as forms

SEEDS = [np.random.SeedSequence(k) for k in range(2)]


def test_orders_of_products_and_steps_agree():
    runs = forms.orders(forms.OrderSetting(12, 4), SEEDS, "cpu")
    assert np.abs(runs["scaled"] - runs["dense"]).max() < 1e-14
    assert np.abs(runs["steps"] - runs["parallel"]).max() < 1e-13 < np.abs(runs["of_rows"] - runs["parallel"]).max()
    assert (runs["rank"] == 4).all() and np.abs(runs["map"] - runs["softmax"]).max() > 0.01


def test_even_keys_give_even_rows():
    runs = forms.flat_rows(forms.FlatSetting(50, 6, 1e-7, n_queries=3), SEEDS, "cpu")
    assert runs["excess"] == pytest.approx(0, abs=1e-12) and runs["deficit"] == pytest.approx(0, abs=1e-12)
    assert runs["features"].sum(-1) == pytest.approx(1)


def test_one_key_has_the_mean_square_of_a_cosine():
    """One key in 3 dimensions: 1/3 of the square of a value, whatever the power; 8000 draws, spread below 1."""
    setting = forms.GrowthSetting(lengths=(1,), dim=3, value_dim=4, n_draws=8000)
    runs = forms.cosine_growth(setting, SEEDS, "cpu")
    assert np.abs(runs["whole"] - 1 / 3).max() < 4 / np.sqrt(8000) > np.abs(runs["causal"] - 1 / 3).max()
