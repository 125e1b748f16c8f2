"""The simulators of sparse selection where the outcome is known by hand."""

import numpy as np
import pytest

from attnlab.simulators.sparse_selection import operators, rows


def seeds(n):
    return [np.random.SeedSequence(7, spawn_key=(k,)) for k in range(n)]


def test_equal_scores_keep_their_share():
    found = rows.masses(rows.MassSetting(200, 1e-9, 0.25, mass=0.5, n_rows=2), seeds(2), "cpu")
    assert found["kept"] == pytest.approx([0.25] * 2) and found["needed"] == pytest.approx([0.505] * 2, abs=0.006)
    with pytest.raises(ValueError, match="share=1"):
        rows.MassSetting(share=1.0)


def test_a_huge_key_takes_all_and_is_always_found():
    assert rows.dilutions(rows.DilutionSetting(60.0, 50), seeds(1), "cpu")["weight"][0] == pytest.approx(1)
    found = rows.hits(rows.HitSetting(1000.0, 4, 5, 1, 20), seeds(1), "cpu")
    assert all(found[name][0] == 1 for name in ("mean", "scaled", "largest", "sharp"))
    low = rows.hits(rows.HitSetting(-1000.0, 4, 5, 1, 20), seeds(1), "cpu")
    assert low["mean"][0] == 0 == low["scaled"][0]


def test_a_search_that_keeps_all_finds_all():
    assert rows.needles(rows.NeedleSetting(16, 16), seeds(1), "cpu")["recall"][0] == 1
    few = rows.needles(rows.NeedleSetting(32, 4), seeds(2), "cpu")
    assert (few["kept"] == 4).all() and few["recall"].max() < 1


def test_one_cluster_and_all_chunks_are_certain():
    assert rows.clusters(rows.ClusterSetting(1, 0.0, 10), seeds(1), "cpu")["together"][0] == 1
    assert rows.unions(rows.UnionSetting(9, 9, 2), seeds(1), "cpu")["union"][0] == 9
    one = rows.unions(rows.UnionSetting(40, 4, 3, 1 - 1e-12), seeds(1), "cpu")["union"][0]
    assert one == 4  # heads with one score


def test_a_predictor_of_all_directions_is_the_best():
    kept = [
        rows.predictors(rows.PredictorSetting(rank, 16, 500, 1.0, 0.25, 2), seeds(1), "cpu")["kept"][0]
        for rank in (2, 16)
    ]
    assert kept[0] < kept[1]


def test_identities_report_what_they_are_made_of():
    setting = operators.IdentitySetting(8, 3)
    out = operators.dropped(setting, seeds(2), "cpu")
    assert out["weights"].sum(1) == pytest.approx([1, 1]) and out["kept"].sum(1).tolist() == [4, 4]
    then = operators.remembered(setting, seeds(1), "cpu")
    R, S, D = (then[name][0, 1] for name in ("ratio", "inside", "outside"))
    assert np.isfinite(R[:, None] * S + (1 - R)[:, None] * D).all() and (R > 0).all() and (R <= 1).all()
    marks = operators.landmarks(setting, seeds(1), "cpu")
    assert 0 < marks["mass"][0] < 1 and marks["full"].sum(-1) == pytest.approx(np.ones((1, 8)))
    alike = operators.grouped(setting, seeds(1), "cpu")
    assert np.abs(alike["output"] - alike["full"]).max() < 1e-12 < np.abs(alike["moved"] - alike["full"]).max()
    with pytest.raises(ValueError, match="multiple of 4"):
        operators.IdentitySetting(10)


def test_small_spreads_tilt_and_mask_little():
    tilt = operators.tilts(operators.TiltSetting(1e-6, 4, 100), seeds(1), "cpu")
    assert tilt["rms"][0] < 1e-5 and tilt["deficit"][0] == pytest.approx(1, abs=1e-5)
    mask = operators.maskings(operators.MaskingSetting(1e-9, 16), seeds(1), "cpu")
    assert mask["factor"][0] == pytest.approx(1) and mask["growth"][0] == pytest.approx(0, abs=1e-8)


def test_keys_far_below_the_threshold_never_survive():
    found = operators.thresholds(operators.ThresholdSetting(9.0, 20, 3, 50), seeds(1), "cpu")
    assert found["clean"][0] == 1 and found["longer"] == pytest.approx(found["short"])
