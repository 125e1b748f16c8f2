"""Rows, norms and estimators where their outcome is known."""

import numpy as np
import pytest

from attnlab.simulators.score_statistics.bulk import (
    BulkSetting,
    ClusterSetting,
    DecisionCostSetting,
    SumSetting,
    clusters,
    decision_cost,
    decisions,
    log_sums,
)
from attnlab.simulators.score_statistics.denoising import DenoisingSetting, denoise
from attnlab.simulators.score_statistics.rows import RivalSetting, RowSetting, rivals, rows
from attnlab.simulators.score_statistics.selectivity import DilutionSetting, SelectivitySetting, dilution, least_norms

SEEDS = np.random.SeedSequence(4).spawn(3)


def test_almost_equal_scores_give_equal_weights_and_large_ones_a_single_key():
    runs = rows(RowSetting(n_keys=64, spreads=(1e-9, 1e6), n_rows=5), SEEDS, "cpu")
    assert runs["entropy"][:, 0] == pytest.approx(np.log(64)) and runs["entropy"][:, 1] == pytest.approx(0, abs=1e-6)
    assert runs["spikiness"][:, 0] == pytest.approx(1) and runs["spikiness"][:, 1] == pytest.approx(1 / 64)


def test_rivals_are_the_log_odds_and_the_tilted_mean_of_the_rows_drawn():
    setting = RivalSetting(n_rivals=9, spread=2.0, gap=1.5, inverse_temperatures=(0.7,), n_rows=2)
    runs = rivals(setting, SEEDS[:1], "cpu")
    z = 2.0 * np.random.default_rng(SEEDS[0]).standard_normal((2, 9))
    p = np.exp(0.7 * 1.5) / (np.exp(0.7 * 1.5) + np.exp(0.7 * z).sum(1))
    assert runs["log_odds"][0, 0] == pytest.approx(np.mean(np.log(p / (1 - p))))
    assert runs["tilted_mean"][0, 0] == pytest.approx(np.mean((z * np.exp(0.7 * z)).sum(1) / np.exp(0.7 * z).sum(1)))


def test_the_least_norm_at_right_angles_is_the_sum_of_squares():
    runs = least_norms(SelectivitySetting(dim=5, angles=(np.pi / 2,), gaps=((3.0, 4.0), (2.0, 0.0))), SEEDS, "cpu")
    assert runs["norm"][:, 0] * runs["contrast"][:, None] == pytest.approx(np.tile([5.0, 2.0], (3, 1)))
    assert runs["with_temperature"][:, 0] * runs["contrast"][:, None] == pytest.approx(np.tile([3.0, 2.0], (3, 1)))


def test_the_weight_of_a_row_and_a_temperature_for_each_length():
    runs = dilution(DilutionSetting((2, 3), np.log(2), (1.0, 2.0)), SEEDS, "cpu")
    assert runs["weight"] == pytest.approx(np.tile([2 / 3, 4 / 6], (3, 1)))
    with pytest.raises(ValueError, match="one for each of the 2 lengths"):
        DilutionSetting((2, 3), 1.0, (1.0,))


def test_estimators_of_a_single_signal_token_and_of_signal_only():
    one = denoise(DenoisingSetting(n_tokens=1, share=1 - 1e-12, noise_std=0.5, dim=2, n_tasks=4000), SEEDS, "cpu")
    sigma = 5 * np.sqrt(2 / 8000)
    assert one["uniform"] == pytest.approx(0.25, rel=sigma) and np.array_equal(one["uniform"], one["gated"])
    assert one["bayes"] == pytest.approx(0.2, rel=sigma)


def test_sums_decisions_and_clusters_of_known_outcome():
    runs = log_sums(SumSetting(n_keys=4, spreads=(1e-9, 50.0), n_rows=3), SEEDS, "cpu")
    assert runs["mean"][:, 0] == pytest.approx(0, abs=1e-8) and runs["participation"][:, 0] == pytest.approx(0.25)
    assert runs["entropy"][:, 0] == pytest.approx(np.log(4)) and np.all(runs["participation"][:, 1] > 0.5)
    exact = decisions(BulkSetting(n_bulk=50, n_fit=50, spread=1e-6, n_queries=20, n_margins=10), SEEDS, "cpu")
    assert np.abs(exact["bias"]).max() < 1e-6 and not exact["flips"].any()
    one = clusters(ClusterSetting(separations=(0.0,), n_keys=1000), SEEDS, "cpu")["log_mean"]
    assert one == pytest.approx(0.5, abs=6 * np.sqrt(np.expm1(1) / 1000))
    with pytest.raises(ValueError, match="rare="):
        ClusterSetting(rare=1.5)


def test_a_decision_reads_no_far_key():
    cost = decision_cost(DecisionCostSetting(cells=((4, 3, 10), (4, 3, 1000))), SEEDS[:1], "cpu")
    assert np.array_equal(cost["multiply_adds"], [[36, 36]]) and np.array_equal(cost["exact"], [[52, 4012]])
