"""docs/examples/own_paper is copied to a folder of its own and used from there as its README says."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "own_paper"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unrelated") / "own_paper"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache", "attnlab-results"))
    return folder


def attnlab(folder, *arguments):
    code = "from attnlab.papers.lab.commands.cli import main; raise SystemExit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=280,
        env=os.environ | {"ATTNLAB_HOME": str(folder / "results")},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_the_example_reproduces_from_its_folder_and_edits_of_its_code_are_seen(repository):
    status, out, err = attnlab(repository, "reproduce", ".", "--scale", "smoke", "--workers", "1", "--json")
    assert status == 0, err
    result = json.loads(out)
    assert {claim["id"]: claim["verdict"] for claim in result["claims"]} == {
        "gaussian_logits.participation": "HOLDS",
        "gaussian_logits.largest_weight": "HOLDS",
    }
    assert result["run"]["core_seconds"] > 0 and Path(result["figures"][0]["files"][0]).exists()
    one = ("reproduce", "./gaussian_logits/paper.py::participation", "--scale", "smoke", "--workers", "1", "--json")
    assert json.loads(attnlab(repository, *one)[1])["run"]["core_seconds"] == 0  # read from the store
    simulator = repository / "gaussian_logits" / "simulator.py"
    simulator.write_text(simulator.read_text() + "\n\nEDITED = True\n")
    assert json.loads(attnlab(repository, *one)[1])["run"]["core_seconds"] > 0  # its code is another one


@pytest.mark.slow
def test_the_example_is_shown_and_cited_by_its_path(repository):
    status, out, _ = attnlab(repository, "show", "./gaussian_logits", "--full")
    assert status == 0 and "gaussian_logits.participation" in out and "Theorem 1" in out
    assert "@misc{gaussian_logits" in attnlab(repository, "cite", ".")[1]


@pytest.mark.slow
def test_the_tests_of_the_example_pass(repository):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        capture_output=True,
        text=True,
        cwd=repository,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout
