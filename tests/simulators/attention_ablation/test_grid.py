"""Trained stacks, and settings that are refused by name."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.simulators.attention_ablation.grid import GridSetting, grid
from attnlab.simulators.attention_ablation.maps import BalanceSetting, FormSetting, forms


def seeds(n=2):
    return [np.random.SeedSequence(3, spawn_key=(k,)) for k in range(n)]


def test_one_step_is_near_chance_and_a_long_training_copies():
    s = GridSetting(task="copy", layers=("random",), size=1, n_keys=5, n_values=4, width=8, n_heads=1, n_steps=1)
    short = grid(s, seeds())
    assert short["start"] == pytest.approx(0.25, abs=0.2) and short["skipped"].shape == (2, 1)
    long = grid(replace(s, n_steps=250, learning_rate=0.03), seeds())
    assert (long["accuracy"] > 0.8).all() and (long["accuracy"] > long["skipped"][:, 0]).all()


def test_recurrence_and_sum_of_heads_are_the_direct_forms():
    x = forms(FormSetting(n_tokens=9), seeds())
    assert x["direct"] == pytest.approx(x["recurrent"]) and x["concatenated"] == pytest.approx(x["summed"])


@pytest.mark.parametrize(
    ("changes", "match"),
    [({"layers": ("standart",)}, "standart"), ({"n_heads": 5}, "does not divide"), ({"size": 9}, "too large")],
)
def test_settings_name_what_is_wrong(changes, match):
    with pytest.raises(ValueError, match=match):
        GridSetting(**changes)
    with pytest.raises(ValueError, match="multiple"):
        BalanceSetting(n_tokens=7)
