"""``attnlab new``: what it writes runs at once, keeps the rules of the house, and says where its author must write."""

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from attnlab.papers.lab.commands import cli

ROOT = Path(__file__).resolve().parents[4]
FOLDERS = ("theory", "kernels", "simulators", "analysis", "papers", "tests")
COMMAND = "from attnlab.papers.lab.commands.cli import main; raise SystemExit(main())"
RUN = ("-c", COMMAND, "reproduce", "./my_theorem", "--scale", "smoke", "--workers", "1")

NEW = [
    ["paper", "key2030", "--subject", "new_subject"],
    ["task", "echo"],
    ["operator", "new_family/softest"],
    ["cost", "nine_bit"],
    ["instrument", "new_room/deepest"],
]
"""One of each part, as the command line is asked for it."""


@pytest.fixture
def tree(tmp_path):
    """A copy of the checkout that is imported in place of the installed package."""
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / "checkout" / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "checkout")
    shutil.copytree(ROOT / "docs" / "_site", tmp_path / "checkout" / "docs" / "_site")  # tests/docs mirrors it
    shutil.copy(ROOT / "docs" / "references.bib", tmp_path / "checkout" / "docs")  # the operators' test reads it
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "attnlab").symlink_to(tmp_path / "checkout", target_is_directory=True)
    return tmp_path / "checkout"


def python(folder, *words, path=None):
    env = os.environ | {"ATTNLAB_HOME": str(folder / "results")} | ({"PYTHONPATH": str(path)} if path else {})
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=folder, env=env, timeout=280)
    return done.returncode, done.stdout + done.stderr


def written(folder, name):
    """The sentence that a file asks its author to act upon."""
    return re.search(r'NotImplementedError\("(.*?)"\)', (folder / name).read_text(encoding="utf-8"))[1]


@pytest.mark.slow
def test_a_paper_anywhere_runs_at_once_and_holds_when_the_prediction_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new", "paper", "my_theorem", "--title", "Mine", "--authors", "Me", "--year", "2026"]) == 0
    assert "attnlab reproduce ./my_theorem --scale smoke" in capsys.readouterr().out
    theory = tmp_path / "my_theorem" / "theory.py"
    theory.write_text(re.sub(r"raise NotImplementedError.*", "return 1.0", theory.read_text()))
    status, out = python(tmp_path, *RUN)
    assert status == 0 and "HOLDS      my_theorem.first" in out and "my_theorem.fig1" in out


@pytest.mark.slow
def test_a_paper_anywhere_says_what_to_write_passes_its_tests_and_refutes_a_wrong_prediction(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new", "paper", "my_theorem", "--title", "Mine", "--authors", "Me", "--year", "2026"]) == 0
    status, out = python(tmp_path, *RUN)
    assert status == 3 and "my_theorem/theory.py: write first_prediction_exact" in " ".join(out.split())
    theory = tmp_path / "my_theorem" / "theory.py"
    theory.write_text(re.sub(r"raise NotImplementedError.*", "return 1.0", theory.read_text()))
    assert python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")[0] == 0
    theory.write_text(theory.read_text().replace("return 1.0", "return 1.5"))  # the twin
    status, out = python(tmp_path, *RUN)
    assert status == 1 and "REFUTED    my_theorem.first" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["paper", "My-Theorem"], "not a name of a module"),
        (["task", "recall"], "run this in a checkout"),
        (["operator", "softpick"], "run this in a checkout"),
    ],
)
def test_what_cannot_be_written_is_refused_with_a_reason(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new", *words]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["paper", "rala_low_rank"], "is there already"),
        (["operator", "softpick"], "FAMILY/NAME"),
        (["instrument", "deepest"], "ROOM/NAME"),
        (["instrument", "maps/entropy"], "is there already"),
    ],
)
def test_nothing_is_overwritten_in_a_checkout(capsys, words, message):
    before = subprocess.run(["git", "status", "--short"], capture_output=True, text=True, cwd=ROOT).stdout
    assert cli.main(["new", *words, "--folder", str(ROOT)]) == 2
    assert message in capsys.readouterr().err
    assert subprocess.run(["git", "status", "--short"], capture_output=True, text=True, cwd=ROOT).stdout == before


@pytest.mark.parametrize("words", NEW, ids=lambda words: words[0])
def test_the_files_of_a_part_are_new_files_in_its_rooms_that_python_reads(tree, words):
    before = {path for path in tree.rglob("*") if path.is_file()}
    assert cli.main(["new", *words, "--folder", str(tree)]) == 0
    written_files = {path for path in tree.rglob("*") if path.is_file()} - before
    rooms = {*words[1].split("/"), words[-1]}
    assert written_files and all(any(room in str(path.relative_to(tree)) for room in rooms) for path in written_files)
    for path in written_files:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.name == "__main__.py", path
    assert words[0] == "task" or any("NotImplementedError(" in path.read_text() for path in written_files)


@pytest.mark.slow
def test_one_of_each_part_keeps_the_rules_of_the_house_and_says_where_to_write(tree, tmp_path):
    for words in (["paper", "key2030", "--subject", "new_subject"], ["paper", "score2031", "--subject", "low_rank"]):
        assert cli.main(["new", *words, "--folder", str(tree)]) == 0
    for words in (
        ["task", "echo"],
        ["operator", "new_family/softest"],
        ["operator", "score_maps/softer"],
        ["cost", "nine_bit"],
        ["instrument", "new_room/deepest"],
        ["instrument", "maps/deeper"],
    ):
        assert cli.main(["new", *words, "--folder", str(tree)]) == 0
    rules = "allows or package or circle or subject or mirror or room or simulations"
    status, out = python(tree, "-m", "pytest", "-q", "-x", "tests/test_house.py", "-k", rules, path=tmp_path / "link")
    assert status == 0, out
    if importlib.util.find_spec("ruff"):
        status, out = python(
            tree,
            "-m",
            "ruff",
            "check",
            "papers/key2030",
            "papers/score2031",
            "theory",
            "simulators/tasks",
            "kernels/operators",
            "analysis/instruments",
            "tests/papers",
        )
        assert status == 0, out
    assert "key2030" in python(tree, "-c", COMMAND, "list", path=tmp_path / "link")[1]
    status, out = python(
        tree, "-c", COMMAND, "reproduce", "key2030", "--scale", "smoke", "--workers", "1", path=tmp_path / "link"
    )
    sentence = written(tree, "theory/new_subject/first_prediction.py")
    assert status == 3 and sentence in " ".join(out.split()), out


@pytest.mark.slow
def test_new_members_are_in_their_family_test_and_fail_there_with_their_sentence(tree, tmp_path):
    cases = {
        ("operator", "new_family/softest"): (
            "kernels/operators/new_family/softest.py",
            "tests/kernels/operators/test_every_operator.py",
        ),
        ("instrument", "new_room/deepest"): (
            "analysis/instruments/new_room/deepest.py",
            "tests/analysis/instruments/test_every_instrument.py",
        ),
        ("cost", "nine_bit"): ("theory/costs/nine_bit.py", "tests/theory/costs/test_nine_bit.py"),
    }
    for (part, name), (file, test) in cases.items():
        assert cli.main(["new", part, name, "--folder", str(tree)]) == 0
        last = name.split("/")[-1]
        status, out = python(tree, "-m", "pytest", "-q", "-x", test, "-k", last, path=tmp_path / "link")
        assert status == 1 and written(tree, file) in out, out
    assert cli.main(["new", "task", "echo", "--folder", str(tree)]) == 0
    tests = ("tests/simulators/test_every_task.py", "tests/simulators/tasks/test_echo.py")
    status, out = python(tree, "-m", "pytest", "-q", *tests, path=tmp_path / "link")
    assert status == 0, out
    assert cli.main(["new", "paper", "key2030", "--subject", "new_subject", "--folder", str(tree)]) == 0
    status, out = python(
        tree, "-m", "pytest", "-q", "tests/papers/test_every_paper.py", "-k", "key2030", path=tmp_path / "link"
    )
    assert status == 0 and "passed" in out, out


def test_titles_with_any_letters_give_files_that_python_reads_and_two_papers_share_a_folder(tmp_path):
    titles = ["a\\", 'a"b\nc', "50 % of $x {y} \\alpha", '"""']
    for number, title in enumerate(titles):
        words = ["new", "paper", f"p{number}", "--folder", str(tmp_path), "--title", title, "--authors", title]
        assert cli.main(words) == 0
    for file in tmp_path.rglob("*.py"):
        compile(file.read_text(encoding="utf-8"), str(file), "exec")
    assert len(list(tmp_path.glob("*/paper.py"))) == len(titles)


@pytest.mark.parametrize("name", ["class", "json", "numpy", "tests", "x" * 300])
def test_a_name_that_python_takes_for_something_else_is_refused(tmp_path, name, capsys):
    assert cli.main(["new", "paper", name, "--folder", str(tmp_path)]) == 2
    assert "name" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_files_are_written_all_or_none_and_are_told_as_json(tmp_path, capsys):
    (tmp_path / "tests").write_text("a file in the place of the folder of tests")
    assert cli.main(["new", "paper", "mine", "--folder", str(tmp_path)]) == 2
    assert "nothing was written" in capsys.readouterr().err and not list(tmp_path.rglob("*.py"))
    (tmp_path / "tests").unlink()
    assert cli.main(["new", "paper", "mine", "--folder", str(tmp_path), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["wrote"]) == len(list(tmp_path.rglob("*.py")))
