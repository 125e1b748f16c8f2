"""The simulators of mixers and channel gates where the outcome is known by hand."""

import numpy as np
import pytest

from attnlab.simulators.mixers_and_channels import grids


def seeds(n):
    return [np.random.SeedSequence(7, spawn_key=(k,)) for k in range(n)]


def test_a_tiny_threshold_prunes_nothing_and_a_huge_one_everything():
    few, all_ = (grids.waves(grids.WaveSetting(b, 8, 2), seeds(1), "cpu") for b in (1e-7, 100.0))
    assert few["pruned"][0] == 0 and all_["pruned"][0] == 1
    assert few["shifted"] == pytest.approx(few["output"]) and few["filtered"] == pytest.approx(few["convolved"])


def test_a_kernel_of_one_cell_sees_itself():
    found = grids.supports(grids.SupportSetting(4, (1, 7), 3, 1), seeds(1), "cpu")
    assert found["share"][0] == pytest.approx([1 / 16, 1]) and found["gate"][0].tolist() == [3, 9]
    assert found["cells"].tolist() == [[15, 8]] and found["powers"][0] == pytest.approx([9, 9, 3])


def test_the_planted_band_explains_all():
    found = grids.bands(grids.BandSetting((0.5, 1.0, 0.5), (1, 3), 40, 50), seeds(1), "cpu")
    assert found["ordered"][0, 1] == pytest.approx(1) and found["ordered"][0, 0] < 0.9 > found["shuffled"][0, 1]
    with pytest.raises(ValueError, match="odd"):
        grids.BandSetting(sizes=(2,))
    with pytest.raises(ValueError, match="n_channels >= 9"):
        grids.BandSetting(n_channels=8)


def test_a_loud_pattern_is_always_told_by_its_own_filter():
    found = grids.cosines(grids.CosineSetting(10.0, 0.1, 8, (1, 1), 50), seeds(1), "cpu")
    assert found["told"][0] == 1 and found["clean"][0] == pytest.approx([40, 0, 0], abs=1e-12)
    assert found["moved"][0] == pytest.approx(-40)
