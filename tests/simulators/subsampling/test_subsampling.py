"""Simulations of subsets and blocks where their outcome is known."""

import numpy as np
import pytest

from attnlab.simulators.subsampling import blocks, subsets

SEEDS = [np.random.SeedSequence(0, spawn_key=(i,)) for i in range(2)]


def test_all_keys_give_the_dense_output():
    setting = subsets.SubsetSetting(32, reduction=1, n_draws=8, ensembles=(1, 2))
    runs = subsets.drawn(setting, SEEDS, "cpu")
    p, v = subsets.row(setting)
    assert np.allclose(runs["mean"], p @ v) and np.abs(runs["error"]).max() < 1e-24
    assert np.abs(runs["shift"]).max() < 1e-12 and (runs["kept"] == 1).all()


def test_flat_rows_of_subsets_are_means_of_subsets():
    """Spread 1e-9: the mean of m of n values, variance (n - m)/(m (n - 1)) of theirs; 4,000 draws, 5 % of 8 channels."""
    setting = subsets.SubsetSetting(16, spread=1e-9, reduction=4, n_draws=2000)
    runs, (_, v) = subsets.drawn(setting, SEEDS, "cpu"), subsets.row(setting)
    assert runs["variance"].mean(0).sum() == pytest.approx(12 / (4 * 15) * v.var(0).sum(), rel=0.06)
    assert np.abs(runs["shift"] - np.log(4)).max() < 1e-7
    listed = subsets.listed(subsets.ListedSetting(8, spread=1e-9), SEEDS, "cpu")
    assert (
        listed["variance"] == pytest.approx(4 / (4 * 7) * listed["values"].var(1))
        and np.abs(listed["bias"]).max() < 1e-8
    )


def test_certain_chances_give_the_dense_output():
    setting = subsets.LocalSetting(64, decay=1e-9, n_draws=3)
    p, v, _ = subsets.local_row(setting)
    runs = subsets.local(setting, SEEDS, "cpu")
    for name in ("plain", "corrected"):
        assert runs[name] == pytest.approx(float((p @ v)[0]), abs=1e-7)


def test_one_block_connects_all_and_single_tokens_nothing():
    one = blocks.reach(blocks.BlockSetting(8, 1, 2, n_draws=2), SEEDS, "cpu")
    assert (one["reach"] == 1).all() and (one["paths"] == 8).all() and (one["closed"] == 8).all()
    alone = blocks.reach(blocks.BlockSetting(8, 8, 2, n_draws=2), SEEDS, "cpu")
    assert (alone["reach"] == 1 / 8).all() and (alone["shared"] == 0).all()
    with pytest.raises(ValueError, match="n_blocks=3"):
        blocks.BlockSetting(8, 3)


def test_blocks_count_what_they_multiply():
    runs = blocks.counts(blocks.CostSetting(((8, 2, 3, 2),)), SEEDS, "cpu")
    assert (runs["multiply_adds"] == 8 * 4 * 5).all() and runs["difference"].max() < 1e-14
