"""What a newcomer types: --version, a misspelt verb, list and show of one paper, completion, the README."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from attnlab.papers.lab.commands import doctor

ROOT = Path(__file__).resolve().parents[4]


def test_the_version_is_printed(cli):
    status, out, _ = cli("--version")
    assert not status and out.strip() == f"attnlab {version('attnlab')}"


@pytest.mark.parametrize("typed, meant", [("reproduc", "reproduce"), ("lst", "list"), ("shwo", "show")])
def test_a_misspelt_verb_gets_the_nearest_one(cli, typed, meant):
    status, _, err = cli(typed, "he2025")
    assert status == 2 and f"did you mean '{meant}'" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "words, said",
    [
        (("list", "he2026"), "did you mean 'he2025'"),  # the first word of a key is what people type
        (("show", "he2025", "--fulll"), "did you mean '--full'?; see `attnlab show --help`"),
        (("list", "--markdwn"), "did you mean '--markdown'?; see `attnlab list --help`"),
        (("store", "verfy"), "did you mean 'verify'?; see `attnlab store --help`"),
    ],
)
def test_a_misspelt_paper_option_or_choice_gets_the_nearest_one(cli, words, said):
    status, _, err = cli(*words)
    assert status == 2 and said in err and err.count("\n") == 1


def test_a_word_like_nothing_gets_no_suggestion(cli):
    assert "did you mean" not in cli("list", "zzzz")[2] + cli("list", "--qqqq")[2]


def test_doctor_lists_every_package_that_the_project_file_declares():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"required": project["dependencies"], **project["optional-dependencies"]}
    names = {extra: {re.match(r"[\w.-]+", line)[0] for line in lines} for extra, lines in groups.items()}
    assert {extra: set(found) for extra, found in doctor.declared().items()} == names


def test_list_takes_papers(cli):
    status, out, _ = cli("list", "toy2026")
    assert status == 0 and "toy2026_walk.drift" in out and "he2025" not in out


def test_a_whole_paper_fits_one_screen_with_its_settings_once(cli):
    status, out, _ = cli("show", "toy2026")
    lines = out.splitlines()
    assert status == 0 and len(lines) <= 40 and max(map(len, lines)) <= 100
    assert out.count("pause=0.0") == 1 and "n_steps=10" in out and "n_steps=400" in out
    assert "not testable here: a run is finite" in out and "expected REFUTED" in out and "not run yet" in out
    full = cli("show", "toy2026", "--full")[1]
    assert "judged" in full and len(full) > len(out)


@pytest.mark.parametrize("line, answer", [("attnlab rep", "reproduce"), ("attnlab show he2025.fac", "he2025.factor_e")])
def test_a_shell_completes_commands_papers_and_claims(line, answer):
    pytest.importorskip("argcomplete", reason="extra completion: argcomplete")
    read, write = os.pipe()
    code = f"import os; os.dup2({write}, 8); from attnlab.papers.lab.commands.cli import main; main()"
    environment = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": " ",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    subprocess.run([sys.executable, "-c", code], env=environment, pass_fds=(write,), timeout=60)
    os.close(write)
    with os.fdopen(read) as answers:
        assert answer in answers.read().split()


def test_the_shells_code_is_printed(cli):
    pytest.importorskip("argcomplete", reason="extra completion: argcomplete")
    status, out, _ = cli("completion", "bash")
    assert status == 0 and "attnlab" in out and "complete" in out


def test_the_readme_lists_every_paper_as_the_command_prints_it():
    from attnlab.papers.lab.commands.list import markdown
    from attnlab.papers.lab.registry import load, own_keys

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    printed = text.split("<!-- attnlab list --markdown -->\n", 1)[1].split("\n<!-- end -->", 1)[0]
    assert printed == markdown([load(key) for key in own_keys()]), "run `attnlab list --markdown` and paste it"


@pytest.mark.slow
def test_the_first_command_of_the_tour_decides_something(cli):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tour = text.split("## A five-minute tour", 1)[1].split("```", 2)[1]
    first = next(line for line in tour.splitlines() if line.startswith("$ attnlab reproduce")).partition("#")[0].split()
    status, out, err = cli(*first[2:], "--workers", 1)
    assert status == 0 and out.startswith(("HOLDS", "REFUTED")), err
