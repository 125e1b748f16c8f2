"""The claims on combined and shared heads: exact ones on live runs and spoiled ones, laws on planted runs of truth and rivals."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab, scattered, spoiled
from attnlab.theory.heads_and_sharing import head_mixture, shared_maps, weighted_groups

paper = load("heads_and_sharing")

#: Claim -> what is spoiled, and by how much.
EXACT = {
    "spans_use_the_first_map": ("span", 1e-9),
    "bases_absorb_values": ("turned", 1e-3),
    "positions_mix_and_leak_unless_triangular": ("future", 1e-12),
    "gates_average_one": ("moved", 1),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_claims_hold_on_live_runs_and_fall_when_one_number_is_spoiled(name):
    claim, (field, change) = paper.claims[name], EXACT[name]

    few = {name: 4 for name in ("n_replicas", "n_tokens") if hasattr(claim.setting.smoke, name)}
    setting = replace(claim.setting.smoke, **few)
    assert claim.function(setting, LiveLab()).holds
    assert not claim.function(setting, LiveLab(spoiled(field, change))).holds


def judged(name, make):
    claim = paper.claims[name]
    return claim.function(claim.setting.desk, PlantedLab(make)).holds


@pytest.mark.parametrize(("noise", "holds"), [(1.0, True), (0.7, False), (1.3, False)])
def test_pools_know_their_noise(noise, holds):
    def make(setting):
        c, e, n = setting.amplitudes, noise * setting.noise_std, setting.n_replicas
        laws = {
            "lost": weighted_groups.lost_by_the_mean(c, e),
            "mean": weighted_groups.captured_by_the_mean(c, e),
            "best": weighted_groups.captured_by_the_best_pool(c, e),
        }
        return {k: scattered(p, 0.002, n) for k, p in laws.items()} | {"numbers": np.full(n, 4096)}

    assert judged("the_mean_loses_what_signs_cancel", make) is holds
    assert judged("weights_are_for_signs", make) is holds


@pytest.mark.parametrize(("squared", "holds"), [(1, True), (2, False)])
def test_pooled_keys_correlate_by_a_root(squared, holds):
    def make(setting):
        rho = weighted_groups.pooled_score_correlation(setting.per_group, setting.correlation)
        return {"correlation": scattered(rho**squared, 0.005, setting.n_replicas)}

    assert judged("pooled_keys_blur_scores", make) is holds


@pytest.mark.parametrize(("older", "holds"), [(0, True), (1, False)])
def test_borrowed_maps_know_their_age(older, holds):
    def make(setting):
        r, s, n = setting.correlation, setting.score_std, setting.n_replicas
        laws = [
            (shared_maps.output_error(r, s, k + older), shared_maps.map_cosine(r ** (k + older), s))
            for k in setting.distances
        ]
        return {
            name: np.stack([scattered(x[i], 0.001, n) for x in laws], 1) for i, name in enumerate(("error", "cosine"))
        }

    assert judged("borrowed_maps_err_by_their_age", make) is holds


@pytest.mark.parametrize(("rival", "holds"), [(False, True), (True, False)])
def test_mixtures_count_energies_and_sets(rival, holds):
    def make(setting):
        share, m, n = setting.n_active / setting.n_routed, setting.queries_per_key, setting.n_replicas
        p = head_mixture.kept_energy(share, setting.log_norm_std / (1 + rival))
        exact = head_mixture.cache_needed_exact(setting.n_active, setting.n_routed, m)
        needed = head_mixture.cache_needed(share, m) if rival else exact
        return {"kept": scattered(p, 0.002, n), "needed": scattered(needed, 0.005, n)}

    assert judged("loud_heads_suffice", make) is holds
    assert judged("caches_are_read_by_count", make) is holds
