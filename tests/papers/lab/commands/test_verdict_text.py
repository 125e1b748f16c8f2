"""The verdict table: at most 100 columns, expected refutations said, kinds and resolution shown, nothing needless."""

import pytest

from attnlab.papers.lab.commands.report_text import summary
from attnlab.papers.lab.commands.verdict_text import verdict_lines, verdict_table

RECORD = {
    "id": "toy2026_walk.drift", "verdict": "HOLDS", "kind": "published", "of": "mean over replicas", "measured": 0.24312, "predicted": 0.2429,
    "margin": 0.003, "interval": [0.2425, 0.2437], "n": 16, "level": None, "resolves": 0.0123, "parts": [], "twin": "zero",
    "twin_verdict": "REFUTED", "reason": "", "wants": "", "null": None, "null_label": "", "excuse": None, "diverged": [],
    "as_expected": True, "expected": "HOLDS",
}  # fmt: skip


def test_a_claim_that_holds_is_one_line_with_its_resolution_and_without_its_refuted_twin():
    (line,) = verdict_lines(RECORD)
    assert line == "HOLDS      toy2026_walk.drift  0.2431  [0.2425, 0.2437]  for 0.2429 ± 0.003  n=16  resolves 1.2 %"


def test_an_expected_refutation_says_so_and_an_unexpected_one_does_not():
    refuted = RECORD | {"verdict": "REFUTED", "reason": "the whole interval lies below the margin"}
    assert "as expected: the whole interval" in "\n".join(verdict_lines(refuted))
    assert "as expected" not in "\n".join(verdict_lines(refuted | {"as_expected": False}))
    assert "its twin holds: zero" in "\n".join(verdict_lines(refuted | {"twin_verdict": "HOLDS"}))


def test_kinds_that_are_not_statements_of_the_paper_are_named():
    assert "(anchor)" in verdict_lines(RECORD | {"kind": "anchor"})[0]


def test_an_undecided_claim_says_what_would_decide_it_and_an_excused_one_why_it_may_be():
    undecided = RECORD | {
        "verdict": "UNDECIDED",
        "reason": "n=8 does not decide",
        "wants": "replicas",
        "as_expected": False,
    }
    assert "more replicas would decide it" in "\n".join(verdict_lines(undecided))
    excused = "\n".join(verdict_lines(undecided | {"excuse": "too few steps", "as_expected": True}))
    assert "as expected at smoke: too few steps" in excused and "n=8 does" not in excused


@pytest.mark.parametrize("length", [5, 40, 65])
def test_no_line_is_wider_than_100_columns_and_no_word_is_lost(length):
    part = RECORD | {
        "name": "a part with a rather long name, so that it must be wrapped somewhere",
        "verdict": "REFUTED",
    }
    long = RECORD | {
        "id": f"toy.{'x' * length}", "verdict": "REFUTED", "reason": "because " * 30, "parts": [part, part], "kind": "extrapolation",
    }  # fmt: skip
    lines = verdict_table([RECORD, long])
    assert max(map(len, lines)) <= 100
    assert "\n".join(lines).count("because") == 30


def test_a_run_is_summed_up_with_its_counts():
    run = {"id": 3, "out": "here", "core_seconds": 1.0, "error_budget": 0.01}
    text = summary({"claims": [RECORD], "figures": [], "elsewhere": [], "run": run})
    assert "1 HOLDS" in text and "run 3 in here" in text
