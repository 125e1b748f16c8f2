"""The claims on tensor attention: they hold at smoke, and see errors of a few per cent."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab
from attnlab.papers.tensor_attention.paper import CASES, hard
from attnlab.theory.polynomial_attention import tensor

paper = load("tensor_attention")


@cache
def live(name, spoiled="", factor=1.0, shift=0.0):
    claim = paper.claims[name]

    def spoil(runs):
        return runs | {spoiled: runs[spoiled] * factor + shift} if spoiled else runs

    return claim.judge(claim.setting.smoke, LiveLab(spoil)).outcome.value


@pytest.mark.parametrize(
    ("name", "measured", "factor", "shift"),
    [
        ("by_features", "by_features", 1.0, 1e-10),
        ("rank_of_the_series", "rank", 1.0, 1),
        ("gradient", "by_query", 1.01, 0.0),
        ("match3", "wrong", 1, 1),
        ("match3", "sums", 1.0, 1e-9),
        ("no_pairwise_head", "exists", 1, 1),
    ],
)
def test_exact_claims_hold_and_see_an_error(name, measured, factor, shift):
    assert live(name) == "HOLDS"
    assert live(name, measured, factor, shift) == "REFUTED"


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (0.98, "REFUTED"), (1.02, "REFUTED")])
def test_the_bound_is_attained_to_a_per_cent(factor, outcome):
    def make(setting):
        return {"error": np.array([factor * tensor.output_error_bound(setting.degree, setting.entry_bound)])}

    claim = paper.claims["bound_is_attained"]
    assert claim.judge(claim.setting.desk, PlantedLab(make)).outcome.value == outcome
    few = replace(claim.setting.desk, n_keys=100, n_high=50)
    assert claim.judge(few, PlantedLab(make)).outcome.value == "VACUOUS"


def test_every_case_has_a_finite_bound_and_two_kinds_of_keys():
    for B, g in CASES:
        assert np.isfinite(tensor.output_error_bound(g, B)) and 0 < hard(B, g).n_high < hard(B, g).n_keys


def test_the_bound_on_all_inputs_holds_in_a_short_search():
    claim = paper.claims["output_error"]
    assert claim.judge(replace(claim.setting.smoke, budget=4_000), PlantedLab({})).holds


def test_the_best_rules_hold_and_see_a_per_cent():
    assert live("best_pairwise_head") == "HOLDS"
    assert live("best_pairwise_head", "accuracy", 1.01) == "REFUTED"


@pytest.mark.parametrize(
    ("tensor_head", "one", "two", "outcomes"),
    [
        (1.0, 0.74, 0.98, ("HOLDS", "HOLDS", "HOLDS")),
        (0.75, 0.76, 0.74, ("REFUTED", "REFUTED", "REFUTED")),
        (0.5, 0.5, 1.0, ("REFUTED", "INVALID", "INVALID")),
    ],
)
def test_trained_heads_on_planted_runs(tensor_head, one, two, outcomes):
    def make(setting):
        value = tensor_head if setting.head == "tensor" else {1: one, 2: two}[setting.n_heads]
        return {"accuracy": np.full(setting.n_replicas, value), "start": np.full(setting.n_replicas, 0.5)}

    names = ("one_tensor_head_learns_it", "one_pairwise_head_does_not", "two_pairwise_heads_nearly_do")
    claims = [paper.claims[name] for name in names]
    assert tuple(each.judge(each.setting.desk, PlantedLab(make)).outcome.value for each in claims) == outcomes
