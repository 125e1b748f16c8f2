"""Simulations of score maps where their outcome is known."""

from dataclasses import replace

import numpy as np
import pytest

from attnlab.simulators.score_maps import idle, random_rows, rules

SEEDS = [np.random.SeedSequence(0, spawn_key=(i,)) for i in range(2)]


def test_rows_of_flat_scores():
    """Scores of spread 1e-9: uniform softmax and softplus, half of softpick, nothing left of a cut at 1.5 times the mean."""
    runs = random_rows.rows(random_rows.RowSetting(512, (1e-9,), n_rows=20), SEEDS, "cpu")
    for name in ("softmax", "softplus"):
        assert np.allclose(runs[f"{name}_sum"], 1) and np.allclose(runs[f"{name}_square"], 1 / 512)
        assert np.abs(runs[f"{name}_deficit"]).max() < 1e-12
    assert np.abs(runs["softpick_sum"] - 0.5).max() < 5 * 0.03 / 20**0.5 / 2
    assert (runs["clipped_zeros"] == 1).all() and (runs["clipped_sum"] == 0).all()
    assert np.allclose(runs["signed_square"], 1 / 512) and (runs["relu_zeros"] > 0.4).all()


def test_outputs_of_softmax_stay_in_the_hull_and_others_do_not():
    runs = random_rows.hull(random_rows.HullSetting(n_rows=500), SEEDS, "cpu")
    assert (runs["softmax"] == 0).all() and (runs["standardised"] > 0.5).all()
    assert (runs["highest"] > runs["lowest"]).all() and runs["mean_square"].shape == (2, 500)


def test_lengths_and_nothing_have_the_declared_shapes():
    runs = random_rows.lengths(random_rows.LengthSetting(lengths=(16, 32), n_rows=3), SEEDS, "cpu")
    assert runs["entropy"].shape == (2, 2) and runs["participation"].shape == (2, 2, 3)
    assert (runs["participation"] >= 1).all()
    runs = random_rows.nothing(random_rows.NothingSetting((1,), n_rows=400), SEEDS, "cpu")
    assert np.abs(runs["relu"] - 0.5).max() < 5 * 0.025 and (runs["softmax"] == 0).all()


def test_descent_moves_the_gap_up_and_clipped_softmax_stops():
    setting = idle.IdleSetting(n_steps=200, n_records=5)
    runs = idle.descend(setting, SEEDS, "cpu")
    assert (np.diff(runs["gap"], axis=1) > 0).all() and (np.diff(runs["rest"], axis=1) < 0).all()
    # nothing is left from the start where the cut is above uniform
    runs = idle.descend(replace(setting, score="clipped", gamma=-0.6), SEEDS, "cpu")
    assert (runs["gap"] == 0).all() and (runs["rest"] == 0).all()
    with pytest.raises(ValueError, match="score"):
        idle.IdleSetting(score="hardmax")
    with pytest.raises(ValueError, match="one gap"):
        idle.RestSetting(gaps=(1.0,))


def test_one_block_is_the_dense_pass_and_no_level_changes():
    runs = rules.blockwise(rules.RuleSetting(block=24), SEEDS, "cpu")
    for name in ("softpick", "signed", "forgetting"):
        assert np.abs(runs[f"{name}_blocks"] - runs[f"{name}_dense"]).max() < 1e-13
    assert np.isfinite(runs["clamped"]).all()
    with pytest.raises(ValueError, match="gate"):
        rules.RuleSetting(gate=1.0)


def test_rows_of_score_gradients_of_the_forgetting_map_sum_to_zero():
    runs = rules.forms(rules.RuleSetting(), SEEDS, "cpu")
    assert np.abs(runs["score_slope"].sum(-1)).max() < 1e-14
    assert np.allclose(runs["fading"].sum(-1), 1) and np.allclose(runs["faded"].sum(-1), 1)
