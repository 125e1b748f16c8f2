"""``attnlab diff``: verdicts that changed between two runs, and in what the runs differ."""

import json

import pytest

from attnlab.papers.lab.commands.diff import compared, text

CLAIM = {
    "id": "p.a", "verdict": "HOLDS", "setting": {"dim": 5, "n": 2}, "seed": 0, "replicas": None, "n": 8, "scale": "smoke",
    "simulations": ["s.run"], "measured": 1.0, "interval": [0.9, 1.1], "predicted": 1.0, "margin": 0.2, "level": None, "parts": [],
    "twin": None, "twin_verdict": None, "reason": "", "excuse": None, "diverged": [], "as_expected": True,
}  # fmt: skip
RUN = {
    "id": 1,
    "scale": "smoke",
    "seed": 0,
    "overrides": {},
    "platform": {"torch": "2.13"},
    "code": {"s.run": "x", "p.a": "y"},
}


def made(claim=None, run=None):
    return {"claims": [CLAIM | (claim or {})], "run": RUN | (run or {})}


def test_equal_runs_differ_in_nothing():
    found = compared(made(), made())
    assert found["changed"] == [] and found["differs"] == {} and "0 of 1 verdicts differ" in text(found)


def test_a_changed_verdict_names_setting_seed_code_and_versions():
    other = made(
        {"verdict": "REFUTED", "setting": {"dim": 7, "n": 2}, "seed": 3},
        {"id": 2, "seed": 3, "platform": {"torch": "2.14"}, "code": {"s.run": "x", "p.a": "z"}},
    )
    (row,) = compared(made(), other)["changed"]
    said = "; ".join(row["because"])
    assert "dim=5 against 7" in said and "seed: 0 against 3" in said and "torch: 2.13 against 2.14" in said
    assert "code of the judgement differs" in said and "s.run" not in said


def test_a_change_without_a_recorded_difference_says_that_verdicts_may_err():
    (row,) = compared(made(), made({"verdict": "UNDECIDED"}))["changed"]
    assert "nothing that is recorded" in row["because"][0]


def test_claims_of_one_run_only_are_named():
    found = compared(made(), {"claims": [], "run": RUN | {"id": 2}})
    assert found["only_first"] == ["p.a"] and "only in run 1: p.a" in text(found)


@pytest.mark.slow
def test_runs_are_compared_by_number_or_file(cli, tmp_path):
    cli("reproduce", "toy.drift", "--scale", "smoke", "--workers", 1)
    status, result, _ = cli("reproduce", "toy.drift", "--scale", "smoke", "--seed", 1, "--workers", 1, "--json")
    (tmp_path / "second.json").write_text(json.dumps(result))
    status, found, err = cli("diff", 1, tmp_path / "second.json", "--json")
    assert status == 0 and found["compared"] == 1 and found["differs"]["seed"] == [0, 1], err
    status, _, err = cli("diff", 1, 7)
    assert status == 2 and "records are kept of the runs 1, 2" in err
    (tmp_path / "wrong.json").write_text("[]")
    assert cli("diff", 1, tmp_path / "wrong.json")[0] == 2


@pytest.mark.parametrize(
    "text",
    ["3", "[]", "{", '{"claims": 3, "run": 4}', '{"claims": [{"id": "x"}], "run": {}}', '{"claims": [1], "run": {}}'],
)
def test_a_file_that_is_no_record_of_a_run_is_named(tmp_path, text):
    from attnlab.papers.lab.errors import UsageError
    from attnlab.papers.lab.run.record import read_record

    (tmp_path / "a.json").write_text(text)
    for name in (str(tmp_path / "a.json"), "x" * 300):
        with pytest.raises(UsageError, match=r"is not the record of a run|no record of the run"):
            read_record(name, tmp_path)
