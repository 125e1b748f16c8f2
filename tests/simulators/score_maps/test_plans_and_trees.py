"""The simulators of plans, trees, differences and bells where the outcome is known by hand."""

import numpy as np
import pytest

from attnlab.simulators.score_maps import plans_and_trees


def seeds(n):
    return [np.random.SeedSequence(7, spawn_key=(k,)) for k in range(n)]


def test_one_half_is_the_first_map_alone():
    found = plans_and_trees.noises(plans_and_trees.NoiseSetting(0.5, 0.3, 100), seeds(2), "cpu")
    assert found["gain"] == pytest.approx([1, 1]) and found["operator"] == pytest.approx(found["by_hand"])
    assert np.abs(found["no_half"] - found["by_hand"]).max() > 0.1
    with pytest.raises(ValueError, match="correlation=1"):
        plans_and_trees.NoiseSetting(correlation=1.0)


def test_quiet_trees_are_recovered_and_masses_sum_to_the_tokens():
    found = plans_and_trees.trees(plans_and_trees.TreeSetting(20, 6.0, 1e-3, 1e-6, 2), seeds(1), "cpu")
    assert found["recovered"][0] == 1 and found["received"].sum() == pytest.approx(20) == found["children"].sum()
    assert found["variance"][0] < 1e-10 and found["total"] == pytest.approx(found["sent"])


def test_mild_plans_converge_at_once():
    found = plans_and_trees.plans(plans_and_trees.PlanSetting(1.0, 4, 6, tolerance=1e-7), seeds(1), "cpu")
    assert found["columns"] == pytest.approx(np.full((1, 6), 4 / 6)) and 0 < found["rate"][0] < 0.2


def test_a_wide_bell_is_flat():
    found = plans_and_trees.bells(plans_and_trees.BellSetting(1e4, 50, 2), seeds(2), "cpu")
    assert found["participation"] == pytest.approx([1, 1]) and found["gate"] == pytest.approx(np.full((2, 12), 1 / 12))
    assert (
        found["product"].sum(-1) == pytest.approx([1, 1]) and np.abs(found["off_centre"] - found["gate"]).max() < 1e-3
    )
