"""Files come out the same each time, whole or not at all, and nothing global is touched."""

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import matplotlib as mpl
import numpy as np
import pytest

from attnlab.analysis import figures
from attnlab.analysis.figures.style import style

X = np.array([1.0, 10.0, 100.0])


def draw():
    """A plate with every kind of piece."""
    rng = np.random.default_rng(0)
    plate = figures.Plate(2, 2, width=4.0, height=3.0)
    figures.prediction(plate[0], X, 1 / X, "theory", low=0.9 / X, high=1.1 / X)
    figures.measurement(plate[0], X, 1 / X * np.exp(rng.normal(0, 0.1, (8, 3))), "trained", dodge=2)
    figures.power_law(plate[0], -1, (1, 0.5), (1, 100), "slope −1")
    figures.reference(plate[0], "ξ = 1", x=10.0)
    plate[0].scale(x="log", y="log")
    plate[0].labels(x=r"length $L$", y=r"risk $R(L)$")
    plate[0].label_ends()
    figures.band(plate[1], X, rng.normal(size=(8, 3)), "runs", individuals=True)
    plate[1].labels(x="step t", y="scale ω")
    figures.heat_map(plate[2], rng.normal(size=(3, 3)), "entry", dividers=(2,), annotate="sign")
    figures.heat_map(plate[2].beside(width=1 / 3, name="OV"), rng.normal(size=(3, 1)), "entry", square=False)
    figures.contour(plate[3], X, X, np.outer(X, X), "loss", levels=6, log=True)
    figures.path(plate[3], X, X[::-1], "flow")
    plate[3].labels(x="scale ω", y="weight μ")
    plate[3].legend("above")
    figures.describe(plate, "Ω, μ and – all kinds.", seeds="seed 0")
    return plate


def digests(paths):
    return {path.suffix: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return draw().save(tmp_path_factory.mktemp("figures"), "all_kinds")


PROGRAM = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("drawn", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.draw().save(sys.argv[2], "all_kinds")
assert "matplotlib.pyplot" not in sys.modules, "pyplot holds figures globally"
"""


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(saved, tmp_path):
    runs = []
    for hash_seed in ("1", "271828"):
        folder = tmp_path / hash_seed
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        runs.append(
            (
                folder,
                subprocess.Popen(
                    [sys.executable, "-c", PROGRAM, __file__, str(folder)],
                    env=environment,
                    stderr=subprocess.PIPE,
                    text=True,
                ),
            )
        )
    for folder, run in runs:
        _, errors = run.communicate(timeout=120)
        assert run.returncode == 0, errors
        assert digests([folder / path.name for path in saved]) == digests(saved)


def test_other_data_give_other_bytes(tmp_path):
    one, two = (digests(small(number).save(tmp_path / str(number), "fig")) for number in (1, 2))
    assert all(one[ending] != two[ending] for ending in (".png", ".pdf", ".svg", ".csv"))


def test_saving_twice_writes_the_same_bytes_and_drawing_afterwards_is_refused(tmp_path):
    plate = figures.Plate()
    figures.prediction(plate[0], X, X, "line")
    plate[0].labels(x="x", y="y")
    first = plate.save(tmp_path / "a", "fig")
    assert [path.name for path in first] == ["fig.png", "fig.pdf", "fig.svg", "fig.csv"]
    assert digests(first) == digests(plate.save(tmp_path / "b", "fig"))
    with pytest.raises(ValueError, match="draw first, save last"):
        figures.prediction(plate[0], X, X, "late")


@pytest.mark.slow
def test_files_hold_no_date_no_version_and_fonts_that_journals_take(saved):
    png, pdf, svg, _ = (path.read_bytes() for path in saved)
    assert b"Software" not in png and b"IHDR" in png
    width = int.from_bytes(png[16:20], "big")
    assert width == 4.0 * 300  # inches times dots per inch
    assert b"CreationDate" not in pdf and b"/FontFile2" in pdf and b"/Type3" not in pdf
    assert b"<dc:date>" not in svg and b"<text" not in svg
    assert "Ω, μ and – all kinds".encode() in svg  # the caption, for those who can't see the figure


def test_a_users_own_settings_change_no_byte_and_are_back_afterwards(tmp_path):
    usual = digests(small(1).save(tmp_path / "usual", "fig"))
    with mpl.rc_context({"lines.linewidth": 7.0, "font.size": 30.0, "svg.hashsalt": "mine", "axes.grid": True}):
        before = dict(mpl.rcParams)
        assert digests(small(1).save(tmp_path / "theirs", "fig")) == usual
        assert dict(mpl.rcParams) == before


def test_settings_are_back_after_an_error():
    before = dict(mpl.rcParams)
    with pytest.raises(ValueError, match="label"):
        figures.prediction(figures.Plate()[0], X, X, "")
    with pytest.raises(KeyError), style():
        assert mpl.rcParams["font.size"] != before["font.size"]
        with style():
            pass
        assert mpl.rcParams["font.size"] != before["font.size"]  # a nested style does not end the outer one
        raise KeyError
    assert dict(mpl.rcParams) == before


def small(number):
    """A plate that is quickly saved: no text on its axes."""
    plate = figures.Plate(width=1.5)
    figures.prediction(plate[0], X, X**number, "line")
    plate[0].labels(x="x", y="")
    plate[0].axes.set(xticks=[], yticks=[])
    plate[0].label_ends()
    return plate


def test_threads_draw_what_one_thread_draws(tmp_path):
    alone = [digests(small(number).save(tmp_path / f"alone{number}", "fig")) for number in range(2)]
    before = dict(mpl.rcParams)
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda number: digests(small(number).save(tmp_path / f"t{number}", "fig")), range(2)))
    assert together == alone
    assert dict(mpl.rcParams) == before


def test_a_failed_write_leaves_the_old_file_and_no_fragment(tmp_path, monkeypatch):
    old = {path: path.read_bytes() for path in small(1).save(tmp_path, "fig")}

    def full_disk(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)  # where a full disk is reported at the latest
    with pytest.raises(OSError, match="No space left"):
        small(2).save(tmp_path, "fig")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == old


def unlabelled(plate):
    figures.prediction(plate[0], X, X, "line")
    plate[0].labels(x="length L")


def negative_on_log(plate):
    figures.prediction(plate[0], X - 1, X, "line")
    plate[0].labels(x="x", y="y")
    plate[0].scale(x="log")


UNFIT = {
    "panel a has no name on its y axis": unlabelled,
    "panel a is empty": lambda plate: None,
    "x of prediction 'line' on panel a goes down to .*0.0": negative_on_log,
}


@pytest.mark.parametrize("message", UNFIT)
def test_a_plate_that_cannot_be_read_is_not_saved(message, tmp_path):
    plate = figures.Plate(letters=True)
    UNFIT[message](plate)
    with pytest.raises(ValueError, match=message):
        plate.save(tmp_path, "fig")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".hidden"])
def test_a_name_is_one_plain_file_name(name, tmp_path):
    with pytest.raises(ValueError, match="name must be a plain file name"):
        small(1).save(tmp_path, name)


def test_sizes_that_are_no_sizes_are_refused():
    for wrong in ({"width": "triple"}, {"width": 0.1}, {"height": 100.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            figures.Plate(**wrong)
    with pytest.raises(ValueError, match="rows must be a whole number"):
        figures.Plate(0)
    with pytest.raises(IndexError, match="1 rows and 2 columns"):
        figures.Plate(1, 2)[1, 0]


def test_shared_axes_need_names_on_the_outer_panels_only(tmp_path):
    plate = figures.Plate(2, 2, width=2.0, share_x=True, share_y=True)
    for panel in plate:
        figures.prediction(panel, X, X, "line")
    plate.labels(x="length L", y="risk R(L)")
    plate.legend()
    plate.save(tmp_path, "shared")
    assert [panel.axes.get_xlabel() for panel in plate] == ["", "", "length L", "length L"]
    assert [panel.axes.get_ylabel() for panel in plate] == ["risk R(L)", "", "risk R(L)", ""]
    assert len(plate.figure.legends) == 1 and all(panel.axes.get_legend() is None for panel in plate)


def test_a_plate_of_matrices_is_as_high_as_they_need(tmp_path):
    plate = figures.Plate(1, 2, width=4.0)
    for panel in plate:
        figures.heat_map(panel, np.eye(4), "entry", scale=figures.colour_scale(np.eye(4)))
    plate.save(tmp_path, "maps")
    top = max(axes.get_tightbbox().y1 for axes in plate.figure.axes) / plate.figure.dpi
    bottom = min(axes.get_tightbbox().y0 for axes in plate.figure.axes) / plate.figure.dpi
    assert bottom < 0.12 and plate.figure.get_figheight() - top < 0.12  # a few points of padding, no blank strips
    square = plate[0].axes.get_window_extent()
    assert square.width == pytest.approx(square.height, rel=1e-6)
