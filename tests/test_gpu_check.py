"""``make gpu-check`` without a GPU: its arguments, its table, and a dry run of the code that needs none."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("gpu_check.py")
spec = importlib.util.spec_from_file_location("gpu_check", SCRIPT)
gpu_check = importlib.util.module_from_spec(spec)
sys.modules["gpu_check"] = gpu_check  # dataclasses look their module up
spec.loader.exec_module(gpu_check)
sections = sys.modules["gpu_check_sections"]  # which it imports


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=280,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_says_so_and_how_to_go_on():
    done = run()
    assert done.returncode == 2 and "no CUDA device here; --dry-run" in done.stderr


@pytest.mark.parametrize(("arguments", "reason"), [(["--minutes", "0"], "above 0"), (["--only", "colour"], "colour")])
def test_a_bad_argument_is_named(arguments, reason):
    done = run(*arguments)
    assert done.returncode == 2 and reason in done.stderr


@pytest.mark.sampled(4)
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
@pytest.mark.parametrize(
    "only", [("graphs",), pytest.param(tuple(gpu_check.SECTIONS), marks=pytest.mark.slow)], ids=["one", "all"]
)
def test_a_dry_run_goes_through_the_sections_and_changes_no_committed_file(only, tmp_path):
    before = gpu_check.RATIOS.read_bytes(), gpu_check.TABLE.exists() and gpu_check.TABLE.read_bytes()
    done = run("--dry-run", "--out", str(tmp_path / "table.md"), "--only", *only)
    assert done.returncode == 0, done.stdout + done.stderr
    table = (tmp_path / "table.md").read_text()
    assert "a dry run, which measures nothing" in table and "**no**" not in table
    assert {line.split(" | ")[0][2:] for line in table.splitlines() if line.startswith("| ")} == {"section", *only}
    assert before == (gpu_check.RATIOS.read_bytes(), gpu_check.TABLE.exists() and gpu_check.TABLE.read_bytes())


@pytest.fixture
def planted(monkeypatch, tmp_path):
    """A device that is not there, files of its own, and sections that return what a test says."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "a card")
    ratios, table = tmp_path / "measured.json", tmp_path / "table.md"
    ratios.write_text('{"another card": 2.0}')
    monkeypatch.setattr(gpu_check, "RATIOS", ratios)
    monkeypatch.setattr(gpu_check, "TABLE", table)

    def run(rows, minutes="1", ratio=None):
        def section(check):
            check.ratios += [] if ratio is None else [ratio]
            yield from rows

        nothing = dict.fromkeys(gpu_check.SECTIONS, lambda check: iter(()))
        monkeypatch.setattr(gpu_check, "SECTIONS", nothing | {"correct": section})
        return gpu_check.main(["--minutes", minutes]), table.read_text(), json.loads(ratios.read_text())

    return run


def test_the_table_and_the_ratio_are_written_where_there_is_a_device(planted):
    status, table, ratios = planted([("one", lambda: ("fine", True)), ("two", lambda: ("3 us", None))], ratio=4.0)
    assert status == 0 and "a card; torch" in table
    assert "| correct | one | fine | yes |" in table and "| correct | two | 3 us |  |" in table
    assert ratios == {"another card": 2.0, "a card": 4.0}


def test_a_wrong_row_and_a_row_that_fails_end_with_status_one_and_do_not_stop_the_others(planted):
    def fails():
        raise RuntimeError("illegal memory access\nmore")

    status, table, _ = planted(
        [("a", fails), ("b", lambda: ("2 of what is allowed", False)), ("c", lambda: ("fine", True))]
    )
    assert status == 1
    assert "| correct | a | RuntimeError: illegal memory access | **no** |" in table
    assert "| b | 2 of what is allowed | **no** |" in table and "| c | fine | yes |" in table


def test_what_does_not_fit_into_the_time_is_listed_as_not_run(planted):
    status, table, _ = planted([("late", lambda: ("fine", True))], minutes="1e-9")
    assert status == 0 and "| late | not run: out of time |  |" in table


def test_numbers_that_are_not_numbers_are_never_right():
    x, bad = torch.ones(3), torch.tensor([1.0, float("nan"), 1.0])
    assert sections.error_ratio([bad], [x], [x.double()], 1e-7) == float("inf")
    assert sections.error_ratio([x * 1.1], [x], [x.double()], 1e-7) > 1
    assert sections.error_ratio([x], [x], [x.double()], 1e-7) <= 1
