"""The claims on mixers and channel gates: exact ones on live runs and spoiled ones, laws on planted runs of truth and rivals."""

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import LiveLab, PlantedLab, scattered, spoiled
from attnlab.theory.mixers_and_channels import channel_band, channel_frequencies, fft_mixer

paper = load("mixers_and_channels")

#: Claim -> what is spoiled, and by how much.
EXACT = {
    "waves_shift_round": ("shifted", 1e-9),
    "large_kernels_are_one_map": ("share", 1e-9),
    "gates_and_hyper_kernels_see_and_grow": ("cells", 1),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_claims_hold_on_live_runs_and_fall_when_one_number_is_spoiled(name):
    claim, (field, change) = paper.claims[name], EXACT[name]

    assert claim.function(claim.setting.smoke, LiveLab()).holds
    assert not claim.function(claim.setting.smoke, LiveLab(spoiled(field, change))).holds


def judged(name, make):
    claim = paper.claims[name]
    return claim.function(claim.setting.desk, PlantedLab(make)).holds


@pytest.mark.parametrize(("change", "holds"), [(1.0, True), (1.08, False), (0.92, False)])
def test_thresholds_prune_their_share(change, holds):
    def make(setting):
        p = fft_mixer.pruned_share_limit(-change * setting.threshold, setting.n_tokens, 1.0)
        return {"pruned": scattered(p, 0.008, setting.n_replicas)}

    assert judged("thresholds_prune_by_an_exponential", make) is holds


@pytest.mark.parametrize(
    ("absolute", "shuffled", "holds"), [(False, 1.0, True), (True, 1.0, False), (False, 1.1, False)]
)
def test_bands_square_their_taps(absolute, shuffled, holds):
    def make(setting):
        taps, n = np.array(setting.taps), setting.n_replicas
        weights = np.sqrt(np.abs(taps)) if absolute else taps
        ordered = [channel_band.explained_by_band(weights, k) for k in setting.sizes]
        after = shuffled * channel_band.explained_after_shuffle(taps)
        rows = {"ordered": ordered, "shuffled": [after] * len(setting.sizes)}
        return {name: np.stack([scattered(p, 1e-3, n) for p in row], 1) for name, row in rows.items()}

    assert judged("bands_need_an_order", make) is holds


@pytest.mark.parametrize(("noise", "leak", "holds"), [(1.0, 0.0, True), (0.8, 0.0, False), (1.0, 1e-6, False)])
def test_cosines_know_noise_and_leaks(noise, leak, holds):
    def make(setting):
        own, n = channel_frequencies.response(setting.amplitude, setting.side, setting.side), setting.n_replicas
        p = channel_frequencies.presence_auc(setting.amplitude, noise * setting.noise_std, setting.side, setting.side)
        clean = np.tile([own, leak, 0.0], (n, 1))
        moved = np.full(n, -own)
        return {"clean": clean, "moved": moved, "told": scattered(p, 0.006, n), "by_mean": scattered(0.5, 0.015, n)}

    assert judged("cosines_see_what_the_mean_does_not", make) is holds
