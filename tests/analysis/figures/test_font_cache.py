"""matplotlib keeps its fonts where it can, and says nothing of a home that is not there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from attnlab.analysis.figures import font_cache

pytestmark = pytest.mark.skipif(os.name != "posix", reason="elsewhere matplotlib is left alone")
NAMES = ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "ATTNLAB_CACHE")
DRAW = (
    "import sys\n"
    "from attnlab.analysis import figures\n"
    "import matplotlib\n"
    "plate = figures.Plate(1, 1)\n"
    "figures.prediction(plate[0], [0.0, 1.0], [0.0, 1.0], 'theory')\n"
    "plate[0].labels(x='x', y='y')\n"
    "plate.save(sys.argv[1], 'fig')\n"
    "print(matplotlib.get_configdir())\n"
    "print(matplotlib.get_cachedir())\n"
)


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """No folder is named; temporary files go to a folder of the test."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delitem(sys.modules, "matplotlib")
    return monkeypatch


def drawn(tmp_path):
    """What a figure says in a process of its own, and where matplotlib keeps its settings and its fonts."""
    words = [sys.executable, "-c", DRAW, str(tmp_path / "figures")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stderr, {Path(line) for line in done.stdout.split()}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("home", ["/proc/nobody", "/dev/null"])
def test_a_figure_is_drawn_in_silence_where_the_home_cannot_be_written(bare, tmp_path, home):
    bare.setenv("HOME", home)
    place = tmp_path / f"attnlab-cache-{os.getuid()}" / "matplotlib"
    assert drawn(tmp_path) == ("", {place}) and list(place.glob("fontlist*"))  # kept for the next process


def test_a_home_that_can_be_written_is_matplotlibs_own(bare, tmp_path):
    bare.setenv("HOME", str(tmp_path / "home"))
    font_cache.give_a_place()
    assert "MPLCONFIGDIR" not in os.environ


def test_a_place_that_was_named_and_a_matplotlib_that_is_loaded_are_left_alone(bare):
    bare.setenv("HOME", "/proc/nobody")
    bare.setenv("MPLCONFIGDIR", "/somewhere")
    font_cache.give_a_place()
    assert os.environ["MPLCONFIGDIR"] == "/somewhere"
    bare.delenv("MPLCONFIGDIR")
    bare.setitem(sys.modules, "matplotlib", object())
    font_cache.give_a_place()
    assert "MPLCONFIGDIR" not in os.environ


def test_a_cache_that_was_named_comes_first_and_one_that_others_can_write_is_not_used(bare, tmp_path):
    bare.setenv("HOME", "/proc/nobody")
    bare.setenv("ATTNLAB_CACHE", str(tmp_path / "cache"))
    bare.setenv("MPLCONFIGDIR", "")  # as if it were not set; restored by the fixture
    font_cache.give_a_place()
    assert os.environ["MPLCONFIGDIR"] == str(tmp_path / "cache" / "matplotlib")
    for folder in (tmp_path / "cache", tmp_path / f"attnlab-cache-{os.getuid()}"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    bare.setenv("MPLCONFIGDIR", "")
    font_cache.give_a_place()
    place = Path(os.environ["MPLCONFIGDIR"])
    assert (
        place.parent == tmp_path and place.name.startswith("attnlab-matplotlib-") and place.stat().st_mode & 0o77 == 0
    )


def test_a_user_without_a_home_has_no_place_of_matplotlibs(bare):
    def none():
        raise RuntimeError("no home")

    bare.setattr(Path, "home", none)
    assert not all(map(font_cache._is_writable, font_cache._of_matplotlib()))
    assert font_cache._of_attnlab()[-1].parent.name == f"attnlab-cache-{os.getuid()}"
