"""The simulators of the first scores: what they compute where the outcome is known."""

import numpy as np
import pytest

from attnlab.simulators.base_scores import dynamics, planted, rows


def seeds(n):
    return [np.random.SeedSequence(7, spawn_key=(k,)) for k in range(n)]


def test_rows_without_spread_are_uniform_and_huge_ones_one_hot():
    flat = rows.rows(rows.RowsSetting(n_keys=50, score_std=1e-9, n_rows=3), seeds(2), "cpu")
    assert flat["participation"] == pytest.approx([1 / 50] * 2) and flat["entropy"] == pytest.approx([np.log(50)] * 2)
    hard = rows.rows(rows.RowsSetting(n_keys=50, score_std=1e6, n_rows=3), seeds(2), "cpu")
    assert hard["participation"] == pytest.approx([1.0] * 2) and hard["largest"] == pytest.approx([1.0] * 2)


def test_the_root_of_the_width_divides_unless_told_otherwise():
    setting = rows.RowsSetting(dim=16, n_keys=30, n_rows=4)
    undivided = rows.RowsSetting(dim=16, n_keys=30, n_rows=4, divided=False, score_std=0.25)
    a, b = (rows.rows(each, seeds(2), "cpu")["entropy"] for each in (setting, undivided))
    assert a == pytest.approx(b, rel=1e-12)


def test_windows_and_bells_are_those_of_the_operators():
    found = planted.flat_windows(planted.WindowSetting(half_widths=(1, 3)), seeds(1), "cpu")
    assert found["seen"].tolist() == [[3, 7]]
    assert found["row_sum"][0, 0] == pytest.approx((1 + 2 * np.exp(-2)) / 3)
    wide = planted.bells(planted.BellSetting(widths=(2.0,)), seeds(1), "cpu")
    assert wide["row_sum"] == pytest.approx(np.ones((1, 1)), abs=1e-12)


def test_a_planted_pointer_is_surer_than_random_ones():
    found = planted.sure_pointers(planted.PointerSetting(n_keys=2, n_draws=1), seeds(3), "cpu")
    assert found["largest"] == pytest.approx(1 / (1 + np.exp(-2 * found["readout_norm"])), rel=1e-5)


def test_two_sources_report_what_the_distance_is_made_of():
    found = planted.two_sources(planted.SourcesSetting(n_keys=6, dim=3), seeds(4), "cpu")
    share = 1 / (1 + np.exp(found["log_masses"][:, 1] - found["log_masses"][:, 0]))
    apart = np.linalg.norm(found["contexts"][:, 0] - found["contexts"][:, 1], axis=1)
    assert found["distance"] == pytest.approx(np.abs(found["outer_weight"] - share) * apart, rel=1e-9)


def test_effects_of_a_linear_score_have_no_pairs():
    """At tiny weights tanh is linear: main effects of variance 2 e^2 in all, and pairs of relative size e^4."""
    found = dynamics.additive_effects(dynamics.AdditiveSetting((1e-3,), n_tokens=40, hidden=64), seeds(8), "cpu")
    assert found["main"].mean() == pytest.approx(2e-6, rel=4 / np.sqrt(8 * 39))
    assert (np.abs(found["pair"]) < 1e-15).all()


def test_copies_start_right_and_end_lost():
    setting = dynamics.WalkSetting(step_noise=0.2, steps=(1, 3000), n_walks=50)
    found = dynamics.copies(setting, seeds(2), "cpu")["accuracy"]
    assert found[:, 0].min() > 0.9 and found[:, 1].max() < 0.3


def test_routing_does_the_rounds_of_the_operator():
    setting = dynamics.RoutingSetting(n_tokens=5, dim=3, log_gaps=(-20.0, -40.0))
    found = dynamics.routing(setting, seeds(3), "cpu")
    for x, winner, slope in zip(found["votes"], found["winner"], found["slope"], strict=True):
        late = [dynamics.routed(x, r) for r in (12, 13)]
        assert late[1].argmax() == winner and late[1].max() > late[0].max()
        assert slope < 0
    short = dynamics.RoutingSetting(n_tokens=5, dim=3, n_rounds=2)
    assert np.isnan(dynamics.routing(short, seeds(1), "cpu")["slope"]).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: rows.RowsSetting(n_keys=0),
        lambda: planted.WindowSetting(half_widths=(0,)),
        lambda: planted.BellSetting(n_keys=10),
        lambda: planted.PointerSetting(n_keys=1),
        lambda: planted.SourcesSetting(n_keys=1),
        lambda: dynamics.RoutingSetting(log_gaps=(-3.0, -2.0)),
        lambda: dynamics.WalkSetting(step_noise=0.0),
        lambda: dynamics.AdditiveSetting(n_tokens=1),
    ],
)
def test_settings_out_of_range_are_named(make):
    with pytest.raises(ValueError, match=r"is too small|is not positive|must fall"):
        make()
