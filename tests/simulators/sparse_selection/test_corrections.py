"""Anchors and leading directions where the outcome is known: equal queries, an anchor per query, all directions."""

import numpy as np
import pytest

from attnlab.simulators.sparse_selection import corrections

SEEDS = [np.random.SeedSequence(k) for k in range(2)]


def test_equal_queries_need_one_anchor():
    setting = corrections.AnchorSetting(64, 16, 4, correlation=1.0, gap=4, n_blocks=3)
    runs = corrections.anchors(setting, SEEDS, "cpu")
    assert runs["corrected"] == pytest.approx(0, abs=1e-12) and runs["recomputed"] == pytest.approx(0.75)
    assert runs["cosine_corrected"] == pytest.approx(1) and (runs["cosine_sparse"] < 0.99).all()
    with pytest.raises(ValueError, match="n_kept"):
        corrections.AnchorSetting(n_keys=8, n_kept=8)


def test_delta_counts_the_scores_it_needs():
    runs = corrections.delta(corrections.DeltaSetting(8, 2, window=1, sinks=0, gap=4), SEEDS, "cpu")
    assert runs["pairs"] == pytest.approx((8 + 1 + 5) / 36)
    assert np.abs(runs["corrected"][:, ::4] - runs["full"][:, ::4]).max() < 1e-12


def test_all_directions_find_the_best_keys():
    setting = corrections.DirectionSetting(64, 8, directions=(2, 8), n_draws=3)
    runs = corrections.directions(setting, SEEDS, "cpu")
    assert runs["correlation"][..., 1] == pytest.approx(1) and runs["jaccard"][..., 1] == pytest.approx(1)
    assert runs["kept"][..., 1] == pytest.approx(runs["oracle"]) and (runs["kept"][..., 0] <= runs["oracle"]).all()
    spread = (np.square(runs["query"]) * np.arange(1, 9) ** -2.0).sum(-1) / 8
    assert spread == pytest.approx(1)


def test_a_full_rotation_changes_nothing():
    runs = corrections.full_rotation(corrections.DirectionSetting(dim=8, directions=(2,)), SEEDS, "cpu")
    assert np.abs(runs["rotated"] - runs["best"]).max() < 1e-12 < np.abs(runs["half"] - runs["best"]).max()
