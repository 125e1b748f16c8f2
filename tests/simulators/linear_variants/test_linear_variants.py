"""The simulators of linear variants where the outcome is known by hand."""

import numpy as np
import pytest

from attnlab.simulators.linear_variants import gates, maps


def seeds(n):
    return [np.random.SeedSequence(7, spawn_key=(k,)) for k in range(n)]


def test_two_keys_need_no_temperature():
    found = maps.parabolas(maps.ParabolaSetting(2, 12, 20, (2, 3)), seeds(1), "cpu")
    assert found["temperature"][0] == pytest.approx([0, np.sqrt(3) - 1], abs=1e-9)
    assert found["direct"] == pytest.approx(found["linear"]) and found["ratio"][0] > 5


def test_as_many_mediators_as_cells_come_near_the_identity():
    few, all_ = (maps.mediators(maps.MediatorSetting(12, m, 30.0), seeds(1), "cpu") for m in (1, 12))
    assert few["apart"][0] == pytest.approx(0) and 0.5 < all_["apart"][0] <= 1  # one mediator gives all rows the same
    assert few["distance"][0] >= 11 and (few["give"] == 1).all() and all_["collect"].shape == (1, 12, 12)


def test_one_latent_weighs_two_tokens_alike_on_average():
    found = maps.latents(maps.LatentSetting(2, 1, 1.0, 4000), seeds(1), "cpu")
    assert found["newest"][0] == pytest.approx(0.5, abs=0.03) and found["below"][0] == 1 and found["whole"][0] == 6


def test_a_latent_per_token_loses_nothing_and_narrow_latents_hold_little():
    full = maps.bottlenecks(maps.BottleneckSetting(6, 6, 1, 2, 2), seeds(1), "cpu")
    assert full["apart"][0] == 0 == full["summed"][0]
    narrow = maps.bottlenecks(maps.BottleneckSetting(6, 2, 3, 2, 1), seeds(1), "cpu")
    assert narrow["apart"][0] == pytest.approx(0) and narrow["summed"][0] == pytest.approx(1 - 2 / 12)
    one = maps.bottlenecks(maps.BottleneckSetting(6, 2, 3, 1, 1), seeds(1), "cpu")
    assert one["apart"][0] == pytest.approx(0) and one["summed"][0] == pytest.approx(1 - 2 / 6)


def test_rectified_rows_of_one_token_are_whole():
    found = maps.rectified(maps.RectifiedSetting(64, 1, 1, 50), seeds(1), "cpu")
    assert found["excess"][0] == pytest.approx(0) and found["row_sum"][0] == pytest.approx(64 / 628, rel=0.15)
    assert found["field"][0] == 169


def test_more_waves_fit_better_and_half_a_period_is_easy():
    found = maps.learned(maps.RowSetting(10, 3, (1, 8), 100), seeds(1), "cpu")
    assert found["rank"][0] == 3 and found["whole"][0, 0] > found["whole"][0, 1] > 100 * found["half"][0, 1]


def test_gates_report_their_logits():
    found = gates.gates(gates.GateSetting((5.0,), 3), seeds(1), "cpu")
    assert found["plain"][0, 0] == pytest.approx(np.log(4)) and found["energy"][0, 0] == pytest.approx(
        1 + 0.64 + 0.64**2
    )
    with pytest.raises(ValueError, match="above 4"):
        gates.GateSetting((4.0,))


def test_slots_of_full_width_lose_nothing():
    found = gates.slots(gates.SlotSetting(4, 4, n_draws=50), seeds(1), "cpu")
    assert found["lost"][0] == pytest.approx(0, abs=1e-12) and np.abs(found["here"] - found["others"]).max() > 1e-6


def test_branches_agree_and_a_bent_one_does_not():
    found = gates.branches(gates.BranchSetting(2, 5), seeds(1), "cpu")
    assert found["merged"] == pytest.approx(found["apart"]) and np.abs(found["bent"] - found["apart"]).max() > 0.01


def test_a_global_query_of_equal_tokens_is_their_direction():
    found = gates.global_queries(gates.GlobalSetting(64, 4), seeds(2), "cpu")
    assert found["few"].shape == (2, 4) and (found["size"] > 1).all()
