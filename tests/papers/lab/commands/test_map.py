"""``attnlab map``: axes as written, a grid of verdicts with their boundary, data beside, impossible points, resuming."""

import csv
from dataclasses import dataclass

import pytest

from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.run.sweep import difference, parsed_axis


@pytest.mark.parametrize(
    "token, values",
    [
        ("dim=3:9:2", ("3", "5", "7", "9")),
        ("dim=3:8:2", ("3", "5", "7")),
        ("x=0:0.3:0.1", ("0", "0.1", "0.2", "0.3")),
        ("x=0.1:10:log3", ("0.1", "1", "10")),
        ("n=8:512:log4", ("8", "32", "128", "512")),
        ("score=softmax,linear", ("softmax", "linear")),
        ("x=-1:1:1", ("-1", "0", "1")),
    ],
)
def test_an_axis_is_read_with_both_ends_and_whole_numbers_stay_whole(token, values):
    assert parsed_axis(token).values == values


@pytest.mark.parametrize(
    "token, words",
    [
        ("dim", "KEY=a:b:step"),
        ("dim=3", "at least 2"),
        ("dim=3:9", "a range is"),
        ("dim=9:3:1", "smaller end first"),
        ("dim=0:9:log3", "positive ends"),
        ("dim=1:9:log1", "whole N"),
        ("dim=1:9:0", "step must be positive"),
        ("dim=a:b:c", "with numbers"),
        ("dim=1,1", "twice"),
        ("x=0:1:1e-9", "too many"),
        ("x=0:1:1e-320", "too many"),
        ("x=1:9:inf", "finite"),
        ("x=1:9:loginf", "whole N"),
        ("x=1:9:lognan", "whole N"),
        ("x=1:9:log1000000000", "whole N from 2 to 10000"),
    ],
)
def test_a_bad_axis_is_named_with_the_form_it_should_have(token, words):
    with pytest.raises(UsageError, match=words):
        parsed_axis(token)


def test_the_difference_is_relative_or_in_margins():
    record = {"measured": 1.1, "predicted": 1.0, "margin": 0.2}
    assert difference(record) == pytest.approx(0.1)
    assert difference(record | {"predicted": 0.0}) == pytest.approx(5.5)
    assert (
        difference(record | {"predicted": None}) is None
        and difference(record | {"predicted": 0.0, "margin": None}) is None
    )


@pytest.mark.slow
def test_two_axes_are_judged_drawn_and_written_and_the_second_time_read(cli, tmp_path):
    arguments = (
        "map",
        "toy.drift",
        "--over",
        "drift=-1,0.5,2",
        "n_steps=0:20:10",
        "--scale",
        "smoke",
        "--workers",
        1,
        "--json",
    )
    status, result, err = cli(*arguments)
    assert status == 3, err  # n_steps = 0 is no setting; the others are judged
    points = {tuple(point["point"].values()): point for point in result["points"]}
    assert len(points) == 9 and list(result["points"][0]["point"]) == ["n_steps", "drift"]
    assert (
        points[("0", "0.5")]["verdict"] == "FAILED" and "n_steps must be at least 1" in points[("0", "0.5")]["reason"]
    )
    assert all(points[(n, d)]["verdict"] == "HOLDS" for n in ("10", "20") for d in ("-1", "0.5", "2"))
    assert points[("20", "2")]["predicted"] == 2.0 and "6 HOLDS, 3 FAILED" in result["caption"].replace("\n", " ")
    *_, data = result["files"]
    rows = list(csv.DictReader(open(data)))
    assert len(rows) == 9 and rows[-1]["n_steps"] == "20" and float(rows[-1]["predicted"]) == 2.0
    again = cli(*arguments)[1]
    assert again["run"]["core_seconds"] == 0 and [p["verdict"] for p in again["points"]] == [
        p["verdict"] for p in result["points"]
    ]
    text = cli(*arguments[:-1])[1]
    assert "n_steps" in text and "FAIL" in text and "6 HOLDS" in text


@pytest.mark.slow
def test_one_axis_is_a_curve_with_the_margin(cli):
    status, result, _ = cli(
        "map", "toy.drift", "n_steps=12", "--over", "drift=0:2:1", "--scale", "smoke", "--workers", 1, "--json"
    )
    assert status == 0 and [p["setting"]["n_steps"] for p in result["points"]] == [12, 12, 12]
    assert result["axes"]["rows"] is None and result["files"][0].endswith(".png")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("toy", "--over", "drift=0,1"), "not one claim"),
        (("toy.drift",), "0 axes"),
        (("toy.drift", "--over", "drfit=0,1"), "did you mean 'drift'"),
        (("toy.drift", "drift=1", "--over", "drift=0,1"), "given twice"),
        (("toy.far", "--over", "drift=0,1"), "is for --scale paper"),
    ],
)
def test_bad_use_is_one_line_and_exit_2(cli, arguments, words):
    status, _, err = cli("map", *arguments, "--scale", "smoke", "--workers", 1)
    assert status == 2 and words in err and "Traceback" not in err


@pytest.mark.slow
def test_an_interrupted_map_is_resumed(cli, tmp_path):
    from attnlab.papers.lab.run.store import Store

    cli("map", "toy.drift", "--over", "drift=0,1", "--scale", "smoke", "--workers", 1)
    store = Store(tmp_path / "results")
    (row,) = store.catalogue.sound("runs")[0]
    store.catalogue.put("runs", row | {"finished": None, "status": None})  # as a kill leaves it
    store.close()
    status, out, err = cli("resume")
    assert status == 0 and "toy2026_walk.drift over drift" in out, err


def test_a_map_of_other_settings_lies_in_a_folder_of_its_own(tmp_path):
    from types import SimpleNamespace

    from attnlab.papers.lab.run.mapped import _save

    plate = SimpleNamespace(save=lambda folder, stem: [folder / f"{stem}.svg"])
    point = {"point": {"dim": "3"}, "interval": None, "verdict": "HOLDS"}
    usual = {"scale": "desk", "overrides": {}, "seed": 0, "replicas": None}
    plans = [usual, usual | {"overrides": {"noise": "1"}}, usual | {"seed": 3}, usual | {"replicas": 5}]
    files = {_save(plate, [point], tmp_path, "p.c", plan)[-1] for plan in plans}
    assert len(files) == 4 and str(tmp_path / "maps" / "p" / "desk" / "c_over_dim_points.csv") in files


@dataclass(frozen=True)
class Toy:
    dim: int = 1
    n: int = 1


def test_a_grid_of_too_many_points_is_refused_before_it_is_made():
    from types import SimpleNamespace

    from attnlab.papers.lab.run.reproduce import Options
    from attnlab.papers.lab.run.sweep import grid

    claim = SimpleNamespace(setting=SimpleNamespace(at=lambda scale: Toy()))
    axes = [parsed_axis("dim=1:2000:1"), parsed_axis("n=1:2000:1")]
    with pytest.raises(UsageError, match="4000000 points"):
        grid(claim, axes, {}, Options())
