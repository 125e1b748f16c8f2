"""The paper on associative memory: claims on small real runs, and on runs spoilt on purpose."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab

paper = load("pavlovian_associative_memory")


def judged(name, spoil=dict, **changes):
    claim = paper.claims[name]
    return claim.function(replace(claim.setting.smoke, **changes), LiveLab(spoil))


def test_the_hebbian_claim_holds_and_sees_an_error_of_one_more_pair():
    assert judged("hebbian").holds
    assert not judged("hebbian", lambda runs: runs | {"error": runs["error"] + 1 / 16}).holds


def test_the_softmax_claim_sees_a_missing_part_of_the_error():
    assert judged("softmax_error").holds
    assert not judged("softmax_error", lambda runs: runs | {"weight_error": 0.999 * runs["target_error"]}).holds


@pytest.mark.parametrize("name", ["decay", "delta_rule"])
def test_profiles_are_told_from_shifted_ones(name):
    def shifted(runs):
        return runs | {"error": np.roll(runs["error"], 4, axis=1)}

    assert judged(name).holds and not judged(name, shifted).holds


def test_redundancy_sees_heads_that_repeat_each_other():
    assert judged("redundancy", n_layers=3).holds
    assert not judged(
        "redundancy", lambda runs: runs | {"mean_error": runs["mean_error"] * np.array([1, 3, 7, 15])}, n_layers=3
    ).holds


def test_nearest_key_sees_a_shift_of_two_margins():
    assert judged("nearest_key", n_pairs=60).holds
    assert not judged(
        "nearest_key", lambda runs: runs | {"target_weight": runs["target_weight"] - 0.04}, n_pairs=60
    ).holds
