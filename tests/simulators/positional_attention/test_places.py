"""The simulators of places where the outcome is known by hand."""

import numpy as np
import pytest

from attnlab.simulators.positional_attention import places


def seeds(n):
    return [np.random.SeedSequence(7, spawn_key=(k,)) for k in range(n)]


def test_without_a_bonus_near_keys_hold_their_share():
    found = places.offsets(places.OffsetSetting(2, 0.0, (30,)), seeds(1), "cpu")
    assert found["near"][0, 0] == pytest.approx(3 / 30) and found["operator"] == pytest.approx(found["naive"])
    with pytest.raises(ValueError, match="lengths"):
        places.OffsetSetting(20, lengths=(20,))


def test_scores_without_tables_are_a_third():
    found = places.disentangled_scores(places.ScoreSetting(12, 8, 2), seeds(2), "cpu")
    assert found["map"] == pytest.approx(found["plain"]) and (found["content"] < found["all"]).all()


def test_much_ridge_fits_nothing():
    found = places.extrapolations(places.WaveSetting(1.0, 1e9, 32, 8, 5), seeds(1), "cpu")
    assert found["beyond"][0] < 1e-12 and found["kept"][0] == 1


def test_shifts_and_free_pairs_by_hand():
    found = places.shifts(places.ShiftSetting(0.3, 4, 4), seeds(2), "cpu")
    assert found["later"] == pytest.approx(found["sooner"]) and np.abs(found["moved"] - found["later"]).max() > 1e-3
    assert found["free"] == pytest.approx(found["twice"])


def test_a_window_of_all_keeps_all():
    found = places.alternations(places.AlternationSetting(9, 2, 9, 1, 0.0, 1e-9), seeds(1), "cpu")
    assert (
        found["kept"][0] == 1
        and found["field"][0] == 9
        and found["needle"][0] == pytest.approx(1 / 9) == found["normed"][0]
    )
