"""The claims on gates and memories: exact ones on live runs and spoiled ones, laws on planted runs of the truth and of rivals."""

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab, scattered, spoiled
from attnlab.theory.gates_and_memory import compressive_memory, extractor

paper = load("gates_and_memory")

#: Claim -> what is spoiled, and by how much.
EXACT = {
    "memory_is_linear_attention": ("memory", 1e-9),
    "repeats_are_halved": ("delta", 1e-9),
    "segments_write_twice": ("twice", 1e-9),
    "averages_are_convolutions": ("recurrence", 1e-9),
    "far_chunks_fade": ("factor", 1e-6),
    "filters_see_three_tokens": ("rank", 1),
    "one_layer_copies": ("right", -0.1),
    "fields_of_neighbours": ("seen", 1),
    "far_tokens_enter_alike": ("far", 1e-9),
    "the_past_superposes": ("both", 1e-9),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "the_past_superposes" else name for name in EXACT]
)
def test_exact_claims_hold_on_live_runs_and_fall_when_one_number_is_spoiled(name):
    claim, (field, change) = paper.claims[name], EXACT[name]

    assert claim.function(claim.setting.smoke, LiveLab()).holds
    assert not claim.function(claim.setting.smoke, LiveLab(spoiled(field, change))).holds


def judged(name, make):
    claim = paper.claims[name]
    return claim.function(claim.setting.desk, PlantedLab(make)).holds


@pytest.mark.parametrize(("change", "holds"), [(1.0, True), (1.08, False), (0.92, False)])
def test_needles_weigh_their_gain(change, holds):
    def make(setting):
        law = setting.n_stored * compressive_memory.needle_weight(setting.n_stored, setting.key_std)
        spread = (compressive_memory.own_weight(setting.key_std, setting.width)[1] / setting.n_draws) ** 0.5
        return {"weight": scattered(change * law, spread, setting.n_replicas)}

    assert judged("needles_dilute", make) is holds


@pytest.mark.parametrize("factor", [1.05, 1 / 1.05])
def test_the_margin_of_a_gain_does_not_grow_with_an_error_of_the_gain(factor, monkeypatch):
    def make(setting):
        N, s, d = setting.n_stored, setting.key_std, setting.width
        return {
            "weight": scattered(
                N * compressive_memory.diluted(compressive_memory.own_weight(s, d)[0], N), 1e-4, setting.n_replicas
            )
        }

    assert judged("needles_dilute", make)
    gain = compressive_memory.gain
    monkeypatch.setattr(compressive_memory, "gain", lambda s: factor * gain(s))
    assert not judged("needles_dilute", make)


@pytest.mark.parametrize(("width", "holds"), [(None, True), (10**6, False), (16, False)])
def test_recall_knows_how_wide_its_keys_are(width, holds):
    def make(setting):
        sizes = setting.key_std, width or setting.key_width, setting.value_width
        p = compressive_memory.recall_limit(setting.n_stored, *sizes)
        return {"right": scattered(p, (p * (1 - p) / setting.n_draws) ** 0.5, setting.n_replicas)}

    assert judged("memory_recalls_few", make) is holds


@pytest.mark.parametrize(("more", "holds"), [(0, True), (1, False)])
def test_extracts_count_the_other_tokens(more, holds):
    def make(setting):
        law = [extractor.extracted_variance(t + more, setting.correlation) for t in setting.lengths]
        spread = (2 / setting.n_draws) ** 0.5
        return {"square": np.stack([scattered(x, spread * x, setting.n_replicas) for x in law], 1)}

    assert judged("extracts_grow_with_correlation", make) is holds
