"""Layers over source and target where their outcome is known."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.simulators.source_attention.layers import (
    FlowSetting,
    GateSetting,
    MassSetting,
    SensitivitySetting,
    flows,
    gates,
    masses,
    sensitivities,
)

SEEDS = np.random.SeedSequence(2).spawn(2)


def test_the_joint_softmax_lies_between_its_parts():
    runs = gates(GateSetting(), SEEDS, "cpu")
    low, high = np.minimum(runs["source"], runs["target"]), np.maximum(runs["source"], runs["target"])
    assert np.all(runs["joint"] >= low - 1e-12) and np.all(runs["joint"] <= high + 1e-12)


def test_flat_scores_share_by_numbers_and_a_bias_moves_the_share():
    setting = MassSetting(4, (4, 12), margin=0.0, spread=1e-9, n_rows=2)
    assert masses(setting, SEEDS, "cpu")["mass"] == pytest.approx(np.array([[0.5, 0.25]] * 2))
    held = replace(setting, biases=(0.0, float(np.log(3))))
    assert masses(held, SEEDS, "cpu")["mass"] == pytest.approx(np.full((2, 2), 0.5))
    with pytest.raises(ValueError, match="must be one for each"):
        replace(setting, biases=(1.0,))


def test_with_flat_maps_only_values_are_felt():
    runs = sensitivities(SensitivitySetting(8, (8, 24), dim=3, spread=1e-7, n_draws=50), SEEDS, "cpu")
    assert runs["both"] == pytest.approx(runs["values"], rel=1e-5)
    assert runs["values"][:, 0] / runs["values"][:, 1] == pytest.approx([4, 4], rel=0.6)  # (n + t)^2, |W|^2 drawn anew


def test_one_layer_carries_the_direct_share_and_many_layers_all_of_it():
    runs = flows(FlowSetting(5, (5, 15), (1, 60)), SEEDS[:1], "cpu")["source"][0]
    assert runs[:, 0] == pytest.approx([0.5, 0.25]) and runs[:, 1] == pytest.approx([1, 1])
