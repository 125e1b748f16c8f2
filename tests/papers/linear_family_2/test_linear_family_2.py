"""The claims on linear variants: exact ones on live runs and spoiled ones, laws on planted runs of the truth and of rivals."""

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab, scattered, spoiled
from attnlab.theory.linear_variants import additive_global_query, orthogonal_memory, relu_linear

paper = load("linear_family_2")

#: Claim -> what is spoiled, and by how much.
EXACT = {
    "two_forms_one_rank": ("rank", 1),
    "parabolas_are_blunt": ("ratio", 1e-3),
    "retrieval_needs_root_n": ("temperature", 1e-6),
    "mediators_average_twice": ("largest", 0.3),
    "bottlenecks_lose_by_count": ("summed", 0.01),
    "the_module_reaches_its_square": ("field", 1),
    "learned_rows_are_of_low_rank": ("whole", 1e-5),
    "refined_gates_saturate_sooner": ("ratio", 1e-6),
    "states_fill_by_their_gate": ("energy", 1e-3),
    "slots_know_the_mean": ("reordered", 1e-6),
    "branches_are_one_kernel": ("fourier", 1e-9),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", EXACT)
def test_exact_claims_hold_on_live_runs_and_fall_when_one_number_is_spoiled(name):
    claim, (field, change) = paper.claims[name], EXACT[name]

    assert claim.function(claim.setting.smoke, LiveLab()).holds
    assert not claim.function(claim.setting.smoke, LiveLab(spoiled(field, change))).holds


def judged(name, make):
    claim = paper.claims[name]
    return claim.function(claim.setting.desk, PlantedLab(make)).holds


@pytest.mark.parametrize(("change", "holds"), [(1.0, True), (1.1, False), (0.9, False)])
def test_newest_tokens_weigh_one_over_t_and_blocks_have_the_rank_of_the_latents(change, holds):
    def make(setting):
        p, L = change / setting.n_tokens, setting.n_latents
        ranks = {"below": np.full(setting.n_replicas, L), "whole": np.full(setting.n_replicas, 6 * L)}
        return {"newest": scattered(p, 0.3 / setting.n_draws**0.5, setting.n_replicas)} | ranks

    assert judged("latents_have_no_recency", make) is holds


@pytest.mark.parametrize(("change", "holds"), [(1.0, True), (1.3, False), (0.75, False)])
def test_rectified_rows_follow_their_width(change, holds):
    def make(setting):
        law = relu_linear.excess_participation(setting.width)
        return {"excess": scattered(change * law, 0.05 * law, setting.n_replicas)}

    assert judged("rectified_rows_are_flat", make) is holds


@pytest.mark.parametrize(("change", "holds"), [(1.0, True), (1.1, False), (0.9, False)])
def test_clamped_rows_count_their_tokens(change, holds):
    def make(setting):
        law = change * relu_linear.clamped_row_sum(setting.n_few, setting.width)
        return {"row_sum": scattered(law, 0.03 * law, setting.n_replicas)}

    assert judged("clamps_shrink_short_texts", make) is holds


@pytest.mark.parametrize(("slots", "noise", "holds"), [(0, 1, True), (1, 1, False), (0, 1.1, False)])
def test_slots_keep_their_share_and_their_noise(slots, noise, holds):
    def make(setting):
        lost = orthogonal_memory.lost_energy(setting.n_slots - slots, setting.width)
        until = orthogonal_memory.detectable_until(setting.marker, noise * setting.noise_std)
        n, m = setting.n_replicas, setting.n_draws
        return {"lost": scattered(lost, 0.01, n), "until": scattered(until, until * (2 / m) ** 0.5, n)}

    assert judged("slots_lose_their_complement", make) is holds


@pytest.mark.parametrize(("more", "holds"), [(0, True), (1, False)])
def test_global_queries_count_tokens_and_channels(more, holds):
    def make(setting):
        rng, n, D = np.random.default_rng(0), setting.n_replicas, setting.width
        q, w = rng.normal(size=(n, 32, D)), rng.normal(size=(n, D))
        few = np.array([additive_global_query.global_query(*each) for each in zip(q, w, strict=True)])
        limit = additive_global_query.isotropic_size_limit(setting.n_tokens, D + more)
        return {"size": scattered(limit, 0.05, n), "few": few, "queries": q, "weight": w}

    assert judged("global_queries_iterate_once", make) is holds
