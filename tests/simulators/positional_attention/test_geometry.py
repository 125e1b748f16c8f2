"""The simulators of poses, spheres and clouds where the outcome is known by hand."""

import numpy as np
import pytest

from attnlab.simulators.positional_attention import geometry


def seeds(n):
    return [np.random.SeedSequence(7, spawn_key=(k,)) for k in range(n)]


def test_poses_that_do_not_move_keep_variance_one():
    found = geometry.frames(geometry.FrameSetting(3, 1.0, (1e-9,), 4000), seeds(1), "cpu")
    assert found["variance"][0, 0] == pytest.approx(1, abs=0.15) and found["moved"] == pytest.approx(found["output"])
    assert np.square(found["relative"]).sum() == pytest.approx(4)


def test_flat_means_of_squares_are_known():
    found = geometry.spheres(geometry.SphereSetting(1.0, 6), seeds(1), "cpu")
    assert found["flat"][0] == pytest.approx(1 / 3) and found["flat_unweighted"][0] == pytest.approx(0.5)
    assert found["gauss"][0] == pytest.approx(1 / np.tanh(1) - 1)


def test_a_turned_cloud_answers_alike():
    found = geometry.clouds(geometry.CloudSetting(3), seeds(1), "cpu")
    assert (
        found["pairs_turned"] == pytest.approx(found["pairs"])
        and np.abs(found["triples_mirrored"] - found["triples"]).max() > 1e-6
    )
