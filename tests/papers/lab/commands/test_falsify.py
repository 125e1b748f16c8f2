"""``attnlab falsify`` on a toy paper of bounds: verdicts, exit statuses, witnesses that replay in a fresh process."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from attnlab.papers.lab.run import quantified

PAPER = '''
"""A toy paper of bounds."""
import os
from dataclasses import dataclass

from attnlab.analysis import Real, Twin, Vector, for_all
from attnlab.analysis.verdicts.verdict import Outcome, Verdict
from attnlab.papers.lab.declare import Paper, Source

CONSTANT = float(os.environ.get("TOY_CONSTANT", "0.2"))


@dataclass(frozen=True)
class Setting:
    dim: int = 3
    budget: int = 40_000


paper = Paper(key="toy2026_bounds", title="On bounds", sources=[Source(authors="B. Toy", title="On bounds", year=2026)],
              statements={1: "A true bound.", 2: "A false bound.", 3: "A published false bound.", 4: "On replicas.",
                          5: "A bound that boxes cannot decide."})
paper.scales(smoke=Setting(), desk=Setting(), paper=Setting(dim=5))


def variance(x):
    p = x.softmax(-1)
    return p[0] * (1 - p[0])


def bound(constant, twin, setting):
    return {"searched": for_all(x=Vector("n", -4, 4)).bound(variance, at_most=constant, sizes={"n": setting.dim},
                                                            twin=Twin.of("smaller", at_most=twin)),
            "certified": for_all(x=Real(0, 1)).bound(lambda x: x * (1 - x), at_most=constant + 0.001, name="up to 0.001",
                                                     twin=Twin.of("smaller", at_most=twin))}


@paper.for_all("quarter", source="Theorem 1", statements=[1], formula="p (1 - p) <= 1/4")
def quarter(setting):
    """The variance is at most a quarter."""
    return bound(0.25, 0.24, setting)


@paper.for_all("fifth", source="Theorem 2", statements=[2])
def fifth(setting):
    """The variance is at most a fifth, which is false."""
    return bound(CONSTANT, 0.1, setting)


@paper.for_all("published", source="Theorem 3", statements=[3], expected="REFUTED")
def published(setting):
    """The variance is at most a fifth, as a paper says."""
    return {"searched": bound(0.2, 0.1, setting)["searched"]}


@paper.claim("replicas", source="Theorem 4", statements=[4])
def replicas(setting, lab):
    """A mean over replicas."""
    return Verdict(Outcome.HOLDS, "agrees")


@paper.for_all("meeting", source="Theorem 5", statements=[5])
def meeting(setting):
    """The variance is at most a quarter, without slack."""
    return {"certified": for_all(x=Real(0, 1)).bound(lambda x: x * (1 - x), at_most=0.25,
                                                     twin=Twin.of("smaller", at_most=0.24))}
'''


@pytest.fixture(scope="session")
def bounds(tmp_path_factory):
    """The folder with ``toy2026_bounds/paper.py`` in it."""
    folder = tmp_path_factory.mktemp("bounds")
    (folder / "toy2026_bounds").mkdir()
    (folder / "toy2026_bounds" / "__init__.py").write_text('"""A toy paper."""\n')
    (folder / "toy2026_bounds" / "paper.py").write_text(textwrap.dedent(PAPER))
    return folder


@pytest.fixture
def command(bounds, tmp_path, monkeypatch, capfd):
    """Run the command line in this process; returns (status, parsed JSON or text, stderr)."""
    import attnlab.papers
    from attnlab.papers.lab.commands.cli import main

    monkeypatch.setattr(attnlab.papers, "__path__", [*attnlab.papers.__path__, str(bounds)])
    monkeypatch.setenv("ATTNLAB_HOME", str(tmp_path / "results"))

    def run(*arguments):
        capfd.readouterr()
        try:
            status = main([str(a) for a in arguments])
        except SystemExit as end:
            status = end.code
        text, err = capfd.readouterr()
        return status, json.loads(text) if "--json" in arguments and text else text, err

    return run


@pytest.fixture
def fresh(bounds, tmp_path):
    """Run the command line in a process of its own."""
    code = (
        f"import attnlab.papers; attnlab.papers.__path__.append({str(bounds)!r})\n"
        "from attnlab.papers.lab.commands.cli import main\nraise SystemExit(main())\n"
    )

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"ATTNLAB_HOME": str(tmp_path / "results")} | environment,
            timeout=120,
        )

    return run


@pytest.mark.slow
def test_a_true_claim_survives_every_form_and_saves_no_witness(command, tmp_path):
    status, text, _ = command("falsify", "toy2026_bounds.quarter")
    first, second = text.splitlines()
    assert status == 0 and first.startswith("HOLDS      toy2026_bounds.quarter") and "searched" in first
    assert second.startswith("HOLDS      toy2026_bounds.quarter:certified") and "twin refuted" in second
    assert not (tmp_path / "results" / "witnesses").exists()


@pytest.mark.slow
def test_a_false_claim_is_refuted_with_a_witness_that_replays_in_a_fresh_process(command, fresh, tmp_path):
    status, result, _ = command("falsify", "toy2026_b.fifth", "--json")
    assert status == 1 and [c["verdict"] for c in result["claims"]] == ["REFUTED", "REFUTED"]
    files = sorted((tmp_path / "results" / "witnesses").iterdir())
    assert [f.name for f in files] == ["toy2026_bounds.fifth.certified.json", "toy2026_bounds.fifth.json"]
    for file in files:
        again = fresh("falsify", "--replay", file)
        assert again.returncode == 1 and again.stdout.startswith("REFUTED"), again.stderr
        assert str(file) in again.stdout
    mended = fresh("falsify", "toy2026_bounds.fifth", "--replay", files[1], TOY_CONSTANT="0.25")
    assert mended.returncode == 3 and mended.stdout.startswith("UNDECIDED")  # it refutes nothing any more
    assert "does not refute the claim as it stands" in mended.stdout


def test_a_witness_is_plain_and_an_independent_computation_agrees(command, tmp_path):
    import numpy as np

    command("falsify", "toy2026_bounds.fifth", "--level", "searched")
    record = json.loads((tmp_path / "results" / "witnesses" / "toy2026_bounds.fifth.json").read_text())
    x = np.array(record["point"]["x"])
    p = np.exp(x[0]) / np.exp(x).sum()
    assert record["left"] == pytest.approx(p * (1 - p), rel=1e-12) and p * (1 - p) > 0.2 == record["right"]
    assert record["sizes"] == {"n": 3} and record["claim"] == "toy2026_bounds.fifth"


def test_a_setting_changes_the_dimension_searched_and_the_replay_takes_it_too(command, tmp_path):
    status, result, _ = command("falsify", "toy2026_bounds.fifth", "--level", "searched", "--json", "dim=5")
    assert status == 1 and len(result["claims"][0]["witness"]["point"]["x"]) == 5
    file = tmp_path / "results" / "witnesses" / "toy2026_bounds.fifth.json"
    assert command("falsify", "dim=5", "--replay", file)[0] == 1


def test_show_lists_the_forms_of_a_claim_about_all_inputs(command):
    text = command("show", "toy2026_bounds.quarter")[1]
    assert "searched:" in text and "<= 0.25 for all x in [-4, 4]^n" in text and "(up to 0.001)" in text
    assert "searched:" not in command("show", "toy2026_bounds.replicas")[1]


def test_a_published_false_claim_is_as_expected(command, tmp_path):
    assert command("falsify", "toy2026_bounds.published")[0] == 0
    status, text, _ = command(
        "falsify", "--replay", tmp_path / "results" / "witnesses" / "toy2026_bounds.published.json"
    )
    assert status == 0 and text.startswith("REFUTED")


@pytest.mark.slow
def test_a_level_picks_the_form_stated_for_it(command):
    status, result, _ = command("falsify", "toy2026_bounds.quarter", "--level", "certified", "--json")
    (claim,) = result["claims"]
    assert status == 0 and claim["name"] == "toy2026_bounds.quarter:certified" and claim["level"] == "certified"
    status, text, _ = command("falsify", "toy2026_bounds.meeting", "--level", "certified", "--budget", "2000")
    assert status == 3 and text.startswith("UNDECIDED") and "slack" in text


@pytest.mark.slow
def test_a_certificate_is_written_and_checked_against_the_claim(command, tmp_path):
    status, result, _ = command("falsify", "toy2026_bounds.quarter", "--level", "certified", "--json")
    (file,) = result["claims"][0]["certificate_files"]
    status, text, _ = command("falsify", "toy2026_bounds.quarter", "--check", file)
    assert status == 0 and text.startswith("HOLDS") and "checked: x * (1 - x)" in text
    status, _, message = command("falsify", "toy2026_bounds.fifth", "--check", file)
    assert status == 2 and "does not prove toy2026_bounds.fifth: the certificate is about another formula" in message


def test_the_general_form_stands_in_for_a_level_that_has_none(command):
    status, result, _ = command(
        "falsify", "toy2026_bounds.quarter", "--level", "sampled", "--budget", "40000", "--json"
    )
    assert result["claims"][0]["name"] == "toy2026_bounds.quarter" and result["claims"][0]["level"] == "sampled"
    assert status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["toy2026_bounds.replicas"], "attnlab reproduce toy2026_bounds.replicas --seed"),
        (["toy2026_bounds"], "not one claim"),
        (["toy2026_bounds.fifth", "dmi=5"], "did you mean 'dim'"),
        (["toy2026_bounds.fifth", "toy2026_bounds.quarter"], "one at a time"),
        ([], "no claim"),
        (["toy2026_bounds.quater"], "did you mean 'quarter'"),
        (["toy2026_bounds.quarter", "--budget", "0"], "not a number of evaluations"),
        (["toy2026_bounds.quarter", "--level", "proved"], "invalid choice"),
        (["--replay", "nowhere.json"], "cannot read the witness"),
        (["toy2026_bounds.quarter", "--check", "nowhere.json"], "cannot read the certificate"),
        (["--check", "nowhere.json"], "--check needs the claim"),
        (["--replay", "nowhere.json", "--budget", "3000"], "leave --level and --budget out"),
    ],
)
def test_wrong_usage_exits_2_with_one_line(command, arguments, message):
    status, _, err = command("falsify", *arguments)
    assert status == 2 and message in err and len(err.strip().splitlines()) == 1


def test_a_damaged_or_foreign_witness_is_an_error(command, tmp_path):
    command("falsify", "toy2026_bounds.fifth", "--level", "searched")
    file = tmp_path / "results" / "witnesses" / "toy2026_bounds.fifth.json"
    status, _, err = command("falsify", "toy2026_bounds.quarter", "--replay", file)
    assert status == 2 and "is about toy2026_bounds.fifth" in err
    good = json.loads(file.read_text())
    for change, message in (
        ({"point": {"x": [0.0]}}, "shape"),
        ({"claim": "nowhere.nothing"}, "unknown paper"),
        ({"claim": "toy2026_bounds.fifth:symbolic"}, "no symbolic form"),
        ({"format": "other"}, "format"),
    ):
        file.write_text(json.dumps(good | change))
        status, _, err = command("falsify", "--replay", file)
        assert status == 2 and message in err
    file.write_text("{")
    assert command("falsify", "--replay", file)[0] == 2


@pytest.mark.slow
def test_reproduce_judges_all_forms_once_and_tells_the_slack(command, monkeypatch):
    monkeypatch.setattr(quantified, "PROOF_BUDGET", 20_000)  # ample for the first; no budget decides the second
    status, result, err = command(
        "reproduce", "toy2026_bounds.quarter", "toy2026_bounds.published", "--workers", "1", "--json"
    )
    assert status == 0, err
    quarter = result["claims"][0]
    assert quarter["verdict"] == "HOLDS" and [p["name"] for p in quarter["parts"]] == ["searched", "certified"]
    assert "certified for x in [0, 1] (dimension 1) up to 0.001" in quarter["reason"]
    assert command("reproduce", "toy2026_bounds.meeting", "--workers", "1")[0] == 3


def test_a_for_all_claim_without_twin_or_with_an_unknown_level_is_an_error():
    from types import SimpleNamespace

    from attnlab.analysis import Real, Twin, for_all
    from attnlab.papers.lab.run.quantified import forms_of

    bare = for_all(x=Real(0, 1)).bound(lambda x: x, at_most=1)
    twinned = for_all(x=Real(0, 1)).bound(lambda x: x, at_most=1, twin=Twin.of("half", at_most=0.5))
    for forms, message in (
        ({"searched": bare}, "no twin"),
        ({"proved": twinned}, "proved"),
        ({}, "no form"),
        ({"searched": 3}, "expected a for-all claim"),
    ):
        claim = SimpleNamespace(id="a.b", source="s", forms=lambda setting, forms=forms: forms)
        with pytest.raises(ValueError, match=message):
            forms_of(claim, None)
