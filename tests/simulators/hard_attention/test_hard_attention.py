"""Encoders are run as they are defined: by hand, in whole numbers beyond int64, and frozen functions are found."""

import json

import numpy as np
import pytest

from attnlab.simulators.hard_attention.encoders import all_words, read_encoder, run_exactly, run_in_floats
from attnlab.simulators.hard_attention.freezing import FreezingSetting, freeze, least_fixed
from attnlab.simulators.hard_attention.recognition import RecognitionSetting, SoftmaxSetting, recognise, sharpness


def encoder(kind, layers, output, encodings=None, start=False):
    lengths = range(1, 5)
    tables = encodings or {str(n): [[] for _ in range(n + start)] for n in lengths}
    record = {"alphabet": "ab", "kind": kind, "start": start, "output": output, "layers": layers, "encodings": tables}
    return read_encoder(json.dumps(record))


COPY_A = {
    "queries": [[[], 1]],
    "keys": [[[[0, 1]], 0]],
    "copies": [1],
    "mask": "",
}  # attends to letters a, copies "is b"


def test_ties_go_to_the_left_or_are_averaged():
    words = all_words(2, 3)
    first = {"queries": [[[], 0]], "keys": [[[], 0]], "copies": [0], "mask": ""}
    assert np.array_equal(run_exactly(encoder("unique", [first], 2), words), np.repeat(words[:, :1] == 0, 3, 1))
    mean = run_in_floats(encoder("average", [first], 2), words)
    assert np.allclose(mean, np.repeat((words == 0).mean(1)[:, None], 3, 1))
    exact = run_exactly(encoder("average", [first], 2), words)
    assert set(exact[words.sum(1) == 0].ravel()) == {1} and set(exact[words.sum(1) == 1].ravel()) == {2}


def test_the_largest_score_wins_and_masks_hide():
    words = all_words(2, 3)
    assert np.array_equal(run_exactly(encoder("unique", [COPY_A], 2), words), np.tile(words.all(1)[:, None], 3))
    past = COPY_A | {"mask": "past"}
    found = run_exactly(encoder("unique", [past], 2), words)
    assert np.array_equal(found, np.cumprod(words, axis=1))
    future = COPY_A | {"mask": "future"}
    found = run_exactly(encoder("unique", [future], 2), words)
    assert np.array_equal(found, np.cumprod(words[:, ::-1], axis=1)[:, ::-1])


def test_whole_numbers_beyond_64_bits_stay_exact_where_floats_round():
    big = 10**25
    tables = {str(n): [[big + j] for j in range(n)] for n in range(1, 5)}
    attend = {"queries": [[[[2, 1]], 0]], "keys": [[[[2, 1]], 0]], "copies": [2], "mask": ""}
    differs = {"sum": [[[3, 1], [2, -1]], 0], "relu": True}  # the selected number less its own
    exact = run_exactly(encoder("unique", [attend, differs], 4, tables), all_words(2, 2))
    assert np.array_equal(exact, np.tile([1, 0], (4, 1)))
    floats = run_in_floats(encoder("unique", [attend, differs], 4, tables), all_words(2, 2))
    assert not floats.any()


def test_softmax_becomes_hard_attention_and_is_the_mean_at_temperature_infinity():
    words = all_words(2, 4)
    hard = run_in_floats(encoder("average", [COPY_A], 2), words)
    assert np.allclose(run_in_floats(encoder("average", [COPY_A], 2), words, 60.0), hard, atol=1e-20)
    assert np.allclose(run_in_floats(encoder("average", [COPY_A], 2), words, 0.0), words.mean(1)[:, None])


def test_the_least_sharpness_of_a_single_step_is_found():
    """a scores 1 and b scores 0; "all b" is read right once the weight of one a among n - 1 b passes 1/2: beta = log(n - 1)."""
    text = json.dumps(encoder("unique", [COPY_A], 2))
    runs = sharpness(SoftmaxSetting(text, lengths=(3, 4)), [None, None], "cpu")
    assert runs["least"].shape == (2, 2)
    assert runs["least"][0] == pytest.approx(np.log([2, 3]), rel=1e-8)
    assert np.all(runs["wrong"] >= 0)
    never = json.dumps(encoder("unique", [{"queries": [[[], 0]], "keys": [[[], 0]], "copies": [1], "mask": ""}], 2))
    assert np.isnan(sharpness(SoftmaxSetting(never, lengths=(3,)), [None], "cpu")["least"]).all()


def test_recognition_orders_words_and_marks_their_ends():
    text = json.dumps(encoder("unique", [], 0))
    runs = recognise(RecognitionSetting((text,), 2), [None], "cpu")
    assert np.array_equal(runs["said"][0, 0], [[1, -1], [0, -1], [1, 1], [1, 0], [0, 1], [0, 0]])
    assert np.array_equal(runs["said"], runs["in_floats"])


@pytest.mark.parametrize("text", ["", "{}", "[1]", "nonsense"])
def test_what_is_no_encoder_is_refused(text):
    with pytest.raises(ValueError, match="encoder"):
        RecognitionSetting((text,))


def test_the_length_must_be_tabled():
    with pytest.raises(ValueError, match="lengths 1, 2, 3, 4, not 5"):
        run_exactly(encoder("unique", [], 0), all_words(2, 5))


def test_the_least_number_of_letters_of_known_functions():
    words = all_words(2, 4)
    assert least_fixed(words.sum(1) % 2 == 1, 4) == 4
    assert least_fixed(words.any(1), 4) == 1
    assert least_fixed(words.sum(1) >= 2, 4) == 2
    assert least_fixed(np.zeros(16, bool), 4) == 0


def test_one_layer_is_frozen_by_two_letters():
    seeds = np.random.SeedSequence(5).spawn(12)
    one = freeze(FreezingSetting(n_letters=7, n_replicas=12), seeds, "cpu")
    assert one["fixed"].max() <= 2 and set(one["parity"]) == {7}
    with pytest.raises(ValueError, match="at most 14"):
        FreezingSetting(n_letters=20)
