"""Information pathways: claims judged on live runs at smoke scale, and on the same runs spoilt by some per cent."""

import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab

paper = load("information_pathways")


def judged(name, lab):
    claim = paper.claims[name]
    return claim.judge(claim.setting.smoke, lab).outcome.value


SPOILT = {
    "second_order": ("bias", 1.05),
    "a_peak_is_lost": ("kept", 0.8),
    "near_keys_change_the_target": ("corrected", 1.01),
    "cost_falls_by_c": ("multiply_adds", 2),
    "one_layer_shares_blocks": ("shared", 1.01),
    "two_layers_reach": ("reach", 0.96),
    "paths_are_counted": ("closed", 0.95),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", SPOILT)
def test_live_runs_hold_and_fail_when_one_array_is_off(name):
    key, factor = SPOILT[name]
    assert judged(name, LiveLab()) == "HOLDS"
    assert judged(name, LiveLab(lambda runs: runs | {key: factor * runs[key]})) == "REFUTED"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "key", "factor"), [("variance_of_a_subset", "variance", 1.3), ("ensembles_keep_the_bias", "error", 0.6)]
)
def test_live_draws_are_not_refuted_and_spoilt_ones_are(name, key, factor):
    assert judged(name, LiveLab()) in ("HOLDS", "UNDECIDED")
    assert judged(name, LiveLab(lambda runs: runs | {key: factor * runs[key]})) == "REFUTED"


def test_wide_spreads_are_outside_the_expansion():
    from dataclasses import replace

    claim = paper.claims["ensembles_keep_the_bias"]
    assert claim.judge(replace(claim.setting.smoke, spread=2.0), PlantedLab({})).outcome.value == "VACUOUS"
