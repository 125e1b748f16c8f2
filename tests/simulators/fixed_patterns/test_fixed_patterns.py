"""The simulators of fixed patterns where the outcome is known by hand."""

import numpy as np
import pytest

from attnlab.simulators.fixed_patterns import maps, masks, stacks


def seeds(n):
    return [np.random.SeedSequence(7, spawn_key=(k,)) for k in range(n)]


def test_one_layer_spreads_evenly_and_two_make_a_triangle():
    one = stacks.combs(stacks.CombSetting(3, (2,)), seeds(1), "cpu")["influence"]
    assert one[0] == pytest.approx([1 / 3, 0, 1 / 3, 0, 1 / 3])
    two = stacks.combs(stacks.CombSetting(3, (1, 1)), seeds(2), "cpu")
    assert two["influence"] * 9 == pytest.approx(np.tile([1.0, 2, 3, 2, 1], (2, 1)))
    assert two["std"] == pytest.approx([np.sqrt(4 / 3)] * 2)


def test_scales_of_the_smallest_stack_by_hand():
    found = stacks.scales(stacks.ScaleSetting(window=4, n_layers=4), seeds(1), "cpu")
    widest = [max(1, int(4 * depth * 2)) for depth in (0.25, 0.5, 1, 2)]
    assert found["reach"][0] == sum(w - 1 for w in widest)
    assert found["profile"].sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="multiple of 4"):
        stacks.ScaleSetting(n_layers=6)


def test_a_wider_cell_passes_more():
    ranks = [stacks.cells(stacks.CellSetting(D, 4, False), seeds(1), "cpu") for D in (4, 6)]
    assert ranks[0]["across"][0] < ranks[1]["across"][0] < ranks[1]["own"][0] and ranks[1]["gap"][0] < 1e-9
    with pytest.raises(ValueError, match="even"):
        stacks.CellSetting(5)


def test_a_block_without_much_halo_sees_its_neighbours_from_the_edge():
    found = masks.halos(masks.HaloSetting(block=2, halo=1, n_layers=2), seeds(1), "cpu")
    assert (
        found["share"][0].tolist() == [1, 1, 0.5, 0] and found["keys"][0] == 2 and found["left"][0].tolist() == [1, 3]
    )


def test_enough_heads_see_every_far_key():
    found = masks.strides(masks.StrideSetting((2, 4), 4, 4), seeds(1), "cpu")
    assert found["seen"][0].tolist() == [1, 1]
    with pytest.raises(ValueError, match="multiple"):
        masks.StrideSetting((3,), 4)


def test_slow_waves_pass_and_weights_without_decay_are_shared():
    found = masks.waves(masks.WaveSetting((1e-6,)), seeds(1), "cpu")
    assert found["gain"][0, 0] == pytest.approx(1) and found["nyquist"][0, 0] < 1e-13 < 0.1 < found["nyquist"][0, 1]
    mass = masks.decays(masks.DecaySetting((5, 20), 20, 0.0), seeds(1), "cpu")["mass"]
    assert mass[0] == pytest.approx([0.25, 1])


def test_flat_scores_tell_nothing_and_pass_nothing():
    kept = maps.norms(maps.NormSetting(4, 1e-9, 3, 400, 1), seeds(2), "cpu")["kept"]
    assert kept == pytest.approx([0.25, 0.25])
    assert maps.energies(maps.EnergySetting(1e-9, n_draws=10), seeds(1), "cpu")["energy"][0] < 1e-15
    hard = maps.energies(maps.EnergySetting(1e9, n_draws=40_000), seeds(1), "cpu")["energy"][0]
    assert hard == pytest.approx(0.75, abs=0.03)  # one value less the mean of four


def test_regions_and_maps_report_what_they_say():
    found = maps.regions(maps.RegionSetting(span=2, n_regions=3, dim=4), seeds(2), "cpu")
    assert found["own_mass"] == pytest.approx(np.tile([0.5, 0.5, 1 / 3], (2, 1))) and found["rank"].tolist() == [1, 1]
    shared = maps.shared_maps(maps.SharedMapSetting(n_tokens=30, score_std=1e-9), seeds(1), "cpu")
    assert shared["second"][0] < 1e-8 and shared["superposed"] == pytest.approx(shared["parts"])
