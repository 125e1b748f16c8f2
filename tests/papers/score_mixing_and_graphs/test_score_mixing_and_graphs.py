"""The claims on score mixing and graphs: exact ones on live runs and spoiled ones, laws on planted runs of truth and rivals."""

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab, scattered, spoiled
from attnlab.theory.score_mixing import edge_scores, multi_token

paper = load("score_mixing_and_graphs")

#: Claim -> what is spoiled, and by how much.
EXACT = {"kernels_multiply_ranks": ("rank", 1), "sums_count_and_norms_forget": ("blind", 1e-6)}


@pytest.mark.parametrize("name", EXACT)
def test_exact_claims_hold_on_live_runs_and_fall_when_one_number_is_spoiled(name):
    claim, (field, change) = paper.claims[name], EXACT[name]

    assert claim.function(claim.setting.smoke, LiveLab()).holds
    assert not claim.function(claim.setting.smoke, LiveLab(spoiled(field, change))).holds


def judged(name, make):
    claim = paper.claims[name]
    return claim.function(claim.setting.desk, PlantedLab(make)).holds


@pytest.mark.parametrize(("change", "holds"), [(1.0, True), (1.05, False), (0.95, False)])
def test_kernels_heat_by_their_norm(change, holds):
    def make(setting):
        kernels = np.random.default_rng(1).normal(size=(setting.n_replicas, 1, 6, 11))
        law = np.array([multi_token.variance_gain(each[0]) for each in kernels])
        return {"gain": law * scattered(change, 0.005, setting.n_replicas), "kernel": kernels}

    assert judged("kernels_heat_scores", make) is holds


@pytest.mark.parametrize(("missed", "change", "holds"), [(0.0, 1.0, True), (0.02, 1.0, False), (0.0, 0.9, False)])
def test_conjunctions_are_found_always_and_matches_share(missed, change, holds):
    def make(setting):
        law = change * multi_token.tied_accuracy_exact(setting.n_blocks, setting.block, 26, 100_000, 2).mean()
        n = setting.n_replicas
        return {"kernel": np.full(n, 1 - missed), "tied": scattered(law, 0.002, n)}

    assert judged("kernels_find_conjunctions", make) is holds


@pytest.mark.parametrize(("known", "holds"), [(0.0, True), (0.05, False)])
def test_blind_scores_stay_at_one_half(known, holds):
    def make(setting):
        n = setting.n_replicas
        return {"additive": scattered(0.5 + known, 0.002, n), "mixed": scattered(0.5, 0.008, n)}

    assert judged("additive_scores_know_no_classes", make) is holds


@pytest.mark.parametrize(("nearer", "holds"), [(1.0, True), (0.85, False)])
def test_products_know_the_distance_of_classes(nearer, holds):
    def make(setting):
        p = edge_scores.product_auc_exact(nearer * setting.mean_norm, setting.dim)
        return {"product": scattered(p, 0.01, setting.n_replicas)}

    assert judged("products_know_classes", make) is holds
