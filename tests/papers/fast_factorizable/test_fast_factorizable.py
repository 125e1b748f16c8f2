"""The claims on fastmax: they hold on small live or planted runs, and see errors of a few per cent."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from attnlab.papers.fast_factorizable.paper import CASES, hard
from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab, scattered, spoiled
from attnlab.theory.polynomial_attention import series_weights
from attnlab.theory.score_maps import random_rows as laws

paper = load("fast_factorizable")


@cache
def live(name, measured="", change=0.0):
    claim = paper.claims[name]
    spoil = spoiled(measured, change) if measured else dict
    return claim.judge(claim.setting.smoke, LiveLab(spoil)).outcome.value


@pytest.mark.parametrize(
    ("name", "measured", "change"),
    [
        ("features_give_the_dense_form", "linear", 1e-7),
        ("rank_of_standardised_tokens", "rank", 1),
        ("outputs_know_no_length", "moved", 1e-6),
        ("gradients_by_features", "by_query", 1e-6),
        ("cost_is_linear_in_the_length", "features", 1),
        ("cost_is_linear_in_the_length", "crossover", 1),
    ],
)
def test_exact_claims_hold_and_see_an_error(name, measured, change):
    assert live(name) == "HOLDS"
    assert live(name, measured, change) == "REFUTED"


def planted(setting, factor):
    """Runs of exactly the laws' means, at a hundredth of the laws' spread, times a factor."""
    n = setting.n_replicas
    scores = laws.gaussian_scores(setting.score_std)

    def column(law):
        return scattered(factor * law.limit, law.std / 100, n)

    names = [f"series {p}" for p in setting.orders]
    share = series_weights.negative_share_exact(setting.score_std)
    swapped = series_weights.misordered_share_exact(setting.score_std)
    return {
        "participation": np.stack([column(laws.participation_law(m, scores, setting.n_keys)) for m in names], 1),
        "deficit": np.stack([column(laws.entropy_deficit_law(m, scores, setting.n_keys)) for m in names], 1),
        "distance": np.stack([column(laws.distance_law(m, "softmax", scores, setting.n_keys)) for m in names], 1),
        "negative": scattered(factor * share, 1e-6, n),
        "misordered": scattered(factor * swapped, 1e-6, n),
    }


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.05, "REFUTED"), (0.95, "REFUTED")])
@pytest.mark.parametrize(
    "name",
    [
        "negative_weights_of_normal_scores",
        "low_scores_gain_weight",
        "order_two_is_never_sharper_than_three",
        "entropy_that_orders_take",
        "distance_from_softmax",
    ],
)
def test_laws_of_rows_see_five_per_cent(name, factor, outcome):
    claim = paper.claims[name]
    found = claim.judge(claim.setting.desk, PlantedLab(lambda setting: planted(setting, factor)))
    assert found.outcome.value == outcome


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.03, "REFUTED"), (0.97, "REFUTED")])
def test_laws_of_tokens_see_three_per_cent(factor, outcome):
    def make(setting):
        scores = laws.cosine_scores(setting.dim - 1, math.sqrt(setting.dim))
        law = laws.participation_law("series 2", scores, setting.n_keys)
        n, d = setting.n_replicas, setting.dim
        return {
            "participation": scattered(factor * law.limit, law.std / 100, n),
            "negative": scattered(factor * series_weights.negative_share_of_tokens_exact(d), 1e-6, n),
            "variance": scattered(factor * series_weights.score_variance_exact(d), 1e-6, n),
        }

    for name in ("sharpness_of_standardised_tokens", "negative_weights_of_order_one"):
        claim = paper.claims[name]
        assert claim.judge(claim.setting.desk, PlantedLab(make)).outcome.value == outcome


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (0.98, "REFUTED"), (1.02, "REFUTED")])
def test_the_bound_of_a_row_is_attained_to_a_per_cent(factor, outcome):
    def make(setting):
        return {"two_kinds": np.array([factor * series_weights.row_error_bound(setting.order, setting.score_bound)])}

    claim = paper.claims["row_error_is_attained"]
    assert claim.judge(claim.setting.desk, PlantedLab(make)).outcome.value == outcome


def test_every_case_has_a_finite_bound_and_two_kinds_of_keys():
    for B, p in CASES:
        assert np.isfinite(series_weights.row_error_bound(p, B)) and 0 < hard(B, p).n_high < hard(B, p).n_keys


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "name", ["scores_are_bounded", "even_orders_are_positive", "slopes_are_bounded", "row_error", "one_key_has_at_most"]
)
def test_searches_find_nothing_against_the_bounds(name):
    claim = paper.claims[name]
    assert claim.judge(replace(claim.setting.smoke, budget=1_500), PlantedLab({})).outcome.value in (
        "HOLDS",
        "UNDECIDED",
    )


def test_order_one_has_no_bound_on_its_slopes():
    claim = paper.claims["slopes_of_order_one_are_bounded"]
    assert claim.judge(replace(claim.setting.smoke, budget=1_000), PlantedLab({})).outcome.value == "REFUTED"
