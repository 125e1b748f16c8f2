"""Ticks: plain round numbers on short log axes, powers of ten on long ones, no labels that touch."""

import numpy as np
import pytest

from attnlab.analysis import figures
from attnlab.analysis.figures.ticks import log_values, plain, separate_labels, short_log_ticks


@pytest.mark.parametrize(
    "low, high", [(1.3, 3.4), (0.8, 9.0), (12, 90), (0.031, 0.24), (5, 480), (0.96, 1.07), (101, 103)]
)
def test_a_short_log_axis_has_three_to_nine_round_ticks_in_view(low, high):
    values = log_values(low, high)
    assert 3 <= len(values) <= 9 and all(low * 0.999 <= value <= high * 1.001 for value in values)
    assert all(len(plain(value)) <= 6 for value in values)


@pytest.mark.parametrize(
    "value, text", [(2.0, "2"), (0.05, "0.05"), (3e-5, r"$3\times10^{-5}$"), (1e6, "$10^{6}$"), (300.0, "300")]
)
def test_numbers_are_written_plainly_where_that_is_short(value, text):
    assert plain(value) == text


def panel_with(x, scale="log"):
    plate = figures.Plate(width="single")
    figures.prediction(plate[0], x, [1.0] * len(x), "line")
    plate[0].scale(x=scale)
    plate[0].labels(x="x", y="y")
    return plate


def shown(plate):
    axes = plate[0].axes
    plate.figure.draw_without_rendering()
    low, high = sorted(axes.get_xlim())
    return [t.get_text() for p, t in zip(axes.get_xticks(), axes.get_xticklabels(), strict=False) if low <= p <= high]


def test_the_labels_of_a_short_log_axis_have_no_powers_and_those_of_a_long_one_have(tmp_path):
    short = panel_with([2.0, 4.0, 7.0])
    short.save(tmp_path, "short")
    assert shown(short) and not any("10^" in text for text in shown(short))
    assert not any(t.get_text() for t in short[0].axes.get_xticklabels(minor=True))
    long = panel_with([1.0, 1e4])
    long.save(tmp_path, "long")
    assert any("10^" in text for text in shown(long))


def test_ticks_that_were_set_by_hand_stay(tmp_path):
    plate = panel_with([2.0, 4.0, 7.0])
    plate[0].ticks(x=[2, 7])
    plate.save(tmp_path, "own")
    assert shown(plate) == ["2", "7"]


def test_crowded_numbers_are_thinned_and_crowded_names_turn():
    plate = panel_with(range(1, 60), "linear")
    plate[0].ticks(x=list(range(1000, 1060)))
    plate[0].limits(x=(999, 1060))
    plate.figure.draw_without_rendering()
    assert separate_labels(plate[0].axes) and len(shown(plate)) <= 15
    names = figures.Plate(width="single")
    groups = [f"a long name {k}" for k in range(8)]
    figures.strip(names[0], groups, {"v": [[1.0] * 8, [2.0] * 8]})
    names.figure.draw_without_rendering()
    assert separate_labels(names[0].axes) and names[0].axes.get_xticklabels()[0].get_rotation() == 35


def test_a_linear_axis_is_left_alone():
    plate = panel_with([1.0, 2.0], "linear")
    before = list(plate[0].axes.get_xticks())
    short_log_ticks(plate[0].axes)
    assert list(plate[0].axes.get_xticks()) == before


def points_at(x, ticks=None):
    plate = figures.Plate(width="single")
    figures.measurement(plate[0], x, [[1.0] * len(x), [2.0] * len(x)], "points")
    plate[0].labels(x="x", y="y")
    plate[0].ticks(x=ticks)
    plate._finish()
    return list(plate[0].axes.get_xticks())


@pytest.mark.parametrize("x", [[3.0, 4.06, 4.9], [1.0, 2.0, 3.0], [0.0, 400.0]])
def test_whole_points_have_whole_ticks(x):
    assert all(tick == round(tick) for tick in points_at(x))


@pytest.mark.parametrize("x", [[1.0, 2.0, 3.5], [3.0, 3.1]])
def test_other_points_keep_ticks_between_whole_numbers(x):
    assert any(tick != round(tick) for tick in points_at(x))


def test_ticks_set_by_hand_stay_where_points_are_whole():
    assert points_at([1, 2, 3], [0.5, 1.5]) == [0.5, 1.5]


def test_rows_and_columns_of_a_map_have_names():
    plate = figures.Plate(width="single")
    figures.heat_map(plate[0], [[0.0, 1.0], [1.0, 0.0]], "effect")
    plate[0].labels(x="sender", y="receiver")
    plate[0].ticks(x={0: "L0H0", 1: "L0H1"})
    assert shown(plate) == ["L0H0", "L0H1"]


def test_levels_at_the_colour_bar_are_plain_numbers_and_powers_of_ten():
    plate = figures.Plate(width="single")
    x = np.arange(3.0)
    figures.contour(
        plate[0], x, x, 10.0 ** (6 * np.add.outer(x, -x)), "ratio", levels=[1e-6, 0.5, 1e6], line_labels=False
    )
    plate[0].labels(x="x", y="y")
    plate._finish()
    plate.figure.draw_without_rendering()
    (bar,) = (axes for axes in plate.figure.axes if axes is not plate[0].axes)
    assert [t.get_text() for t in bar.get_yticklabels()] == ["$10^{-6}$", "0.5", "$10^{6}$"]
