"""Attention rows and maps where their outcome is known."""

import numpy as np
import pytest

from attnlab.simulators.score_statistics import attention_maps as maps
from attnlab.simulators.score_statistics import attention_rows as rows

SEEDS = np.random.SeedSequence(4).spawn(2)


def test_flat_and_sharp_rows():
    setting = rows.AttentionRowSetting(n_keys=16, dim=4, spreads=(1e-9, 1e6), n_rows=3)
    runs = rows.softmax_rows(setting, SEEDS, "cpu")
    assert runs["entropy"] == pytest.approx(np.tile([np.log(16), 0.0], (2, 1)), abs=1e-6)
    assert runs["relative_variance"] == pytest.approx(np.tile([0.0, 15.0], (2, 1)), abs=1e-6)


def test_one_coordinate_of_a_log_normal_row_is_a_normal_sample():
    setting = rows.LogNormalRowSetting(n_keys=4000, dim=1, scales=(0.3,), n_rows=2)
    runs = rows.log_normal_rows(setting, SEEDS, "cpu")
    assert runs["log_variance"] == pytest.approx(0.3, rel=4.5 * np.sqrt(2 / 4000))
    assert runs["log_third"] == pytest.approx(0.0, abs=4.5 * np.sqrt(6 / 4000) * 0.3**1.5)
    assert runs["queries"].shape == (2, 2, 1)


def test_profiles_have_the_spread_asked_for():
    setting = maps.ScoreSetting(n=64, dim=8, spread=0.7)
    for k, (a, b) in enumerate(setting.slopes):
        u, w = maps.coordinate_variances(setting, k)
        assert np.mean(u * w) == pytest.approx(0.49)
        assert np.log(u[-1] / u[0]) == pytest.approx(a * 7 / 8) and np.log(w[-1] / w[0]) == pytest.approx(b * 7 / 8)
    runs = maps.scores(setting, SEEDS, "cpu")
    assert np.all(runs["mean_log_weight"] < -np.log(64)) and runs["variance"].shape == (2, 3)


@pytest.mark.parametrize("weights", ["softmax", "tied", "log_normal"])
def test_maps_are_stochastic_and_flat_ones_have_no_second_eigenvalue(weights):
    runs = maps.spectra(maps.MapSetting(n=12, dim=3, spreads=(1e-5, 1.5), weights=weights), SEEDS, "cpu")
    assert np.all(runs["second"][:, 0] < 1e-4) and np.all(runs["second"][:, 1] < 1)
    assert np.all(runs["second"] ** 2 <= runs["relative_variance"] + 1e-12)
    q, k = np.random.default_rng(0).standard_normal((2, 12, 3))
    p = maps.log_normal_map(q, k, 0.5)
    brute = np.exp(np.sqrt(0.5) * q) @ np.exp(np.sqrt(0.5) * k).T
    assert p == pytest.approx(brute / brute.sum(1, keepdims=True), abs=1e-12)
    values = np.sort(np.abs(np.linalg.eigvals(p)))
    assert np.sort(np.abs(np.linalg.eigvals(p - 1 / 12)))[-1] == pytest.approx(values[-2], abs=1e-10)


def test_own_keys_of_one_block_and_settings_that_cannot_be():
    runs = maps.own_keys(maps.OwnKeySetting(n=8, dim=4, block=8), SEEDS, "cpu")
    assert runs["with_blocks"] == pytest.approx((runs["softmax"] + runs["log_normal"]) / 2)
    with pytest.raises(ValueError, match="does not divide"):
        maps.OwnKeySetting(n=10, block=4)
    with pytest.raises(ValueError, match="rise"):
        maps.MapSetting(spreads=(1.0, 0.5))
