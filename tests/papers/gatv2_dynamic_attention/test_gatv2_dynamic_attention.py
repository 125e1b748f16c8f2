"""The claims on static and dynamic graph attention, judged on planted runs: the truth holds, a rival does not."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab
from attnlab.theory.graph_attention import dynamic, maps, static

paper = load("gatv2_dynamic_attention")


def judged(name, make, **changes):
    claim = paper.claims[name]
    return claim.judge(replace(claim.setting.desk, **changes), PlantedLab(make))


@pytest.mark.parametrize("name", ["rows_on_a_curve", "two_answers", "a_static_head_looks_up", "two_units", "every_map"])
def test_exact_claims_hold_at_smoke_and_see_a_small_change(name):
    claim = paper.claims[name]
    assert claim.judge(claim.setting.smoke, LiveLab()).holds

    def spoiled(runs):
        return {key: x + 1 if x.dtype.kind == "i" else x * (1 - 1e-8) for key, x in runs.items()}

    assert claim.judge(claim.setting.smoke, LiveLab(spoiled)).outcome.value == "REFUTED"


def test_the_published_impossibility_is_refuted_by_a_head_at_hand_and_not_by_one_with_two_answers():
    claim = paper.claims["gat_cannot_look_up"]
    assert claim.expected == "REFUTED" and claim.judge(claim.setting.smoke, LiveLab()).outcome.value == "REFUTED"
    two = {"right": np.full(8, 2 / 6)}
    assert not judged("gat_cannot_look_up", two).outcome.value == "REFUTED"


def test_the_lookup_by_a_static_head_needs_its_ratio():
    r = np.tile([0.0, 1.0, 2.5, 3.0, 4.2, 5.0], (8, 1))
    law = np.array([static.log_ratio_of_lookup_exact(each) for each in r])
    runs = {"ranks": r, "log_ratio": law, "right": np.ones(8), "favourites": np.ones(8, int)}
    assert judged("a_static_head_looks_up", runs).holds
    assert judged("a_static_head_looks_up", runs | {"log_ratio": 1.02 * law}).outcome.value == "REFUTED"
    assert judged("a_static_head_looks_up", runs, gain=0.5).outcome.value == "VACUOUS"


@pytest.mark.parametrize(("swapped", "outcome"), [(False, "HOLDS"), (True, "REFUTED")])
def test_maps_out_of_reach_of_dot_products(swapped, outcome):
    def make(setting):
        n = setting.n_nodes
        u = np.ones((8, n))
        u[::2, 0] = -1
        of = -u * np.r_[-1, np.ones(n - 1)] if swapped else u
        every = list(product(range(n), repeat=n))
        return {"reached": np.array([[maps.dot_product_reaches(m, x) for m in every] for x in of]), "dependency": u}

    assert judged("dot_products_miss_maps", make).outcome.value == outcome


@pytest.mark.parametrize(("longest", "outcome"), [(2, "HOLDS"), (3, "REFUTED")])
def test_maps_of_symmetric_scores(longest, outcome):
    def make(setting):
        every = product(range(setting.n_nodes), repeat=setting.n_nodes)
        found = [maps.symmetric_reaches(m) or (longest == 3 and m[0] == 1) for m in every]
        return {"reached": np.tile(found, (2, 1))}

    assert judged("shared_weights", make).outcome.value == outcome


def training(one, four, v2, static_share=1.0):
    """Runs whose last accuracies are given, which start at 1/5."""

    def make(setting):
        last = v2 if setting.score == "gatv2" else four if setting.n_heads == 4 else one
        n = setting.n_replicas
        curve = np.stack([np.full(n, 0.2), np.resize(last, n)], 1)
        share = np.full((n, 2), 0.3 if setting.score == "gatv2" else static_share)
        return {"train_nodes": curve, "test_nodes": curve, "static": share}

    return make


PLATEAU = np.r_[np.full(12, 0.4), np.full(4, 0.6)]


@pytest.mark.parametrize(
    ("name", "runs", "outcome"),
    [
        ("trained_gat_is_static", training(PLATEAU, 1.0, 1.0), "HOLDS"),
        ("trained_gat_is_static", training(PLATEAU, 1.0, 1.0, 0.99), "REFUTED"),
        ("trained_gat_lags", training(PLATEAU, 1.0, 1.0), "HOLDS"),
        ("trained_gat_lags", training(0.9, 1.0, 1.0), "REFUTED"),
        ("trained_gat_stops_at_two_answers", training(PLATEAU, 1.0, 1.0), "REFUTED"),
        ("trained_gat_stops_at_two_answers", training(0.4, 1.0, 1.0), "HOLDS"),
        ("trained_gatv2_fits", training(PLATEAU, 1.0, 1.0), "HOLDS"),
        ("trained_gatv2_fits", training(PLATEAU, 1.0, 0.9), "REFUTED"),
        ("heads_help", training(PLATEAU, 1.0, 1.0), "HOLDS"),
        ("heads_help", training(PLATEAU, PLATEAU, 1.0), "REFUTED"),
        ("several_static_heads_fit", training(PLATEAU, 1.0, 1.0), "HOLDS"),
        ("several_static_heads_fit", training(PLATEAU, 0.9, 1.0), "REFUTED"),
    ],
)
def test_trained_heads(name, runs, outcome):
    assert judged(name, runs).outcome.value == outcome


@pytest.mark.slow
def test_for_all_claims_hold_with_a_short_search_and_their_twins_fail():
    for name in ("static_ranking", "two_keys"):
        claim = paper.claims[name]
        assert claim.judge(replace(claim.setting.smoke, budget=2_000), PlantedLab({})).holds, name
    assert math.isclose(dynamic.map_weight_exact(2, 0.0), 0.5)
