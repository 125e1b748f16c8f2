"""The simulators of gates and memories where the outcome is known by hand."""

import numpy as np
import pytest

from attnlab.simulators.gates_and_memory import memories, mixers


def seeds(n):
    return [np.random.SeedSequence(7, spawn_key=(k,)) for k in range(n)]


def test_one_pair_weighs_everything_and_short_keys_weigh_alike():
    one = memories.needles(memories.NeedleSetting(1.0, 1, 8, 2), seeds(2), "cpu")["weight"]
    assert one == pytest.approx([1, 1])
    flat = memories.needles(memories.NeedleSetting(1e-9, 10, 8, 2), seeds(1), "cpu")["weight"]
    assert flat == pytest.approx([1])


def test_few_pairs_in_wide_spaces_are_recalled_and_flat_keys_are_not():
    wide = memories.recalls(memories.RecallSetting(4, 512, 4096, 1.0, 5), seeds(1), "cpu")
    assert wide["right"][0] == 1 == wide["softmax"][0]
    flat = memories.recalls(memories.RecallSetting(50, 8, 64, 1e-9, 40), seeds(1), "cpu")
    assert flat["right"][0] < 0.3


def test_the_second_segment_reads_the_first_alone():
    found = memories.segments(memories.SegmentSetting(1, 2, 3), seeds(2), "cpu")
    assert found["memory"].shape == (2, 1, 3) and found["memory"] == pytest.approx(found["local"][:, :1])
    assert np.abs(found["own"] - found["memory"]).max() > 1e-3


def test_repeats_start_whole():
    found = memories.repeats(memories.RepeatSetting(2, 3), seeds(2), "cpu")
    assert found["delta"] == pytest.approx(np.array([[1, 0.5]] * 2)) and found["plain"] == pytest.approx(
        np.ones((2, 2))
    )
    assert np.abs(found["in_turn"] - found["twice"]).max() > 1e-3


def test_an_average_begins_with_its_first_tap():
    found = mixers.averages(mixers.AverageSetting(5, 1), seeds(1), "cpu")
    first = found["expand"] * found["contract"] * found["input_gate"] + found["skip"][:, None]
    assert found["recurrence"][:, 0] == pytest.approx((first * found["line"][:, :1])[:, 0])
    with pytest.raises(ValueError, match="damping"):
        mixers.FadingSetting(damping=1.0)


def test_wider_filters_have_wider_taps():
    assert mixers.filters(mixers.FilterSetting(4), seeds(1), "cpu")["rank"].tolist() == [[2, 4, 2, 0, 0, 0]]
    with pytest.raises(ValueError, match="even"):
        mixers.FilterSetting(5)


def test_cases_are_found_by_hand():
    assert mixers._cases([0, 1, 2, 0], 1) == [(3, 1)]
    assert mixers._cases([0, 0, 1, 0], 1) == []  # once followed by itself, then twice before
    assert mixers._cases([0, 1, 2, 0, 1], 2) == [(4, 2)]
    with pytest.raises(ValueError, match="suffix=3"):
        mixers.CopySetting(suffix=3)


def test_one_layer_sees_two_tokens_and_the_mean_moves_the_rest():
    found = mixers.neighbours(mixers.NeighbourSetting(5, 1, 2), seeds(1), "cpu")
    assert found["seen"].tolist() == [[2]] and found["far"].shape == (1, 3, 2, 2) and np.abs(found["far"]).max() > 1e-4


def test_equal_tokens_are_extracted_whole():
    found = mixers.extracted(mixers.ExtractSetting(1.0, (1, 9), 4000), seeds(1), "cpu")["square"][0]
    assert found[1] == pytest.approx(9 * found[0])
    with pytest.raises(ValueError, match="correlation=2"):
        mixers.ExtractSetting(2.0)
