"""Sampled and hashed attention where its outcome is known."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.simulators.hashing import sampled_attention as simulations

SEEDS = [np.random.SeedSequence(0, spawn_key=(i,)) for i in range(2)]


def test_flat_maps_are_as_easy_as_can_be():
    runs = simulations.hardness(simulations.MapSetting(32, 4, spreads=(1e-9,)), SEEDS, "cpu")
    for name in ("mean", "largest", "kappa"):
        assert runs[name] == pytest.approx(1, abs=1e-6)
    assert simulations.extreme_sums(simulations.MapSetting(32, 4, spreads=(1e-9,)), SEEDS, "cpu")[
        "sums"
    ] == pytest.approx(1)


def test_sums_of_two_rows_are_those_of_the_whole_map():
    setting = simulations.MapSetting(50, 3, spreads=(0.3, 0.9))
    runs = simulations.extreme_sums(setting, SEEDS, "cpu")
    for replica, seed in enumerate(SEEDS):
        q, k = np.random.default_rng(seed).standard_normal((2, 50, 3))
        sizes = np.linalg.norm(q, axis=1)
        for j, spread in enumerate(setting.spreads):
            sums = np.exp(spread / 3**0.5 * q @ k.T).sum(1)
            assert runs["sums"][replica, j] == pytest.approx(sums[sizes.argmax()] / sums[sizes.argmin()])
            rate = runs["rate"][replica, j]
            assert rate**4 * 3 == pytest.approx(spread**2)
            assert runs["queries"][replica, j] == pytest.approx(rate * np.array([sizes.max(), sizes.min()]))


def test_all_samples_of_flat_rows_agree():
    setting = simulations.SampleSetting(16, spread=1e-9, n_draws=50)
    runs = simulations.sums_and_products(setting, SEEDS, "cpu")
    assert np.abs(runs["row"]).max() < 1e-15 and np.abs(runs["diagonal"]).max() < 1e-7
    assert (runs["by_norm"] > 0).all()


def test_planted_keys_are_heavy_and_one_block_catches_all():
    setting = simulations.ErrorSetting(64, data="planted", block=64, numbers=(8,))
    runs = simulations.errors(setting, SEEDS, "cpu")
    assert (runs["caught"] == 1).all() and runs["spectral"].max() < 1e-12 and (runs["planted"] > 0.5).all()
    alone = simulations.errors(replace(setting, blocks="none"), SEEDS, "cpu")
    assert alone["mass"].max() < runs["mass"].min() and (alone["spectral"] > 0.01).all()
    assert runs["mass"] == pytest.approx(1)


def test_a_copy_of_every_row_leaves_no_error_and_few_rows_much():
    runs = simulations.identity(simulations.IdentitySetting(4, 2, 400_000), SEEDS, "cpu")
    assert runs["error"].max() < 0.02 and ((runs["stable_rank"] >= 1) & (runs["stable_rank"] <= 2)).all()
    assert simulations.identity(simulations.IdentitySetting(64, 2, 2), SEEDS, "cpu")["error"].min() > 1


def test_a_leaf_that_holds_all_is_the_dense_map():
    runs = simulations.recursion(simulations.CausalSetting(8, 3, 8), SEEDS, "cpu")
    assert np.abs(runs["split"] - runs["dense"]).max() == 0 == np.abs(runs["halves"] - runs["dense"]).max()
