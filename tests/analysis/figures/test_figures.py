"""What the pieces draw, what they write down, and what they refuse."""

import csv
import io

import numpy as np
import pytest
from scipy import optimize, stats

from attnlab.analysis import figures
from attnlab.analysis.figures.marks import COLUMNS, as_csv
from attnlab.analysis.figures.panel import apart

X = np.array([1.0, 2.0, 4.0])
NAN = float("nan")


def rows_of(plate, kind):
    """The plate's data file, read back as numbers: one dictionary a row (empty cells are None)."""
    read = csv.DictReader(io.StringIO(as_csv(plate.marks)))
    numbers = ("x", "y", "low", "high", "z", "n", "replica")
    return [
        {key: (float(text) if key in numbers else text) if text else None for key, text in row.items()}
        for row in read
        if row["kind"] == kind
    ]


def column(rows, name):
    return np.array([row[name] for row in rows])


def line_shows(axes, rows):
    """Whether some line of the axes runs exactly through the recorded points."""
    wanted = np.array([column(rows, "x"), column(rows, "y")])
    return any(np.array_equal(np.array(line.get_data()), wanted) for line in axes.lines)


def test_the_data_of_a_prediction_is_the_line_on_the_panel():
    plate = figures.Plate()
    y = np.array([1 / 3, 0.1 + 0.2, 1e-300])
    figures.prediction(plate[0], X, y, "theory", low=y - 1, high=y + 1)
    rows = rows_of(plate, "prediction")
    assert line_shows(plate[0].axes, rows) and np.array_equal(column(rows, "y"), y)  # to the last bit
    assert np.array_equal(column(rows, "low"), y - 1) and np.array_equal(column(rows, "high"), y + 1)
    plate[0].axes.lines[0].set_ydata(np.nextafter(y, 2))  # the twin: another line
    assert not line_shows(plate[0].axes, rows)


def test_a_measurement_shows_means_with_students_intervals():
    plate = figures.Plate()
    y = np.random.default_rng(0).normal(size=(5, 3))
    figures.measurement(plate[0], X, y, "trained", confidence=0.9)
    rows = rows_of(plate, "measurement")
    low, high = stats.t.interval(0.9, df=4, loc=y.mean(0), scale=stats.sem(y, axis=0))
    # scipy and we evaluate the same quantile by different routes: a few hundred roundings at most
    assert np.allclose(column(rows, "y"), y.mean(0), rtol=1e-13, atol=1e-15)
    assert np.allclose([column(rows, "low"), column(rows, "high")], [low, high], rtol=1e-11, atol=1e-13)
    normal = stats.norm.interval(0.9, loc=y.mean(0), scale=stats.sem(y, axis=0))  # the twin for large n
    assert not np.allclose([column(rows, "low"), column(rows, "high")], normal, rtol=0.05)
    assert set(column(rows, "n")) == {5}
    arms = np.array([arm[:, 1] for arm in plate[0].axes.collections[0].get_segments()])
    assert np.allclose(arms, np.transpose([column(rows, "low"), column(rows, "high")]), rtol=0, atol=1e-14)


@pytest.mark.parametrize("dodge", [0.0, 5.0, -5.0])
@pytest.mark.parametrize("scale", ["linear", "log"])
def test_dodged_points_keep_their_numbers_and_their_bars_stay_in_view(dodge, scale):
    plate = figures.Plate()
    plate[0].scale(y=scale)
    figures.measurement(plate[0], X, [[9.0, 20, 40], [11, 30, 50]], "trained", dodge=dodge)
    rows, (bottom, top) = rows_of(plate, "measurement"), plate[0].axes.get_ylim()
    assert column(rows, "x").tolist() == X.tolist()
    assert top > column(rows, "high").max()
    assert bottom < column(rows, "low").min() or scale == "log"  # negative ends have no place on a log axis
    point = plate[0].axes.lines[0]
    moved = point.get_transform().transform((2.0, 25.0)) - plate[0].axes.transData.transform((2.0, 25.0))
    assert np.allclose(moved * 72 / plate.figure.dpi, [dodge, 0], rtol=0, atol=1e-9)


def test_a_band_holds_the_stated_share_of_replicas():
    plate = figures.Plate()
    replicas = np.tile(np.arange(11.0)[:, None], (1, 3))  # deciles of 0, 1, ..., 10 are whole numbers
    figures.band(plate[0], X, replicas[::-1], "runs")
    rows = rows_of(plate, "band")
    assert np.allclose([column(rows, key)[0] for key in ("low", "y", "high")], [1, 5, 9], rtol=1e-14)
    assert line_shows(plate[0].axes, rows)
    outline = plate[0].axes.collections[0].get_paths()[0].vertices
    assert outline[:, 1].min() == column(rows, "low")[0] and outline[:, 1].max() == column(rows, "high")[0]
    figures.band(plate[0], X, replicas, "narrower", level=0.6)
    assert [row["low"] for row in rows_of(plate, "band")[3:]] == pytest.approx([2, 2, 2])


def test_a_band_of_the_mean_is_its_t_interval():
    plate = figures.Plate()
    y = np.random.default_rng(1).normal(size=(6, 3))
    figures.band(plate[0], X, y, "runs", show="interval")
    figures.measurement(plate[0], X, y, "points")
    for key in ("y", "low", "high", "n"):
        assert np.array_equal(column(rows_of(plate, "band"), key), column(rows_of(plate, "measurement"), key))


def test_single_replicas_are_drawn_and_recorded_one_by_one():
    plate = figures.Plate()
    y = np.array([[0.0, 1, 2], [3, 4, 5]])
    figures.band(plate[0], X, y, "runs", individuals=True)
    figures.replica_lines(plate[0], X, y + 10, "others")
    rows = rows_of(plate, "replica")
    assert [row["replica"] for row in rows] == [0, 0, 0, 1, 1, 1] * 2
    assert all(line_shows(plate[0].axes, rows[start : start + 3]) for start in (0, 3, 6, 9))


def test_diverged_replicas_are_left_out_and_counted_in_data_and_caption():
    plate = figures.Plate()
    y = np.array([[1.0, 1, 1], [3, 3, NAN], [2, 2, np.inf]])
    figures.measurement(plate[0], X, y, "trained")
    rows = rows_of(plate, "measurement")
    assert column(rows, "n").tolist() == [3, 3, 1] and column(rows, "y").tolist() == [2, 2, 1]
    assert np.isnan(rows[2]["low"]) and not np.isnan(rows[1]["low"])  # one replica has no interval
    caption = figures.describe(plate, "Risk.", seeds="seed 0")
    assert "(n = 1 to 3)" in caption and "trained: 2 of 3 replicas are left out where they are not finite" in caption


def test_a_heat_map_shows_its_matrix_on_a_scale_symmetric_about_zero():
    plate = figures.Plate()
    values = np.array([[0.5, -2.0, NAN], [0.0, 1.0, 0.25]])
    figures.heat_map(plate[0], values, "entry", dividers=(1,), annotate=".2f")
    mesh = plate[0].axes.collections[0]
    drawn = np.ma.filled(mesh.get_array(), np.nan)
    assert np.array_equal(drawn.reshape(2, 3), values, equal_nan=True)
    assert (mesh.norm.vmin, mesh.norm.vmax) == (-2, 2)
    assert np.allclose(mesh.to_rgba(0.0)[:3], 1, atol=0.04)  # zero is white
    rows = rows_of(plate, "heat map")
    recorded = np.full((2, 3), -99.0)
    for row in rows:
        recorded[int(row["y"]), int(row["x"])] = row["z"]
    assert np.array_equal(recorded, values, equal_nan=True)
    assert sorted(text.get_text() for text in plate[0].axes.texts) == sorted(["0.50", "−2.00", "0.00", "1.00", "0.25"])


def test_one_scale_serves_several_matrices():
    scale = figures.colour_scale([[0.1, -0.2]], [[3.0]])
    assert (scale.low, scale.high) == (-3, 3)
    unsigned = figures.colour_scale([[0.1, 0.2]], [[3.0, NAN]], symmetric=False)
    assert (unsigned.low, unsigned.high) == (0.1, 3.0)
    flat = figures.colour_scale([[0.0, 0.0]])
    assert (flat.low, flat.high) == (-1, 1)


def test_panels_with_one_scale_share_one_colour_bar(tmp_path):
    plate = figures.Plate(1, 3, width=2.0)
    scale = figures.colour_scale([[-1.0, 1.0]])
    for panel, used in zip(plate, (scale, scale, None), strict=True):
        figures.heat_map(panel, [[0.5, -0.5]], "entry", scale=used)
    plate.save(tmp_path, "maps")
    assert len(plate.figure.axes) == 3 + 2


def test_a_contour_passes_through_the_points_of_its_level():
    plate = figures.Plate()
    x, y = np.linspace(-1, 1, 41), np.linspace(-2, 2, 61)
    z = x[None] + 2 * y[:, None]  # linear: interpolation along edges is exact
    figures.contour(plate[0], x, y, z, "height", levels=[-1.0, 0.5, 2.0], line_labels=False)
    lines = plate[0].axes.collections[1]
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        assert len(path.vertices) > 10
        assert np.allclose(path.vertices @ [1, 2], level, rtol=0, atol=1e-12)
    rows = rows_of(plate, "contour")
    assert np.allclose(column(rows, "z"), column(rows, "x") + 2 * column(rows, "y"), rtol=0, atol=1e-15)
    with pytest.raises(ValueError, match=r"z must have shape \(61, 41\)"):  # the twin: x and y swapped
        figures.contour(plate[0], x, y, z.T, "height")


def test_log_levels_have_equal_ratios():
    plate = figures.Plate()
    z = np.geomspace(0.01, 100, 12).reshape(3, 4)
    figures.contour(plate[0], np.arange(4), np.arange(3), z, "loss", levels=5, log=True, line_labels=False)
    levels = plate[0].axes.collections[0].levels
    assert np.allclose(levels[1:] / levels[:-1], 10)


def test_bars_and_strips_record_their_groups():
    plate = figures.Plate(1, 2)
    data = {"head 1": [[1.0, 2], [3, 4], [5, 6]], "head 2": [[0.0, 1], [0, 1], [0, 4]]}
    figures.bars(plate[0], ["a", "b"], data)
    figures.strip(plate[1], ["a", "b"], data)
    figures.group_prediction(plate[1], ["a", "b"], {"head 1": [3, 4], "head 2": [0, 2]}, "theory")
    text = csv.DictReader(io.StringIO(as_csv(plate.marks)))
    table = {(row["panel"], row["kind"], row["series"], row["replica"], row["x"]): row["y"] for row in text}
    assert table["a", "bar", "head 1", "", "b"] == "4.0" and table["a", "bar", "head 2", "", "b"] == "2.0"
    assert table["b", "replica", "head 2", "2", "b"] == "4.0" and table["b", "median", "head 2", "", "b"] == "1.0"
    assert table["b", "prediction", "theory, head 2", "", "b"] == "2.0"
    assert [bar.get_height() for bar in plate[0].axes.patches] == [3, 4, 0, 2]
    centres = [bar.get_x() + bar.get_width() / 2 for bar in plate[0].axes.patches]
    assert np.allclose(centres, [-0.2, 0.8, 0.2, 1.2])  # side by side, 0.8 of the distance in all


def test_a_power_law_guide_has_its_slope():
    plate = figures.Plate()
    figures.power_law(plate[0], -1 / 6, through=(10.0, 2.0), span=(1.0, 1e4), label="slope −1/6")
    rows = rows_of(plate, "power law")
    slope = np.polyfit(np.log(column(rows, "x")), np.log(column(rows, "y")), 1)[0]
    assert abs(slope + 1 / 6) < 1e-12
    assert np.exp(np.interp(np.log(10), np.log(column(rows, "x")), np.log(column(rows, "y")))) == pytest.approx(2)


def test_a_series_looks_alike_on_every_panel_and_another_differs():
    plate = figures.Plate(1, 2)
    figures.prediction(plate[0], X, X, "one head")
    figures.prediction(plate[0], X, X, "two heads")
    figures.measurement(plate[1], X, [X, X + 1], "trained", series="two heads")
    first, second = (line.get_color() for line in plate[0].axes.lines)
    assert plate[1].axes.lines[0].get_color() == second != first


def test_series_with_one_label_share_one_legend_entry(tmp_path):
    plate = figures.Plate()
    figures.prediction(plate[0], X, X, "two heads")
    figures.measurement(plate[0], X, [X, X + 1], "two heads")
    plate[0].labels(x="length L", y="risk R(L)")
    plate.save(tmp_path, "merged")
    assert [text.get_text() for text in plate[0].axes.get_legend().get_texts()] == ["two heads"]


def test_every_series_is_named_when_lines_are_labelled_at_their_ends(tmp_path):
    plate = figures.Plate()
    figures.prediction(plate[0], X, X, "line")
    figures.prediction(plate[0], X, X + 0.01, "neighbour")
    figures.measurement(plate[0], X, [X, X + 1], "points")
    plate[0].labels(x="length L", y="risk R(L)")
    plate[0].label_ends()
    plate.save(tmp_path, "ends")
    at_ends = [text for text in plate[0].axes.texts if text.get_text() in ("line", "neighbour")]
    assert [text.get_text() for text in plate[0].axes.get_legend().get_texts()] == ["points"]
    lower, upper = sorted((text.get_window_extent() for text in at_ends), key=lambda box: box.y0)
    assert upper.y0 >= lower.y1 - 1e-9  # they may touch, in pixels up to rounding
    assert lower.height > 5 and upper.y0 - lower.y0 > 5  # where the lines end, they are 0.01 apart


@pytest.mark.parametrize("seed", range(5))
def test_end_labels_move_as_little_as_possible(seed):
    rng = np.random.default_rng(seed)
    wanted, heights = np.sort(rng.uniform(0, 20, 7)), rng.uniform(1, 4, 7)
    found = apart(wanted, heights)
    distance = (heights[:-1] + heights[1:]) / 2
    # the oracle: bottom position and excess distances >= 0 as a bounded least-squares problem
    steps = np.tril(np.ones((7, 7)))
    rest = wanted - np.concatenate([[0], np.cumsum(distance)])
    best = optimize.lsq_linear(steps, rest, bounds=([-np.inf, *[0] * 6], np.inf), tol=1e-14)
    assert np.all(np.diff(found) >= distance - 1e-12)
    assert np.sum((found - wanted) ** 2) == pytest.approx(2 * best.cost, rel=1e-9)
    pushed = np.maximum.accumulate(rest) + wanted - rest  # the twin: only ever push upwards
    assert np.sum((pushed - wanted) ** 2) > 2 * best.cost * 1.01


def test_labels_that_do_not_touch_stay():
    assert np.array_equal(apart(np.array([0.0, 5.0, 10.0]), np.full(3, 2.0)), [0, 5, 10])


REFUSED = {
    "x must be finite": (r"x\[1\] is nan", lambda p: figures.prediction(p, [1, NAN], [1, 2], "a")),
    "y as long as x": ("y has 2 points but x has 3", lambda p: figures.prediction(p, X, [1, 2], "a")),
    "y all NaN": ("y holds no finite number", lambda p: figures.prediction(p, X, [NAN] * 3, "a")),
    "y of words": ("y must hold real numbers", lambda p: figures.prediction(p, X, ["1", "2", "3"], "a")),
    "no label": ("label must be a text", lambda p: figures.prediction(p, X, X, "")),
    "label not a text": ("label must be a text", lambda p: figures.measurement(p, X, [X], None)),
    "low without high": ("low and high come together", lambda p: figures.prediction(p, X, X, "a", low=X)),
    "low above high": (r"low\[0\]=2", lambda p: figures.prediction(p, X, X, "a", low=X + 1, high=X)),
    "y without replicas": (r"y must have shape \(replica, 3\)", lambda p: figures.measurement(p, X, X, "a")),
    "all replicas diverged": ("y holds no finite number", lambda p: figures.measurement(p, X, [X * NAN], "a")),
    "half widths": ("must enclose y", lambda p: figures.estimate(p, X, X, X * 0, X * 0 + 1, "a", interval="t")),
    "kind of interval": ("interval must be", lambda p: figures.estimate(p, X, X, X, X, "a", interval=" ")),
    "trajectories": (r"trajectories must have shape", lambda p: figures.band(p, X, np.ones((2, 4)), "a")),
    "show": ("show must be", lambda p: figures.band(p, X, [X], "a", show="std")),
    "level": (r"level must lie in \(0, 1\)", lambda p: figures.band(p, X, [X], "a", level=80)),
    "matrix": (r"values must have shape \(rows, columns\)", lambda p: figures.heat_map(p, X, "a")),
    "NaN matrix": ("values holds no finite", lambda p: figures.heat_map(p, [[NAN]], "a")),
    "flat z": ("has no contours", lambda p: figures.contour(p, X, X, np.ones((3, 3)), "a")),
    "log of zero": ("log scale can't show", lambda p: figures.contour(p, X, X, np.outer(X - 1, X), "a", log=True)),
    "levels": ("levels must ascend", lambda p: figures.contour(p, X, X, np.outer(X, X), "a", levels=[2, 1])),
    "path": ("nowhere finite together", lambda p: figures.path(p, [1, NAN], [NAN, 1], "a")),
    "groups": (r"values\['a'\] must have shape", lambda p: figures.bars(p, ["u", "v"], {"a": [[1, 2, 3]]})),
    "no groups": ("must not be empty", lambda p: figures.strip(p, [], {})),
    "reference": ("exactly one of x and y", lambda p: figures.reference(p, "a", x=1, y=1)),
    "power law": ("must be positive", lambda p: figures.power_law(p, 1, (0, 1), (1, 2), "a")),
    "scale": ("y must be one of linear", lambda p: p.scale(y="logarithmic")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_the_name_of_its_argument_and_leaves_no_record(case):
    plate = figures.Plate()
    message, call = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call(plate[0])
    assert plate.marks == []


def test_a_caption_says_n_interval_and_seeds():
    plate = figures.Plate()
    figures.measurement(plate[0], X, np.ones((16, 3)) * X, "trained")
    figures.band(plate[0], X, np.ones((8, 3)) * X, "runs")
    with pytest.raises(ValueError, match="seeds must say"):
        figures.describe(plate, "Risk.", seeds="")
    assert (
        figures.describe(plate, "Risk against length.", seeds="seed 0, replicas 0 to 15")
        == plate.caption
        == (
            "Risk against length. Points: means over replicas, bars: 95 % t intervals of the mean (n = 16). "
            "Bands: 10–90 % of replicas, line: median (n = 8). Seeds: seed 0, replicas 0 to 15."
        )
    )


def test_the_data_file_has_one_header():
    assert as_csv([]) == ",".join(COLUMNS) + "\n"
