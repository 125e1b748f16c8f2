"""What ends a run: kinds of claims are counted apart."""

from attnlab.papers.lab.commands.report_text import count_by_kind, summary
from attnlab.papers.lab.plain import counted


def row(verdict, kind="published", expected="HOLDS"):
    return {"verdict": verdict, "kind": kind, "expected": expected}


def test_only_published_statements_count_as_holds_of_a_paper_and_as_published_and_refuted():
    rows = [row("HOLDS"), row("REFUTED", expected="REFUTED"), row("HOLDS", "identity"), row("HOLDS", "identity")]
    rows += [row("REFUTED", "extrapolation", "REFUTED"), row("REFUTED")]
    assert count_by_kind(rows) == (
        "1 HOLDS, 1 published and REFUTED, 1 REFUTED; identities: 2 HOLDS; extrapolations: 1 REFUTED"
    )
    assert count_by_kind([row("HOLDS", "anchor")]) == "no published statement; anchors: 1 HOLDS"
    assert count_by_kind([]) == "no claims"


def test_a_figure_that_failed_says_why_within_the_width_of_the_table():
    why = (
        "NotImplementedError: learned_gain/theory.py: write first_prediction_exact, the predicted number (theory.py:15)"
    )
    run = {"id": 1, "out": "attnlab-results", "core_seconds": 1.0, "error_budget": 0.01}
    figure = {"id": "learned_gain.fig1", "files": [], "failed": why}
    text = summary({"claims": [], "elsewhere": [], "figures": [figure], "run": run})
    assert max(map(len, text.splitlines())) <= 100 and why in " ".join(text.split())


def test_one_is_not_plural():
    assert [counted(n, "claim") for n in (0, 1, 2)] == ["0 claims", "1 claim", "2 claims"]
