"""The claims on positions and geometry: exact ones on live runs and spoiled ones, laws on planted runs of truth and rivals."""

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab, scattered, spoiled
from attnlab.papers.positions_and_geometry.places import kept
from attnlab.theory.positional_attention import disentangled, fourier_positions, group_transport

paper = load("positions_and_geometry")

#: Claim -> what is spoiled, and by how much.
EXACT = {
    "offsets_dilute": ("near", 1e-9),
    "free_pairs_count_twice": ("free", 1e-9),
    "windows_save_cache_and_needles_drown": ("field", 1),
    "frames_do_not_matter": ("moved", 1e-6),
    "weights_make_the_integral": ("gauss", 1e-9),
    "pairs_are_blind_to_mirrors": ("vector_mirrored", 1e-9),
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


@pytest.mark.parametrize(("terms", "holds"), [(3, True), (2, False)])
def test_scores_count_their_terms(terms, holds):
    def make(setting):
        d, n = setting.width, setting.n_replicas
        plain = np.full((n, 4, 4), 0.25)
        return {
            "all": scattered(disentangled.score_variance(d, terms), 0.04, n),
            "content": scattered(1 / 3, 0.01, n),
            "plain": plain * np.array([0.4, 1, 1, 1.6]),
            "map": plain * np.array([0.4, 1, 1, 1.6]),
        }

    assert judged("three_terms_make_one", make) is holds


@pytest.mark.parametrize(("change", "holds"), [(1.0, True), (1.3, False), (0.75, False)])
def test_waves_amplify_by_their_floor(change, holds):
    def make(setting):
        L, n = setting.trained_length, setting.n_replicas
        law = fourier_positions.noise_beyond_exact(kept(setting, setting.periods), L, 4 * L, setting.ridge) ** 2
        return {"beyond": scattered(change * law, 0.05 * law, n), "kept": np.full(n, len(kept(setting, 1.0)))}

    assert judged("slow_waves_amplify", make) is holds


@pytest.mark.parametrize(("channels", "holds"), [(4, True), (2, False)])
def test_translations_sharpen_by_a_channel_in_four(channels, holds):
    def make(setting):
        n, far = setting.n_replicas, setting.translations
        g = np.stack([np.eye(4) + np.outer([t, 0, 0, 0], [0, 0, 0, 1]) for t in far])
        laws = [1 + (group_transport.block_variance(each) / 4 - 1) * 4 / channels for each in g]
        return {
            "variance": np.stack([scattered(law, 0.03, n) for law in laws], 1),
            "relative": np.tile(g, (n, 1, 1, 1)),
        }

    assert judged("translations_sharpen", make) is holds
